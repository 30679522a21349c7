"""One proof for many leaves of one tree, far smaller than a path for each.

The tree is walked from the left. A subtree without any of the chosen leaves is told by its root; the rest follows from
the leaves themselves. Whoever has the chosen entries and these nodes in their order comes to the root of the tree.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from audit.merkle import root_of
from audit.models import Leaf
from audit.pages import Unreadable, each


class LeavesMissing(Exception):
    """The log has a hole, or a leaf that cannot be read."""


def subset_proof(chosen: Sequence[int], size: int, leaves: Iterator[bytes]) -> Iterator[bytes]:
    """`chosen` in ascending order and each once; `leaves` are all `size` of them, read once from the left."""
    upcoming = iter([*chosen, size])
    following = next(upcoming)

    def walk(low: int, high: int) -> Iterator[bytes]:
        nonlocal following
        if following >= high:
            yield root_of(islice(leaves, high - low))
        elif high - low == 1:
            next(leaves)
            following = next(upcoming)
        else:
            middle = low + (1 << (high - low - 1).bit_length() - 1)
            yield from walk(low, middle)
            yield from walk(middle, high)

    return walk(0, size)


def stored_leaves(size: int) -> Iterator[bytes]:
    """The first `size` leaves of the log. Raises LeavesMissing."""
    expected = 0
    for row in each(Leaf.objects.filter(index__gte=0, index__lt=size), "index", "hash"):
        if isinstance(row, Unreadable) or row[0] != expected:
            raise LeavesMissing(f"Leaf {expected} is missing or cannot be read: run verify_audit.")
        expected += 1
        yield bytes(row[1])
    if expected != size:
        raise LeavesMissing(f"Leaf {expected} is missing: run verify_audit.")
