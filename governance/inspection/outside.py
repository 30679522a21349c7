"""What detectors of somebody else's are asked, and what they answer, in terms of the value that was looked at. Pure.

They get one text: names and values, line by line, because a name tells what a value is. Of each character it is known
where it stands; what must not leave is blotted out there, letter by letter, so that places stay what they are.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from governance.inspection.findings import Budget, Finding, Severity
from governance.inspection.walk import Leaf, TooMuch, leaves

WALKED: Final = Budget(leaves=20_000, depth=200)
MOST_FINDINGS: Final = 2_000
"""Of one detector in one value."""
BLOT: Final = "*"
PLUMBING: Final = frozenset(
    (
        *("arguments", "content", "structuredContent", "isError", "resultType", "type", "text", "data", "annotations"),
        *("contents", "resource", "uri", "mimeType", "blob", "messages", "role", "description", "_meta"),
    )
)
_RESERVED: Final = re.compile(r"io\.modelcontextprotocol/[A-Za-z]{1,64}")
"""Names that the protocol gives: they say nothing, and a mask must not break them."""
_UNASKED: Final = re.compile(
    r"/resultType|/messages/[0-9]+/role|/contents/[0-9]+/(?:uri|mimeType|blob)"
    r"|/(?:content|messages)/[0-9]+(?:/content)?/(?:type|mimeType|data|resource/(?:uri|blob|mimeType))"
)
"""Values that the protocol reads, and pictures and sounds: no text."""

Span = tuple[int, int]
Hidden = Callable[[Leaf], Iterable[Span]]
"""What of a leaf must not leave."""


class TooLarge(Exception):
    """There is more text than may be asked about."""


class TooMany(Exception):
    """It finds so much that not all of it can be told."""


class Place(Protocol):
    """What a detector found: `start` and `end` count characters of the document."""

    @property
    def label(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def confidence(self) -> float: ...


class Piece(NamedTuple):
    """A leaf, and where it begins in the document."""

    start: int
    path: str
    is_key: bool
    length: int


@dataclass(frozen=True, slots=True)
class Document:
    text: str = field(repr=False)
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class About:
    """What of a detector's set-up its findings carry."""

    name: str
    version: int
    severity: Severity
    least_confidence: float


def document(value: Any, *, hidden: Hidden, most_bytes: int) -> Document:
    """Raises TooLarge."""
    parts: list[str] = []
    pieces: list[Piece] = []
    at = size = 0
    try:
        for leaf in leaves(value, WALKED):
            if _UNASKED.fullmatch(leaf.path) or (leaf.is_key and _is_plumbing(leaf.text)):
                continue
            text = _blotted(leaf.text, hidden(leaf)) + (": " if leaf.is_key else "\n")
            pieces.append(Piece(at, leaf.path, leaf.is_key, len(leaf.text)))
            parts.append(text)
            at += len(text)
            size += len(text.encode())
            if size > most_bytes:
                raise TooLarge
    except TooMuch:
        raise TooLarge from None
    return Document("".join(parts), tuple(pieces))


def _is_plumbing(name: str) -> bool:
    return name in PLUMBING or _RESERVED.fullmatch(name) is not None


def findings(about: About, asked: Document, places: Iterable[Place]) -> list[Finding]:
    """Raises TooMany."""
    starts = [piece.start for piece in asked.pieces]
    found: list[Finding] = []
    for place in places:
        if place.confidence < about.least_confidence:
            continue
        for piece in _meant(asked.pieces, starts, place):
            found.append(_finding(about, piece, place))
            if len(found) > MOST_FINDINGS:
                raise TooMany
    return found


def _blotted(text: str, spans: Iterable[Span]) -> str:
    for start, end in spans:
        last = min(end, len(text))
        text = f"{text[:start]}{BLOT * (last - start)}{text[last:]}"
    return text


def _meant(pieces: tuple[Piece, ...], starts: list[int], place: Place) -> list[Piece]:
    """What reaches over several is about the values: without their names nobody could read them any more."""
    met = [piece for piece in _overlapping(pieces, starts, place) if piece.start + piece.length > place.start]
    return [piece for piece in met if not piece.is_key] or met


def _overlapping(pieces: tuple[Piece, ...], starts: list[int], place: Place) -> Iterator[Piece]:
    for index in range(max(0, bisect_right(starts, place.start) - 1), len(pieces)):
        if pieces[index].start >= place.end:
            return
        yield pieces[index]


def _finding(about: About, piece: Piece, place: Place) -> Finding:
    return Finding(
        rule=f"{about.name}.{place.label}",
        version=about.version,
        kind="external",
        severity=about.severity,
        confidence=place.confidence,
        path=piece.path,
        start=max(0, place.start - piece.start),
        end=min(piece.length, place.end - piece.start),
        view="raw",
        subject=about.name,
        in_key=piece.is_key,
    )
