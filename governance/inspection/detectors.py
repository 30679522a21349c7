"""The one table of all detectors."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from governance.inspection.byte_patterns import in_bytes
from governance.inspection.definition_sentences import DEFINITION_SENTENCES
from governance.inspection.destinations import DESTINATIONS, MENTIONS
from governance.inspection.detector import Detector
from governance.inspection.findings import Kind
from governance.inspection.hidden_text_detector import HIDDEN_TEXT
from governance.inspection.injection import GUESSES, INJECTION
from governance.inspection.links import LINKS
from governance.inspection.personal_data import PERSONAL_DATA
from governance.inspection.secrets import SECRETS
from governance.inspection.signals import Signal, SignalTable
from governance.inspection.views import SIGNALS

DETECTORS: Final[tuple[Detector, ...]] = (
    SECRETS,
    PERSONAL_DATA,
    HIDDEN_TEXT,
    INJECTION,
    GUESSES,
    DEFINITION_SENTENCES,
    DESTINATIONS,
    MENTIONS,
    LINKS,
)


def _table(detectors: Iterable[Detector]) -> SignalTable:
    signals = dict.fromkeys([*SIGNALS, *(signal for detector in detectors for signal in detector.signals)])
    return SignalTable(map(_read_in_bytes, signals))


@lru_cache(maxsize=1_000)
def _read_in_bytes(signal: Signal) -> Signal:
    """As the first pass shall look for it. The signal itself is what finds."""
    glimpse = signal.glimpse or signal.pattern
    widened = glimpse if signal.unicode else in_bytes(glimpse, caseless=signal.caseless)
    if widened == glimpse:
        return signal
    signal.prepare()
    return replace(signal, glimpse=widened)


TABLE: Final = _table(DETECTORS)
OWN_TABLES: Final[Mapping[frozenset[Kind], SignalTable]] = {
    frozenset[Kind]().union(*(each.kinds for each in those)): _table(those)
    for those in ((SECRETS,), (DESTINATIONS,), (MENTIONS,), (LINKS,), (DESTINATIONS, MENTIONS), (LINKS, MENTIONS))
}
"""Of those that a call asks for by themselves: the fewer the signals, the faster the pass."""


def table_of(kinds: frozenset[Kind]) -> SignalTable:
    return OWN_TABLES.get(kinds, TABLE)
