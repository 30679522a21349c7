"""What a value may hold, by one look at all its texts at once: of what holds nothing, nothing more is asked."""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from governance.inspection import folding
from governance.inspection.data_classes import ClassTable
from governance.inspection.detector import Detector
from governance.inspection.detectors import DETECTORS, table_of
from governance.inspection.findings import Budget, Kind
from governance.inspection.masking import VaultIndex
from governance.inspection.signals import Encoded, SignalTable
from governance.inspection.skim import NOT_YET, Skim
from governance.inspection.views import SIGNAL_NAMES, TooManyViews, View, views
from governance.inspection.walk import MAX_TOKEN, text_of

MOST_CHARACTERS: Final = 65_536
"""Of a value that is looked at as a whole: larger ones are sure to hold something."""
MOST_LEAVES: Final = 1_000
MOST_DEPTH: Final = 50
MOST_READ: Final = 100
"""Texts of a value in which something is encoded."""


def stirred(
    value: Any,
    kinds: frozenset[Kind],
    *,
    budget: Budget,
    known: VaultIndex,
    classes: ClassTable,
    skim: Skim | None = None,
) -> frozenset[Kind] | None:
    """Those of these kinds of which something may be there; all of them, even if that is none, where one look cannot
    tell or a known value is there. None where nothing is."""
    if skim is None or not skim.is_for(value, kinds):
        skim = Skim(value, kinds)
    seen = _seen_by(skim, budget)
    if seen is None:
        return kinds
    if known and any(any(known.spans(each)) for each in seen.readings):
        return kinds
    stirring = skim.stirring | {"data_class"} if classes else skim.stirring
    return (kinds & stirring) or None


class _Seen(NamedTuple):
    readings: tuple[str, ...]
    """All texts, one in each line: as they stand, and folded if that differs; then what is encoded in one of them."""
    names: frozenset[str]
    """Under which some of them stand."""
    signals: frozenset[str]


def _seen_by(skim: Skim, budget: Budget) -> _Seen | None:
    if skim.seen is NOT_YET:
        seen = _seen(skim.value, skim.kinds, budget)
        skim.stirring = _stirring(seen, skim.kinds)
        skim.seen = seen
    known: _Seen | None = skim.seen
    return known


def _stirring(seen: _Seen | None, kinds: frozenset[Kind]) -> frozenset[Kind]:
    """What of these kinds detectors may find."""
    if seen is None:
        return kinds
    stirring: set[Kind] = set()
    for detector in wanted(kinds):
        if detector.may_find(seen.signals, seen.readings, seen.names):
            stirring |= detector.kinds
    return kinds & stirring


def _seen(value: Any, kinds: frozenset[Kind], budget: Budget) -> _Seen | None:
    """None where one look cannot tell."""
    gathered = _gathered(value, budget)
    if gathered is None:
        return None
    text = "\n".join(gathered.texts)
    readings = (text,) if text.isascii() else (text, folding.folded(text).text())
    table = table_of(kinds)
    occurring = {reading: table.occurring(Encoded(reading)) for reading in readings}
    signals = frozenset().union(*occurring.values())
    if signals.isdisjoint(SIGNAL_NAMES):
        return _Seen(readings, gathered.names, signals)
    inner = _read_through(gathered.texts, table, occurring)
    return _Seen(readings + inner.readings, gathered.names, signals | inner.signals) if inner is not None else None


class _Inner(NamedTuple):
    readings: tuple[str, ...]
    signals: frozenset[str]


def _read_through(texts: list[str], table: SignalTable, known: dict[str, frozenset[str]]) -> _Inner | None:
    """What stands in texts behind their encodings, in the views that detectors would be shown. An identifier or a path
    looks like base64, and is none. `known` says what occurs in some. None if it is more than one look is worth."""
    if len(texts) > MOST_READ:
        return None
    readings: list[str] = []
    signals: set[str] = set()

    def occurring(view: View) -> frozenset[str]:
        return known[view.text] if view.text in known else table.occurring(view.encoded)

    try:
        for text in texts:
            for view, hits in views(text, occurring):
                signals |= hits
                if view.parent is not None:
                    readings.append(view.text)
            if sum(map(len, readings)) > MOST_CHARACTERS:
                return None
    except TooManyViews:
        return None
    return _Inner(tuple(readings), frozenset(signals))


@lru_cache(maxsize=256)
def wanted(kinds: frozenset[Kind]) -> tuple[Detector, ...]:
    return tuple(detector for detector in DETECTORS if not detector.kinds.isdisjoint(kinds))


class _Gathered(NamedTuple):
    texts: list[str]
    names: frozenset[str]
    """Under which some of them stand."""


def _gathered(value: Any, budget: Budget) -> _Gathered | None:
    """None if there is more than one look is worth."""
    most = min(budget.leaves - 1, MOST_LEAVES)
    texts: list[str] = []
    names: set[str] = set()
    level = [value]
    for _ in range(min(budget.depth, MOST_DEPTH)):
        level = _below(level, texts, names)
        if len(texts) + len(level) > most:
            return None
        if not level:
            is_short = sum(map(len, texts)) <= min(budget.characters, MOST_CHARACTERS)
            return _Gathered(texts, frozenset(name[:MAX_TOKEN] for name in names)) if is_short else None
    return None


def _below(level: list[Any], texts: list[str], names: set[str]) -> list[Any]:
    below: list[Any] = []
    for each in level:
        if isinstance(each, str):
            texts.append(each)
        elif isinstance(each, dict):
            names.update(each)
            texts += each
            below += each.values()
        elif isinstance(each, list | tuple):
            below += each
        elif (text := text_of(each)) is not None:
            texts.append(text)
    return below
