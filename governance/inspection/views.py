"""The ways in which one text can be read, each with a map back to the text as it stands.

What hides behind an encoding is found by reading through it: folded letters, HTML, percent, JSON in a string, base64,
base32, hex, gzip in base64. All bounded: a text may be encoded a few times over, not for ever.
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
MAX_DERIVED: Final = 1 << 21
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


@dataclass(frozen=True, slots=True)
class _Layer:
    """One way of hiding; `signal` tells that it may be there. What a layer `opens` is read anew from the first."""

    name: str
    signal: Signal | None
    decode: Decoder
    opens: bool = False


_JSON = _Layer(
    "json", Signal("view.json", r'\\(?:u[0-9A-Fa-f]{4}|["\\/bfnrt])'), lambda text: Derived(decoding.unescaped(text))
)
_PERCENT = _Layer("percent", Signal("view.percent", r"%[0-9A-Fa-f]{2}"), lambda text: Derived(decoding.unquoted(text)))
_RUNS = _Layer("base64", Signal("view.base64", r"[A-Za-z0-9+/_-]{24}"), _decoded, opens=True)
_HTML = _Layer("html", Signal("view.html", r"<[a-z!/]|&#?[a-z0-9]{2,31};", caseless=True), _shown)
LAYERS: Final = (_Layer("folded", None, _folded), _JSON, _JSON, _JSON, _PERCENT, _PERCENT, _RUNS, _HTML, _RUNS)
"""One is taken off after the other, as one that hides a text puts them on: so their number adds up, not multiplies."""
SIGNALS: Final = tuple(layer.signal for layer in (_JSON, _PERCENT, _RUNS, _HTML) if layer.signal is not None)
SIGNAL_NAMES: Final = frozenset(signal.name for signal in SIGNALS)


class TooManyViews(Exception):
    """The text is encoded in more ways or to a greater length than is looked through."""


def views(text: str, occurring: Callable[[View], frozenset[str]]) -> Iterator[tuple[View, frozenset[str]]]:
    """The raw text first, then what it can be read as; each with the signals that occur in it.

    Raises TooManyViews after the last one that is looked at.
    """
    seen = _Seen()
    pending = [View(RAW, text)]
    while pending:
        view = pending.pop(0)
        hits = occurring(view)
        yield view, hits
        if view.text.isascii() and hits.isdisjoint(SIGNAL_NAMES):
            continue
        tried: dict[str, View] = {}
        for layer in LAYERS:
            if tried.get(layer.name) is view:
                continue
            tried[layer.name] = view
            child = _without(layer, view, hits)
            if child is None or not seen.is_new(child):
                continue
            if layer.opens:
                pending.append(child)
            else:
                view, hits = child, occurring(child)
                yield view, hits


@dataclass(slots=True)
class _Seen:
    texts: set[str] = field(default_factory=set)
    characters: int = 0

    def is_new(self, view: View) -> bool:
        if view.text in self.texts:
            return False
        self.texts.add(view.text)
        self.characters += len(view.text)
        if len(self.texts) >= MAX_VIEWS or self.characters > MAX_DERIVED or view.depth > MAX_DEPTH:
            raise TooManyViews(view.name)
        return True


def _without(layer: _Layer, view: View, hits: frozenset[str]) -> View | None:
    """The view with one layer taken off; None if it has none of that sort."""
    if layer.signal is not None and layer.signal.name not in hits:
        return None
    made = layer.decode(view.text)
    if made is None or not (text := made.builder.text()) or text == view.text:
        return None
    if not made.whole:
        raise TooManyViews(layer.name)
    name = layer.name if view.parent is None else f"{view.name}>{layer.name}"
    return View(name, text, view, made.builder.offsets, made.hidden, view.depth + layer.opens)
