"""The tree of the stored log, read from few rows: a path to any signed size without reading the log.

A frontier that was stored with a checkpoint holds the roots of all perfect subtrees up to there. So the root of a large
subtree follows from the last frontier inside it and the few leaves after that; small subtrees are read as they are.
"""

from audit.merkle import Frontier, root_of
from audit.models import Checkpoint, Leaf
from audit.subset_proof import LeavesMissing

BLOCK = 1024
MOST_LEAVES = 100_000
"""Read for one subtree; a log that was signed as it grew needs far fewer."""
MOST_BLOCKS = 256


class StoredTree:
    """For one proof, or many that share most of their nodes. What is damaged in the database is damaged here: whoever
    hands a proof out says so, and whoever checks it finds it."""

    def __init__(self) -> None:
        self._roots: dict[tuple[int, int], bytes] = {}
        self._blocks: dict[int, list[bytes]] = {}

    def inclusion_path(self, index: int, size: int) -> list[bytes]:
        """PATH(index, the first `size` leaves) of RFC 6962, from the leaf's sibling up. Raises LeavesMissing."""
        if not 0 <= index < size:
            raise IndexError(f"no leaf {index} in a tree of {size}")
        path: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = _split(low, high)
            if index < middle:
                path.append(self.root(middle, high))
                high = middle
            else:
                path.append(self.root(low, middle))
                low = middle
        return path[::-1]

    def consistency_path(self, old_size: int, size: int) -> list[bytes]:
        """PROOF(old_size, the first `size` leaves) of RFC 6962. Raises LeavesMissing."""
        if not 0 <= old_size <= size:
            raise IndexError(f"no tree of {old_size} inside one of {size}")
        path: list[bytes] = []
        low, high = 0, size
        while low < old_size < high:
            middle = _split(low, high)
            if old_size <= middle:
                path.append(self.root(middle, high))
                high = middle
            else:
                path.append(self.root(low, middle))
                low = middle
        if 0 < low < old_size:
            path.append(self.root(low, high))
        return path[::-1]

    def root(self, low: int, high: int) -> bytes:
        """Of the subtree over the leaves from `low` to before `high`, a node of some tree of RFC 6962."""
        if high - low <= BLOCK:
            start = low - low % BLOCK
            return root_of(self._block(start)[low - start : high - start])
        known = self._roots.get((low, high))
        if known is None:
            known = self._roots[low, high] = self._large(low, high)
        return known

    def _large(self, low: int, high: int) -> bytes:
        inside = Checkpoint.objects.filter(size__gt=low, size__lt=high).order_by("-size")
        found = inside.values_list("size", "frontier").first()
        if found is None:
            return Frontier().extend(_leaves(low, high)).root()
        size, stored = found
        try:
            peaks = Frontier.from_bytes(size, bytes(stored)).peaks[low.bit_count() :]
        except (ValueError, TypeError):
            raise LeavesMissing(f"The checkpoint of {size} leaves cannot be read: run verify_audit.") from None
        return Frontier(size - low, peaks).extend(_leaves(size, high)).root()

    def _block(self, start: int) -> list[bytes]:
        if start not in self._blocks:
            if len(self._blocks) >= MOST_BLOCKS:
                self._blocks.clear()
            last = Leaf.objects.filter(index__gte=start, index__lt=start + BLOCK).order_by("-index")
            end = last.values_list("index", flat=True).first()
            self._blocks[start] = _leaves(start, start if end is None else end + 1)
        return self._blocks[start]


def _split(low: int, high: int) -> int:
    return low + (1 << (high - low - 1).bit_length() - 1)


def _leaves(low: int, high: int) -> list[bytes]:
    if high - low > MOST_LEAVES:
        raise LeavesMissing(f"No checkpoint between the leaves {low} and {high} is there: run verify_audit.")
    rows = Leaf.objects.filter(index__gte=low, index__lt=high).order_by("index")
    hashes = [bytes(row) for row in rows.values_list("hash", flat=True)]
    if len(hashes) != high - low:
        raise LeavesMissing(f"A leaf between {low} and {high} is missing: run verify_audit.")
    return hashes
