"""Letters that only look like others, and characters that cannot be seen."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from governance.inspection.offsets import Builder

BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3,}")
"""No letter has three variation selectors: each of these is a byte."""
LOOKALIKES: Final = dict(
    zip(
        "аеорсухіјѕԁһӏԛԝвкмнтАВЕКМНОРСТУХІЈЅԌԚԜαορνικτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɡɑℓ∕⁄˗‐‑‒–—−․‧：；ꓸ",
        "aeopcyxijsdhlqwbkmhtABEKMHOPCTYXIJSGQWaopvikruxABEZHIKMNOPTYXigal//-------..:;.",
        strict=True,
    )
)
MARKS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")
"""Strokes and dots over, through and under a letter of its own."""
INVISIBLE: Final = frozenset(
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u200b\u200c\u200d\u200e\u200f"
    "\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d"
    "\u206e\u206f\u3164\ufeff\uffa0\ufff9\ufffa\ufffb"
)


def folded(text: str) -> Builder:
    """Compatibility forms made plain, lookalikes Latin, the unseen dropped, smuggled text written out."""
    builder = Builder(text)
    done = 0
    for run in BEYOND_ASCII.finditer(text):
        builder.keep(done, run.start())
        _run(builder, run.start(), run.end())
        done = run.end()
    builder.keep(done, len(text))
    return builder


def _run(builder: Builder, start: int, end: int) -> None:
    text = builder.source
    position = start
    for selectors in SELECTORS.finditer(text, start, end):
        _letters(builder, position, selectors.start())
        for each in range(selectors.start(), selectors.end()):
            builder.put(_smuggled(text[each]), each, each + 1)
        position = selectors.end()
    _letters(builder, position, end)


def _letters(builder: Builder, start: int, end: int) -> None:
    """Characters that stay stand together in one piece."""
    text = builder.source
    kept = start
    for position in range(start, end):
        plain = _plain(text[position])
        if plain != text[position]:
            builder.keep(kept, position)
            builder.put(plain, position, position + 1)
            kept = position + 1
    builder.keep(kept, end)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if character in INVISIBLE or 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF:
        return ""
    if MARKS.fullmatch(character):
        return ""
    if 0xE0000 <= ord(character) <= 0xE007F:
        return chr(ord(character) - 0xE0000) if ord(character) >= 0xE0020 else ""
    composed = unicodedata.normalize("NFKC", LOOKALIKES.get(character, character))
    return "".join(LOOKALIKES.get(each, each) for each in composed)


def _smuggled(selector: str) -> str:
    """A byte, as variation selectors carry it."""
    code = ord(selector)
    return chr(code - 0xFE00 if code <= 0xFE0F else code - 0xE0100 + 16)
