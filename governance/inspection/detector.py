"""What a detector is: signals that say when to look, and a function that looks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from governance.inspection.findings import Kind, Severity
from governance.inspection.signals import Signal
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


@dataclass(frozen=True, slots=True)
class Detector:
    """`look` is called for each view in which one of its signals occurs, with the names of those that do.

    With `always` it is called for every view. It must take time in proportion to the view, whatever is in it.
    """

    kinds: frozenset[Kind]
    signals: tuple[Signal, ...]
    look: Callable[[View, Leaf, frozenset[str]], Iterator[Hit]]
    always: bool = False
