"""Whether a text holds what looks like a secret of a known format, whatever stands directly before it."""

from typing import Final

from governance.inspection.detectors import table_of
from governance.inspection.findings import Kind
from governance.inspection.secret_formats import FORMATS
from governance.inspection.signals import Encoded

NAMES: Final = frozenset(each.signal.name for each in FORMATS)
SECRETS: Final[frozenset[Kind]] = frozenset(("secret",))


def may_hold_secret(text: str) -> bool:
    return not NAMES.isdisjoint(table_of(SECRETS).occurring(Encoded(text)))
