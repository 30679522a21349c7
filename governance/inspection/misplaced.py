"""Sentence by sentence, what stands in a text and has no business there.

An errand set into somebody's mail uses none of the words that attacks are made of. What gives it away is how it
speaks, that it shares no words with its neighbours, and where it stands: before the first line, after the last, on a
line of its own.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from governance.inspection.injection_model import MASK, segments, shipped
from governance.inspection.injection_reading import Reading

HEAVIER: Final = 4
"""How much more than a word a sentence's surroundings count."""
STEM: Final = 5
MUCH: Final = 0.4
"""Of a sentence's words, so many elsewhere in the text make it one about the same."""
FEW: Final = 4
SOME: Final = 10
"""Sentences of a text that has hardly any, and of one that is short."""
EDGE: Final = 12
"""Characters that are looked at before and after a sentence for the end of a line."""


class Sentence(NamedTuple):
    """`features` may name one several times: it counts as often."""

    features: Sequence[int]
    start: int
    end: int


class Scored(NamedTuple):
    score: float
    start: int
    end: int


def sentences(reading: Reading) -> Iterator[Sentence]:
    parts = list(segments(reading))
    stems = [_stems(reading, part.first, part.last + 1) for part in parts]
    counted = Counter(stem for each in stems for stem in each)
    for at, part in enumerate(parts):
        start, end = reading.spans[part.first][0], reading.spans[part.last][1]
        where = (_place(at, len(parts)), _line(reading.text, start, end))
        topic = _topic(stems[at], counted)
        is_asking = "?" in reading.text[start : end + 1]
        yield Sentence((*part.features, *_around(*where, topic, _size(len(parts)), is_asking) * HEAVIER), start, end)


def likeliest(reading: Reading) -> Scored | None:
    """The sentence that most likely has no business in its text."""
    model = shipped()
    return max((Scored(model.score(each.features), each.start, each.end) for each in sentences(reading)), default=None)


def _stems(reading: Reading, first: int, end: int) -> frozenset[str]:
    """What it is about: the long words, by their beginnings."""
    return frozenset(word[:STEM] for word in reading.words[first:end] if len(word) >= STEM and word.isalpha())


def _place(at: int, total: int) -> str:
    if total == 1:
        return "only"
    return {0: "first", total - 1: "last"}.get(at, "within")


def _line(text: str, start: int, end: int) -> str:
    """Does it begin a line, end one, or fill it?"""
    before = text[max(0, start - EDGE) : start].rstrip(" \t\"'>")
    after = text[end : end + EDGE].lstrip(" \t\"'<")
    begins = not before or before.endswith(("\n", "\\n"))
    ends = not after or after.startswith(("\n", "\\n")) or text[end - 1] == "\n"
    if begins:
        return "line" if ends else "begins"
    return "ends" if ends else "inside"


def _topic(stems: frozenset[str], counted: Counter[str]) -> str:
    """How many of its words occur elsewhere."""
    if not stems:
        return "none"
    shared = sum(counted[stem] > 1 for stem in stems)
    if not shared:
        return "other"
    return "near" if shared < MUCH * len(stems) else "same"


def _size(total: int) -> str:
    if total < FEW:
        return "few"
    return "some" if total < SOME else "many"


@lru_cache(maxsize=1024)
def _around(place: str, line: str, topic: str, size: str, is_asking: bool) -> tuple[int, ...]:
    asking = f"asking={is_asking}"
    alone = (place, line, topic, size, asking)
    pairs = (place + line, line + topic, place + topic, place + asking, topic + size, place + size)
    return tuple(zlib.crc32(f"@{each}".encode()) & MASK for each in (*alone, *pairs, place + line + topic))
