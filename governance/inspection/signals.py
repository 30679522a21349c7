"""Patterns in linear time: one pass sees which of all occur, a second one says where.

A pattern is written in what hyperscan and re2 both understand: no look-around, no back-references.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import hyperscan
import re2

CHECKPOINT: Final = 4096
CONTINUATION: Final = bytes(range(0x80, 0xC0))
"""Bytes of UTF-8 that begin no character."""


MAX_MATCHES: Final = 2_000
"""Of one signal in one view: each costs some microseconds, and a hostile text is nothing but matches."""


class TooManyMatches(Exception):
    """One signal occurs more often than is looked at."""


class Encoded:
    """A text in UTF-8, and how to count its characters from its bytes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.bytes = text.encode(errors="replace")

    @cached_property
    def is_ascii(self) -> bool:
        return len(self.bytes) == len(self.text)

    @cached_property
    def _counted(self) -> list[int]:
        """How many characters begin before every CHECKPOINTth byte."""
        counts, total = [0], 0
        for start in range(0, len(self.bytes), CHECKPOINT):
            total += _beginning(self.bytes[start : start + CHECKPOINT])
            counts.append(total)
        return counts

    def character(self, offset: int) -> int:
        """The number of the character at this byte."""
        if self.is_ascii:
            return offset
        block = offset // CHECKPOINT
        return self._counted[block] + _beginning(self.bytes[block * CHECKPOINT : offset])


def _beginning(data: bytes) -> int:
    return len(data.translate(None, CONTINUATION))


@dataclass(frozen=True, slots=True)
class Match:
    """Character offsets of the whole and of each group; (-1, -1) for a group that took no part."""

    start: int
    end: int
    groups: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Signal:
    """One pattern under a name that is unique among all.

    `glimpse` may be a shorter pattern that occurs wherever `pattern` does: it is what the first pass looks for.
    """

    name: str
    pattern: str
    glimpse: str = ""
    caseless: bool = False
    unicode: bool = field(default=False)
    """Are letters beyond ASCII compared without case, and is `\\w` more than ASCII?"""
    most: int = MAX_MATCHES

    @cached_property
    def _compiled(self) -> Any:
        options = re2.Options()
        options.case_sensitive = not self.caseless
        options.log_errors = False
        return re2.compile(self.pattern, options)

    def prepare(self) -> None:
        """Compiles it now: no text shall wait for that, and a pattern that cannot be compiled shall stop the start."""
        _ = self._compiled

    def find(self, encoded: Encoded, start: int = 0, end: int | None = None) -> Iterator[Match]:
        """Its matches from left to right, without overlaps; start and end count bytes.

        Raises TooManyMatches after the last one that is looked at.
        """
        for number, match in enumerate(self._compiled.finditer(encoded.bytes, start, end)):
            if number >= self.most:
                raise TooManyMatches(self.name)
            spans = [match.span(group) for group in range(self._compiled.groups + 1)]
            (first, last), *groups = [
                (encoded.character(a), encoded.character(b)) if a >= 0 else (-1, -1) for a, b in spans
            ]
            yield Match(first, last, tuple(groups))

    @property
    def flags(self) -> int:
        """Lines count as texts of their own, for the first pass may look at many texts as lines of one."""
        flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_MULTILINE
        if self.caseless:
            flags |= hyperscan.HS_FLAG_CASELESS
        if self.unicode:
            flags |= hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP
        return int(flags)


class SignalTable:
    """All signals, compiled together. Threads may look at the same time."""

    def __init__(self, signals: Iterable[Signal]) -> None:
        self._signals = tuple(signals)
        self._names = tuple(signal.name for signal in self._signals)
        for signal in self._signals:
            signal.prepare()
        if len(set(self._names)) != len(self._names):
            raise ValueError("two signals have one name")
        self._database = hyperscan.Database()
        if self._signals:
            self._database.compile(
                expressions=[(signal.glimpse or signal.pattern).encode() for signal in self._signals],
                ids=list(range(len(self._signals))),
                flags=[signal.flags for signal in self._signals],
            )
        self._local = threading.local()

    def occurring(self, encoded: Encoded) -> frozenset[str]:
        """The names of the signals that occur."""
        seen: list[int] = []
        if self._signals and encoded.bytes:
            self._database.scan(encoded.bytes, match_event_handler=_noting(seen), scratch=self._scratch())
        return frozenset([self._names[number] for number in seen]) if seen else NOTHING

    def _scratch(self) -> Any:
        try:
            return self._local.scratch
        except AttributeError:
            self._local.scratch = self._database.scratch.clone()
            return self._local.scratch


NOTHING: Final[frozenset[str]] = frozenset()


def _noting(seen: list[int]) -> Callable[[int, int, int, int, object], None]:
    return lambda number, *_: seen.append(number)
