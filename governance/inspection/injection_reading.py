"""A text as a row of meanings, one letter a word, cut into sentences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from governance.inspection.injection_words import BREAK, NUMBER, PHRASES, PLAIN, lexicon

_FUZZY: Final = (
    "ignore",
    "disregard",
    "previous",
    "instructions",
    "instruction",
    "system",
    "prompt",
    "password",
    "override",
)
"""Misspelt by one letter they still count: models read over that."""
_DIGITS: Final = str.maketrans("013457@$", "oieastas")
_TOKEN: Final = re.compile(
    r"--[^\W_][\w-]*|[^\W_]+(?:['’][^\W\d_]{1,2}(?![^\W_]))?|[.!?;\n。！？；<>{}|]+|\\[nrt]|\"[,:}\]]|@", re.UNICODE
)
_WORDS: Final = re.compile(r"[^\W\d_]+")
_ESCAPED: Final = re.compile(r"\\[nrt]")
_UNSPACED: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_PHRASE: Final = re.compile("|".join(f"(?P<{meaning}>{phrases})" for meaning, phrases in PHRASES.items()))
_BREAKS: Final = frozenset('.!?;\n。！？；<>{}|\\"')


def _misspelt(word: str) -> Iterator[str]:
    for at in range(1, len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
        yield word[:at] + word[at] + word[at:]


def _meanings() -> dict[str, str]:
    known = lexicon()
    return {wrong: known[word] for word in _FUZZY for wrong in _misspelt(word) if wrong not in known} | known


MEANINGS: Final = _meanings()
KNOWN: Final = frozenset(MEANINGS)


@dataclass(frozen=True, slots=True)
class Token:
    word: str
    meaning: str
    start: int
    end: int


def has_meanings(text: str) -> frozenset[str]:
    """Which meanings occur at all. Fast: nothing more is asked of most texts."""
    plain = text.lower()
    if "\\" in plain:
        plain = _ESCAPED.sub(" ", plain)
    present = {MEANINGS[word] for word in KNOWN.intersection(_WORDS.findall(plain))}
    if "@" in text:
        present.add("A")
    if _has_unspaced(text):
        present.update(str(match.lastgroup) for match in _PHRASE.finditer(text))
    return frozenset(present)


def _has_unspaced(text: str) -> bool:
    return not text.isascii() and _UNSPACED.search(text) is not None


class Reading:
    """The words of a text; `meanings[i]` is the letter of `tokens[i]`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._unspaced = _has_unspaced(text)

    @cached_property
    def tokens(self) -> list[Token]:
        return list(self._tokens())

    @cached_property
    def meanings(self) -> str:
        if self._unspaced:
            return "".join([token.meaning for token in self.tokens])
        return "".join([_meaning(word.lower()) for word in _TOKEN.findall(self.text)])

    def _tokens(self) -> Iterator[Token]:
        for match in _TOKEN.finditer(self.text):
            word = match[0].lower()
            if word[0] in _BREAKS:
                yield Token(BREAK, BREAK, match.start(), match.end())
            elif self._unspaced and not word.isascii() and _UNSPACED.search(word):
                yield from self._phrases(match.start(), match.end())
            else:
                yield Token(word, _meaning(word), match.start(), match.end())

    def _phrases(self, start: int, end: int) -> Iterator[Token]:
        for match in _PHRASE.finditer(self.text, start, end):
            yield Token(match[0], str(match.lastgroup), match.start(), match.end())


def _meaning(word: str) -> str:
    known = MEANINGS.get(word)
    if known is not None:
        return known
    if word[0] in _BREAKS:
        return BREAK
    if word.isalpha():
        return PLAIN
    if word.isdigit():
        return NUMBER
    return MEANINGS.get(word.translate(_DIGITS), PLAIN)
