"""What a manifest may say of detectors of somebody else's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from governance.manifest.common import NAME_TEXT, TITLE, Entry, Reference
from governance.manifest.fields import Choice, Flag, Number, of
from governance.manifest.rule_entries import Object
from governance.models import ExternalDetector
from governance.models.detectors import LEAST_MS, MOST_BYTES, MOST_MS

SEVERITIES = tuple(ExternalDetector.Severity.values)
SIDES = tuple(ExternalDetector.Side.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorEntry(Entry):
    """`settings` are those of its kind, which the gateway checks. `enabled` is None for one that is; in a file, left
    out leaves it as it is."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    kind: str = of(Choice(tuple(sorted(ExternalDetector.KINDS))))
    settings: Mapping[str, Any] | None = of(Object(), None)
    secret: str = of(NAME_TEXT, "")
    side: str = of(Choice(SIDES), ExternalDetector.Side.BOTH.value)
    timeout_ms: int = of(Number(LEAST_MS, MOST_MS, is_whole=True), 2_000)
    most_bytes: int = of(Number(1, MOST_BYTES, is_whole=True), 25_000)
    severity: str = of(Choice(SEVERITIES), ExternalDetector.Severity.MEDIUM.value)
    least_confidence: float = of(Number(0, 1), 0.5)
    send_known_secrets: bool = of(Flag(), False)
    enabled: bool | None = of(Flag(), None)

    def references(self) -> Iterator[Reference]:
        if self.secret:
            yield Reference("secret", "secrets", self.secret)

    def over(self, before: "DetectorEntry | None") -> "DetectorEntry":
        """One that was switched off stays so by a file that does not say otherwise."""
        if before is not None and before.enabled is False and self.enabled is None:
            return replace(self, enabled=False)
        return replace(self, enabled=None) if self.enabled else self

    def switched_off(self) -> tuple[str, str]:
        return ("enabled", "disabled") if self.enabled is False else ("", "")


def detector_columns(entry: DetectorEntry) -> dict[str, Any]:
    """As the row keeps it, but for its secret."""
    return {
        "title": entry.title,
        "kind": entry.kind,
        "settings": dict(entry.settings or {}),
        "side": entry.side,
        "timeout_ms": entry.timeout_ms,
        "most_bytes": entry.most_bytes,
        "severity": entry.severity,
        "least_confidence": float(entry.least_confidence),
        "send_known_secrets": entry.send_known_secrets,
        "is_enabled": entry.enabled is not False,
    }


def stored_detector(row: ExternalDetector) -> DetectorEntry:
    return DetectorEntry(
        name=row.name,
        title=row.title,
        kind=row.kind,
        settings=row.settings or None,
        secret=row.secret.name if row.secret else "",
        side=row.side,
        timeout_ms=row.timeout_ms,
        most_bytes=row.most_bytes,
        severity=row.severity,
        least_confidence=row.least_confidence,
        send_known_secrets=row.send_known_secrets,
        enabled=None if row.is_enabled else False,
    )
