"""A small linear model of injected instructions: hashed words, parts of words and rows of meanings; one byte a weight.

It is trained by `python -m bench.injection.train` and loaded once. It sees passages of a few sentences.
"""

import json
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Final, NamedTuple

from governance.inspection.injection_reading import Reading, Token
from governance.inspection.injection_words import BREAK, NUMBER, PLAIN

FILE: Final = Path(__file__).with_name("injection_model.bin")
BUCKETS: Final = 1 << 17
MASK: Final = BUCKETS - 1
SHORTEST: Final = 6
LONGEST: Final = 24
"""Words of a segment: it ends with its sentence, or here."""
SEGMENTS: Final = 3
"""In a passage."""
PART: Final = 5
"""Letters of a part of a word."""
LONGEST_WORD: Final = 40


class Passage(NamedTuple):
    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Segment:
    start: int
    end: int
    features: Sequence[int]


@dataclass(frozen=True, slots=True)
class Model:
    bias: float
    scale: float
    weights: "array[int]"

    def passages(self, reading: Reading) -> list[Passage]:
        """Each passage of the text with its score: above zero is more like an instruction than not."""
        parts = [(*self._sum(segment.features), segment.start, segment.end) for segment in segments(reading)]
        if not parts:
            return []
        return [self._scored(parts[at : at + SEGMENTS]) for at in range(max(1, len(parts) - SEGMENTS + 1))]

    def _sum(self, features: Sequence[int]) -> tuple[int, int]:
        weights = self.weights
        return sum([weights[each] for each in features]), len(features)

    def _scored(self, parts: Sequence[tuple[int, int, int, int]]) -> Passage:
        total = sum(part[0] for part in parts)
        count = sum(part[1] for part in parts)
        return Passage(self.bias + self.scale * total / sqrt(max(1, count)), parts[0][2], parts[-1][3])


def segments(reading: Reading) -> Iterator[Segment]:
    """Sentences, or what comes near: short ones together, long ones cut."""
    tokens = reading.tokens
    first = words = 0
    for at, token in enumerate(tokens):
        words += token.meaning != BREAK
        if words >= LONGEST or (token.meaning == BREAK and words >= SHORTEST):
            yield _segment(tokens[first : at + 1])
            first, words = at + 1, 0
    if words:
        yield _segment(tokens[first:])


def _segment(tokens: Sequence[Token]) -> Segment:
    found = set(_rows([token.meaning for token in tokens if token.meaning not in (PLAIN, NUMBER)]))
    before = 0
    for token in tokens:
        if token.meaning in (BREAK, NUMBER):
            before = 1 if token.meaning == BREAK else 2
            continue
        own, *parts = word_features(token.word[:LONGEST_WORD])
        found.add(own)
        found.update(parts)
        found.add((own * 31 + before * 1_000_003) & MASK)
        before = own
    return Segment(tokens[0].start, tokens[-1].end, tuple(found))


@lru_cache(maxsize=20_000)
def word_features(word: str) -> tuple[int, ...]:
    """The word, then its parts."""
    own = zlib.crc32(word.encode(errors="replace")) & MASK
    if len(word) <= PART:
        return (own,)
    edged = f"^{word}$"
    parts = (f"~{edged[at : at + PART]}" for at in range(len(edged) - PART + 1))
    return own, *(zlib.crc32(part.encode(errors="replace")) & MASK for part in parts)


def _rows(meanings: Sequence[str]) -> Iterator[int]:
    """Two meanings side by side or over one between, and three in a row."""
    row = "".join(meanings)
    for at in range(len(row) - 1):
        yield _row(row[at : at + 2])
        yield _row(row[at : at + 3])
        yield _row(row[at : at + 3 : 2] + "_")


@lru_cache(maxsize=20_000)
def _row(row: str) -> int:
    return zlib.crc32(f"#{row}".encode()) & MASK


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
