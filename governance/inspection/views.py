"""The ways in which one text can be read, each with a map back to the text as it stands.

What hides behind an encoding is found by reading through it: folded letters, HTML, percent, JSON in a string, base64,
hex, gzip in base64. All bounded: a text may be encoded a few times over, not for ever.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from governance.inspection import decoding, folding, markup
from governance.inspection.offsets import Builder, OffsetMap
from governance.inspection.signals import Encoded, Signal

MAX_DEPTH: Final = 3
MAX_VIEWS: Final = 24
MAX_DERIVED: Final = 1 << 20
"""Characters of all derived views of one text together."""
RAW: Final = "raw"


@dataclass
class View:
    """One reading of a text. `hidden` are the ranges that a person who sees the text displayed would not see."""

    name: str
    text: str
    parent: "View | None" = None
    offsets: OffsetMap = field(default_factory=OffsetMap)
    hidden: tuple[tuple[int, int], ...] = ()
    depth: int = 0

    @cached_property
    def encoded(self) -> Encoded:
        return Encoded(self.text)

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """The range of the raw text that start:end of this view was made of."""
        if self.parent is None:
            return start, end
        return self.parent.raw_span(*self.offsets.span(start, end))

    def hides(self, start: int, end: int) -> bool:
        return any(first < end and start < last for first, last in self.hidden)


@dataclass(frozen=True, slots=True)
class Derived:
    """What a decoder made of a text; `whole` says that nothing was left out for its size."""

    builder: Builder
    hidden: tuple[tuple[int, int], ...] = ()
    whole: bool = True


Decoder = Callable[[str], Derived | None]


def _folded(text: str) -> Derived | None:
    return None if text.isascii() else Derived(folding.folded(text))


def _shown(text: str) -> Derived | None:
    builder, hidden = markup.shown(text)
    return Derived(builder, hidden)


def _decoded(text: str) -> Derived | None:
    builder, whole = decoding.decoded(text)
    return Derived(builder, whole=whole)


DECODERS: Final[tuple[tuple[str, Signal | None, Decoder], ...]] = (
    ("folded", None, _folded),
    ("html", Signal("view.html", r"<[a-z!/]|&#?[a-z0-9]{2,31};", caseless=True), _shown),
    ("percent", Signal("view.percent", r"%[0-9A-Fa-f]{2}"), lambda text: Derived(decoding.unquoted(text))),
    ("json", Signal("view.json", r'\\(?:u[0-9A-Fa-f]{4}|["\\/bfnrt])'), lambda text: Derived(decoding.unescaped(text))),
    ("base64", Signal("view.base64", r"[A-Za-z0-9+/_-]{24}"), _decoded),
)
SIGNALS: Final = tuple(signal for _, signal, _ in DECODERS if signal is not None)


class TooManyViews(Exception):
    """The text is encoded in more ways or to a greater length than is looked through."""


def views(text: str, occurring: Callable[[View], frozenset[str]]) -> Iterator[tuple[View, frozenset[str]]]:
    """The raw text first, then what it can be read as; each with the signals that occur in it.

    Raises TooManyViews after the last one that is looked at.
    """
    pending = [View(RAW, text)]
    known = {text}
    derived = 0
    while pending:
        view = pending.pop(0)
        hits = occurring(view)
        yield view, hits
        for child in _children(view, hits):
            if child.text in known:
                continue
            derived += len(child.text)
            if len(known) >= MAX_VIEWS or derived > MAX_DERIVED or view.depth >= MAX_DEPTH:
                raise TooManyViews(child.name)
            known.add(child.text)
            pending.append(child)


def _children(view: View, hits: frozenset[str]) -> Iterator[View]:
    for name, signal, decode in DECODERS:
        if signal is not None and signal.name not in hits:
            continue
        made = decode(view.text)
        if made is None or not (text := made.builder.text()) or text == view.text:
            continue
        child = name if view.parent is None else f"{view.name}>{name}"
        yield View(child, text, view, made.builder.offsets, made.hidden, view.depth + 1)
        if not made.whole:
            raise TooManyViews(child)
