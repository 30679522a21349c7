"""The one table of all detectors."""

from typing import Final

from governance.inspection.detector import Detector
from governance.inspection.personal_data import PERSONAL_DATA
from governance.inspection.secrets import SECRETS

DETECTORS: Final[tuple[Detector, ...]] = (SECRETS, PERSONAL_DATA)
