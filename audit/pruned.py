"""What the log itself says was pruned: leaves whose records were deleted under the eyes of everybody."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import orjson

from audit.models import EventRow

PRUNED = "audit.pruned"
Range = tuple[int, int]
"""First leaf, and the one after the last."""


class Pruned:
    """Asked leaf by leaf. Read again where a leaf is unexpectedly empty: pruning may go on meanwhile."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.read()

    def read(self) -> None:
        headers = EventRow.objects.filter(kind=PRUNED, call_id=None).values_list("header", flat=True)
        ranges = merged(each for header in headers.iterator() for each in ranges_of(header))
        self._starts, self._ends = [first for first, _ in ranges], [past for _, past in ranges]

    def covers(self, leaf: int) -> bool:
        place = bisect_right(self._starts, leaf) - 1
        return place >= 0 and leaf < self._ends[place]

    @property
    def first(self) -> int | None:
        return self._starts[0] if self._starts else None


def ranges_of(header: Any) -> Iterable[Range]:
    """Of the bytes of one such record; nothing of what is not well formed."""
    try:
        told = orjson.loads(header if isinstance(header, bytes) else bytes(header))
        ranges = told["details"]["ranges"] if told["kind"] == PRUNED else ()
        return [(first, past) for first, past in ranges if type(first) is int is type(past) and 0 <= first < past]
    except (ValueError, TypeError, KeyError):
        return ()


def merged(ranges: Iterable[Range]) -> list[Range]:
    """In order, those that touch as one."""
    found: list[Range] = []
    for first, past in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(past, found[-1][1]))
        else:
            found.append((first, past))
    return found
