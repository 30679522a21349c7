"""What a detector is: signals that say when to look, and a function that looks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Detector:
    """`look` is called for each view in which one of its signals occurs, with the names of those that do.

    With `always` it is called for every view. It must take time in proportion to the view, whatever is in it.
    """

    kinds: frozenset[Kind]
    signals: tuple[Signal, ...]
    look: Callable[[View, Leaf, frozenset[str]], Iterator[Hit]]
    always: bool = False


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
