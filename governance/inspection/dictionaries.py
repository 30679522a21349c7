"""Whole words of a list, found whatever their case and their form in Unicode: one look-up for each word of a text."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

TOKEN: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    r"|(?:[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff][\u0300-\u036f]*)+"
)
"""A word; in scripts that put no spaces between words, each sign."""
MOST_TOKENS: Final = 8
"""Of one entry."""
APART: Final = 3
"""Characters between the words of an entry: Project Falcon is also project-falcon."""


def folded(token: str) -> str:
    return token.lower() if token.isascii() else unicodedata.normalize("NFKC", token).casefold()


def tokens_of(text: str) -> tuple[str, ...]:
    return tuple(map(folded, TOKEN.findall(text)))


class Dictionary:
    """Entries of one or more words each."""

    __slots__ = ("_entries", "_heads", "_lengths")

    def __init__(self, words: Iterable[str]) -> None:
        self._entries = frozenset(tokens for word in words if (tokens := tokens_of(word)))
        self._heads = frozenset(tokens[0] for tokens in self._entries)
        self._lengths = tuple(sorted({len(tokens) for tokens in self._entries}, reverse=True))

    def __bool__(self) -> bool:
        return bool(self._entries)

    def occurs(self, text: str) -> bool:
        return next(self.spans(text), None) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """From left to right, the longest entry first, without overlaps."""
        if self._heads.isdisjoint(map(folded, TOKEN.findall(text))):
            return
        found = [(match.start(), match.end(), folded(match.group())) for match in TOKEN.finditer(text)]
        place = 0
        while place < len(found):
            length = self._length_at(found, place) if found[place][2] in self._heads else 0
            if length:
                yield found[place][0], found[place + length - 1][1]
            place += length or 1

    def _length_at(self, found: list[tuple[int, int, str]], place: int) -> int:
        """How many words the entry has that begins there; 0 for none."""
        for length in self._lengths:
            words = found[place : place + length]
            is_close = all(after[0] - before[1] <= APART for before, after in pairwise(words))
            if len(words) == length and is_close and tuple(word[2] for word in words) in self._entries:
                return length
        return 0
