"""The one table of all detectors."""

from typing import Final

from governance.inspection.definition_sentences import DEFINITION_SENTENCES
from governance.inspection.destinations import DESTINATIONS, MENTIONS
from governance.inspection.detector import Detector
from governance.inspection.hidden_text_detector import HIDDEN_TEXT
from governance.inspection.injection import GUESSES, INJECTION
from governance.inspection.links import LINKS
from governance.inspection.personal_data import PERSONAL_DATA
from governance.inspection.secrets import SECRETS
from governance.inspection.signals import SignalTable
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
TABLE: Final = SignalTable(
    dict.fromkeys([*SIGNALS, *(signal for detector in DETECTORS for signal in detector.signals)])
)
