"""Secrets in pieces over the members of one value: a letter in each item of a list, a part in each name. The short
texts of a value are read as one, names and contents apart; what is found is told of each that has a part of it."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from governance.inspection.detector import Hit, found
from governance.inspection.detectors import table_of
from governance.inspection.disguised_codes import CODES
from governance.inspection.disguises import DISGUISES
from governance.inspection.findings import Finding, Kind
from governance.inspection.views import View
from governance.inspection.walk import Leaf

LONGEST: Final = 64
"""Characters of a text that may be a piece."""
MOST: Final = 16_384
"""Characters of all pieces."""
FINDERS: Final = tuple((each.signal, each.look) for each in (*DISGUISES, *CODES))
KIND: Final = frozenset[Kind](("secret",))
WORD: Final = re.compile(r"[A-Z]?[a-z]{3,}")
WORDS: Final = 4
"""Less than one in so many pieces of a token looks like a word."""
VIEW: Final = "scattered"


@dataclass(slots=True)
class Pieces:
    """In the order in which they stand."""

    _leaves: list[Leaf] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _size: int = 0

    def add(self, leaf: Leaf) -> None:
        if len(leaf.text) <= LONGEST and self._size < MOST:
            self._leaves.append(leaf)
            self._starts.append(self._size)
            self._size += len(leaf.text) + 1

    def found(self) -> Iterator[Finding]:
        if len(self._leaves) < 2:
            return
        view = View(VIEW, "\n".join([leaf.text for leaf in self._leaves]))
        for hit in found(view, table_of(KIND).occurring(view.encoded), FINDERS):
            yield from self._spread(hit)

    def _spread(self, hit: Hit) -> Iterator[Finding]:
        first, last = bisect_right(self._starts, hit.start) - 1, bisect_right(self._starts, hit.end - 1)
        if last - first < 2:
            return  # it stands in one text, and was found there
        if WORDS * sum(WORD.fullmatch(leaf.text) is not None for leaf in self._leaves[first:last]) >= last - first:
            return  # its pieces have others between them
        for number in range(first, last):
            leaf, offset = self._leaves[number], self._starts[number]
            start, end = max(hit.start - offset, 0), min(hit.end - offset, len(leaf.text))
            if start < end:
                yield _finding(hit, leaf, start, end)


def _finding(hit: Hit, leaf: Leaf, start: int, end: int) -> Finding:
    about = (hit.rule, hit.version, hit.kind, hit.severity, hit.confidence)
    return Finding(*about, leaf.path, start, end, VIEW, hit.subject, leaf.is_key)
