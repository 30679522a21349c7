"""A text as a row of meanings, one letter a word, cut into sentences."""

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Final

import re2

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
_PHRASES: Final = {meaning: re2.compile(phrases) for meaning, phrases in PHRASES.items()}
_ODD: Final = re.compile(r"(?<![^\W_])(?=[^\W_]*[0-9'’])[^\W_]+(?:['’][^\W\d_]{1,2})?")
_DIGIT: Final = re.compile("[0-9]")
_SIGNS: Final = tuple(
    (sign, "'" if sign in "‘’" else " ") for sign in "‘’“”„«»–—…•·→©®™€£°×✓✔★\u00a0\u2009\u202f\u200b\ufeff"
)
"""Beyond ASCII, and no letters."""
_FLAT: Final = {
    code: "\n" if chr(code) in ".!?;\n<>{}|" else chr(code).lower() if chr(code).isalnum() or chr(code) in "'@" else " "
    for code in range(128)
}
"""What breaks a sentence, what is part of a word, and all else."""
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


def sentences(text: str) -> Iterator[frozenset[str]]:
    """The meanings that may stand in each sentence. At least those that a reading has there."""
    plain = text if text.isascii() else _without_signs(text)
    if not plain.isascii():
        yield has_meanings(text) | _spelt_otherwise(text)
        return
    for sentence in _flat(plain).split("\n"):
        words = _TOKEN.findall(sentence) if "'" in sentence else sentence.split()
        known = KNOWN.intersection(words)
        if _DIGIT.search(sentence) is not None:
            known |= KNOWN.intersection(" ".join(words).translate(_DIGITS).split())
        if known:
            yield frozenset(map(MEANINGS.__getitem__, known))


def _flat(text: str) -> str:
    """Words between blanks, a sentence a line."""
    if "\\" in text:
        text = _ESCAPED.sub(" ", text)
    if "@" in text:
        text = text.replace("@", " @ ")
    return text.translate(_FLAT)


def _without_signs(text: str) -> str:
    for sign, plain in _SIGNS:
        text = text.replace(sign, plain)
    return text


def _spelt_otherwise(text: str) -> frozenset[str]:
    """With digits for letters, or a letter left out for an apostrophe."""
    return frozenset(map(_meaning, _ODD.findall(text.lower())))


def has_meanings(text: str) -> frozenset[str]:
    """Which meanings occur at all. Fast: nothing more is asked of most texts."""
    plain = text.lower()
    if "\\" in plain:
        plain = _ESCAPED.sub(" ", plain)
    present = {MEANINGS[word] for word in KNOWN.intersection(_WORDS.findall(plain))}
    if "@" in text:
        present.add("A")
    if _has_unspaced(text):
        encoded = text.encode(errors="replace")
        present.update(meaning for meaning, phrases in _PHRASES.items() if phrases.search(encoded))
    return frozenset(present)


def _has_unspaced(text: str) -> bool:
    return not text.isascii() and _UNSPACED.search(text) is not None


class Reading:
    """The words of a text: `meanings[i]` is the letter of `words[i]`, which stands at `spans[i]`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._unspaced = _has_unspaced(text)

    @cached_property
    def words(self) -> list[str]:
        """In lower case; what breaks a sentence as it stands."""
        if self._unspaced:
            return [word for word, _, _, _ in self._tokens]
        return [word.lower() for word in _TOKEN.findall(self.text)]

    @cached_property
    def meanings(self) -> str:
        if self._unspaced:
            return "".join([meaning for _, meaning, _, _ in self._tokens])
        return "".join(map(_meaning, self.words))

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        if self._unspaced:
            return [(start, end) for _, _, start, end in self._tokens]
        return [match.span() for match in _TOKEN.finditer(self.text)]

    @cached_property
    def _tokens(self) -> list[tuple[str, str, int, int]]:
        return list(self._read())

    def _read(self) -> Iterator[tuple[str, str, int, int]]:
        for match in _TOKEN.finditer(self.text):
            word = match[0].lower()
            if not word.isascii() and word[0] not in _BREAKS and _UNSPACED.search(word):
                for phrase in _PHRASE.finditer(self.text, match.start(), match.end()):
                    yield phrase[0], str(phrase.lastgroup), phrase.start(), phrase.end()
            else:
                yield word, _meaning(word), match.start(), match.end()


@lru_cache(maxsize=20_000)
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
