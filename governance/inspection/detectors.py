"""The one table of all detectors."""

from typing import Final

from governance.inspection.detector import Detector

DETECTORS: Final[tuple[Detector, ...]] = ()
