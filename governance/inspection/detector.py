"""What a detector is: signals that say when to look, and a function that looks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from governance.inspection.findings import Kind, Severity
from governance.inspection.signals import Signal, TooManyMatches
from governance.inspection.views import View
from governance.inspection.walk import Leaf


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding in a view; `start` and `end` count the characters of the view."""

    rule: str
    version: int
    kind: Kind
    severity: Severity
    confidence: float
    start: int
    end: int
    subject: str = ""


def never(_: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Detector:
    """`look` is called for each view in which one of its signals occurs, with the names of those that do; for every
    view if there is a `by_text`; and where the name under which a text stands is reason enough. It must take time in
    proportion to the view, whatever is in it.
    """

    kinds: frozenset[Kind]
    signals: tuple[Signal, ...]
    look: Callable[[View, Leaf, frozenset[str]], Iterator[Hit]]
    by_text: Callable[[str], bool] | None = None
    """Tells of texts, one after the other in lines, whether it may find something that no signal tells of."""
    by_name: Callable[[str], bool] = never
    names: frozenset[str] = field(init=False)
    """Of its signals."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(signal.name for signal in self.signals))

    def may_find(self, signals: frozenset[str], texts: Iterable[str], names: Iterable[str]) -> bool:
        """Could it find something in texts with these signals, or under these names?"""
        return (
            not self.names.isdisjoint(signals)
            or any(map(self.by_name, names))
            or (self.by_text is not None and any(map(self.by_text, texts)))
        )


Finder = Callable[[View], Iterator[Hit]]


def found(view: View, occurring: frozenset[str], finders: Iterable[tuple[Signal, Finder]]) -> Iterator[Hit]:
    """What the finders of the signals that occur find; one that meets too much says so, and the others go on."""
    if not occurring:
        return
    for signal, finder in finders:
        if signal.name in occurring:
            try:
                yield from finder(view)
            except TooManyMatches:
                yield Hit("limit.matches", 1, "limit", Severity.MEDIUM, 1.0, 0, len(view.text))
