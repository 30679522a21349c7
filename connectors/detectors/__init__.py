"""Detectors of somebody else's: services and models that say what is in a text."""

from collections.abc import Mapping
from typing import Final

from connectors.detectors import bedrock, google_dlp, nightfall, onnx, presidio
from connectors.detectors.base import DetectorKind

DETECTOR_KINDS: Final[Mapping[str, DetectorKind]] = {
    "bedrock": bedrock.KIND,
    "google_dlp": google_dlp.KIND,
    "nightfall": nightfall.KIND,
    "onnx": onnx.KIND,
    "presidio": presidio.KIND,
}
