"""Hidden text as findings: in the text as it stands, before a reading makes it plain."""

from collections.abc import Iterator, Mapping
from typing import Final

from governance.inspection.detector import Detector, Hit
from governance.inspection.findings import Severity
from governance.inspection.hidden_text import (
    BIDI,
    FAR_AWAY,
    LOOK_ALIKES,
    SELECTORS,
    TAGS,
    TERMINAL,
    ZERO_WIDTH,
    find_hidden,
    may_hide,
)
from governance.inspection.views import View
from governance.inspection.walk import Leaf

VERSION: Final = 1
SEVERITIES: Final[Mapping[str, Severity]] = {
    TAGS: Severity.HIGH,
    SELECTORS: Severity.HIGH,
    BIDI: Severity.HIGH,
    TERMINAL: Severity.HIGH,
    ZERO_WIDTH: Severity.MEDIUM,
    LOOK_ALIKES: Severity.MEDIUM,
    FAR_AWAY: Severity.LOW,
}
CONFIDENCES: Final[Mapping[str, float]] = {ZERO_WIDTH: 0.9, LOOK_ALIKES: 0.9, FAR_AWAY: 0.4}
"""Of others 0.99. A gap alone is odd, not proof."""


def look(view: View, leaf: Leaf, signals: frozenset[str]) -> Iterator[Hit]:
    """Not in what was folded: there nothing hides any more."""
    if view.name.endswith("folded"):
        return
    for passage in find_hidden(view.text):
        rule = f"unicode.{passage.kind}"
        confidence = CONFIDENCES.get(passage.kind, 0.99)
        yield Hit(rule, VERSION, "unicode", SEVERITIES[passage.kind], confidence, passage.start, passage.end)


HIDDEN_TEXT: Final = Detector(frozenset(("unicode",)), (), look, by_text=may_hide)
