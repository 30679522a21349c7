"""The one table of all detectors."""

from typing import Final

from governance.inspection.detector import Detector
from governance.inspection.secrets import SECRETS

DETECTORS: Final[tuple[Detector, ...]] = (SECRETS,)
