"""A small linear model of injected instructions: hashed words, parts of words and rows of meanings; one byte a weight.

It is trained by `python -m bench.injection.train` and loaded once. It sees one sentence at a time, and how that stands
in its text (`misplaced.py`).
"""

import json
import zlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Final, NamedTuple

from governance.inspection.injection_reading import Reading
from governance.inspection.injection_words import BREAK, NUMBER, PLAIN

FILE: Final = Path(__file__).with_name("injection_model.bin")
BUCKETS: Final = 1 << 17
MASK: Final = BUCKETS - 1
SHORTEST: Final = 3
LONGEST: Final = 24
"""Words of a segment: it ends with its sentence, or here."""
PART: Final = 5
"""Letters of a part of a word."""
LONGEST_WORD: Final = 40
SAYING_NOTHING: Final = str.maketrans("", "", PLAIN + NUMBER)


class Segment(NamedTuple):
    """`first` and `last` are its words' numbers."""

    first: int
    last: int
    features: Collection[int]


@dataclass(frozen=True, slots=True)
class Model:
    bias: float
    scale: float
    weights: "array[int]"

    def score(self, features: Sequence[int]) -> float:
        """Above zero it is more likely than not."""
        total = sum(map(self.weights.__getitem__, features))
        return self.bias + self.scale * total / sqrt(max(1, len(features)))


def segments(reading: Reading) -> Iterator[Segment]:
    """Sentences, or what comes near: short ones together, long ones cut."""
    first = words = 0
    for at, meaning in enumerate(reading.meanings):
        is_break = meaning == BREAK
        words += not is_break
        if words >= LONGEST or (is_break and words >= SHORTEST):
            yield _segment(reading, first, at + 1)
            first, words = at + 1, 0
    if words:
        yield _segment(reading, first, len(reading.meanings))


def _segment(reading: Reading, first: int, end: int) -> Segment:
    meanings = reading.meanings[first:end]
    found = set(_rows(meanings.translate(SAYING_NOTHING)))
    before = 0
    for meaning, word in zip(meanings, reading.words[first:end], strict=True):
        if meaning == BREAK:
            before = 1
        elif meaning == NUMBER:
            before = 2
        else:
            features = word_features(word[:LONGEST_WORD])
            found.update(features)
            own = features[0]
            found.add((own * 31 + before * 1_000_003) & MASK)
            before = own
    return Segment(first, end - 1, found)


@lru_cache(maxsize=20_000)
def word_features(word: str) -> tuple[int, ...]:
    """The word, then its parts."""
    own = zlib.crc32(word.encode(errors="replace")) & MASK
    if len(word) <= PART:
        return (own,)
    edged = f"^{word}$"
    parts = (f"~{edged[at : at + PART]}" for at in range(len(edged) - PART + 1))
    return own, *(zlib.crc32(part.encode(errors="replace")) & MASK for part in parts)


@lru_cache(maxsize=20_000)
def _rows(row: str) -> frozenset[int]:
    """Two meanings side by side or over one between, and three in a row."""
    pairs = (part for at in range(len(row) - 1) for part in (row[at : at + 2], row[at : at + 3], _ends(row, at)))
    return frozenset(zlib.crc32(f"#{part}".encode()) & MASK for part in pairs)


def _ends(row: str, at: int) -> str:
    return row[at : at + 3 : 2] + "_"


def packed(bias: float, weights: Sequence[float]) -> bytes:
    scale = max(1e-9, *map(abs, weights)) / 127
    head = json.dumps({"bias": round(bias, 6), "scale": scale}).encode()
    body = array("b", (round(weight / scale) for weight in weights)).tobytes()
    return head + b"\n" + zlib.compress(body, 9)


def unpacked(data: bytes) -> Model:
    head, body = data.split(b"\n", 1)
    values = json.loads(head)
    return Model(values["bias"], values["scale"], array("b", zlib.decompress(body)))


@lru_cache(maxsize=1)
def shipped() -> Model:
    return unpacked(FILE.read_bytes())
