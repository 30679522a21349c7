"""A text as a row of meanings, one letter a word, cut into sentences."""

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import filterfalse, repeat
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
_NO_MEANING: Final = frozenset((PLAIN, NUMBER, BREAK))
"""Meanings of which no rule is made."""
_CLOSED: Final = re.compile(r"\"[,:}\]]")
_OPTION: Final = re.compile(r"--[^\W_][\w-]*")
_APOSTROPHE: Final = re.compile(r"'(?<=[a-z0-9]')(?=[a-z]{1,2}(?![a-z0-9]))")
"""One that is part of a word."""
_SHORT_QUOTED: Final = re.compile(r"'[a-z]{1,2}'")
_BREAKS_IN_A_ROW: Final = re.compile(r"\|{2,}")
_CURLY: Final = re.compile(r"’(?<=[A-Za-z0-9]’)(?=[A-Za-z]{1,2}(?![A-Za-z0-9]))")
_CURLY_QUOTED: Final = re.compile(r"’[A-Za-z]{1,2}['’]|'[A-Za-z]{1,2}’")
_SIGNS: Final = "‘“”„«»–—…•·→©®™€£°×✓✔★\u00a0\u2009\u202f\u200b\ufeff"
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
_LETTERS: Final = {**MEANINGS, BREAK: BREAK}


def outline(text: str) -> str:
    """The meanings of a text as a reading has them, or nearer to each other. Much faster where letters are Latin."""
    plain = text if text.isascii() else _without_signs(text)
    if not plain.isascii():
        return Reading(text).meanings
    words = _flat(plain).split()
    odd = {word: _meaning(word) for word in set(filterfalse(str.isalpha, words)) if word not in _LETTERS}
    if _NO_MEANING.issuperset(odd.values()):
        meanings = "".join(map(_LETTERS.get, words, repeat(PLAIN)))
    else:
        meanings = "".join([_LETTERS.get(word) or odd.get(word, PLAIN) for word in words])
    return _BREAKS_IN_A_ROW.sub(BREAK, meanings)


def _flat(text: str) -> str:
    """Words between blanks, and what ends a sentence."""
    if "\\" in text:
        text = _ESCAPED.sub("\n", text)
    if '"' in text:
        text = _CLOSED.sub("\n", text)
    if "--" in text:
        text = _OPTION.sub(" x ", text)
    if "@" in text:
        text = text.replace("@", " @ ")
    text = text.translate(_FLAT)
    if "'" in text:
        text = " ".join(_TOKEN.findall(text)) if _SHORT_QUOTED.search(text) else _joined(text)
    return text.replace("\n", f" {BREAK} ")


def _joined(text: str) -> str:
    """Without apostrophes that join nothing."""
    return _APOSTROPHE.sub("\x01", text).replace("'", " ").replace("\x01", "'")


def _without_signs(text: str) -> str:
    """No words with a curly apostrophe are known; where it may be something else as well, it stays."""
    if "’" in text and "--" not in text and _CURLY_QUOTED.search(text) is None:
        text = _CURLY.sub("xxx", text).replace("’", " ")
    for sign in _SIGNS:
        text = text.replace(sign, " ")
    return text


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
