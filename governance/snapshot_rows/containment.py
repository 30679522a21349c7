"""What content is looked at for, as snapshots hold it."""

from collections.abc import Mapping

from django.db.models.functions import Now

from governance import models
from governance.inspection.class_description import DataClass
from governance.snapshot import (
    AllowedPattern,
    Baseline,
    SealedCanary,
)
from governance.snapshot_rows.common import Ids, among, key
from governance.snapshot_values import OutsideDetector


def data_classes() -> Mapping[str, DataClass]:
    return {row.name: row.described() for row in models.DataClass.objects.order_by("name")}


def baselines(only: Ids) -> dict[str, Baseline]:
    rows = among(models.AgentBaseline.objects.all(), "agent_id", only)
    return {
        key(row.agent_id): Baseline(
            row.learns_until,
            frozenset(row.tools),
            frozenset(tool.partition("/")[0] for tool in row.tools),
            frozenset(row.hours),
            row.busiest_hour,
            frozenset(row.destinations),
            row.destinations_from,
        )
        for row in rows
    }


def detectors() -> Mapping[str, OutsideDetector]:
    return {row.name: detector_of(row) for row in models.ExternalDetector.objects.order_by("name")}


def detector_of(row: models.ExternalDetector) -> OutsideDetector:
    return OutsideDetector(
        id=key(row.id),
        name=row.name,
        kind=row.kind,
        version=row.number,
        settings=row.settings,
        secret_id=key(row.secret_id) if row.secret_id else "",
        side=row.side,
        timeout_ms=row.timeout_ms,
        most_bytes=row.most_bytes,
        severity=row.severity,
        least_confidence=row.least_confidence,
        sends_known_secrets=row.send_known_secrets,
        is_enabled=row.is_enabled,
    )


def canaries() -> tuple[SealedCanary, ...]:
    rows = models.Canary.objects.order_by("name")
    return tuple(
        SealedCanary(key(row.id), row.name, row.kind, row.key_id, bytes(row.wrapped_key), bytes(row.ciphertext))
        for row in rows
    )


def exceptions() -> tuple[AllowedPattern, ...]:
    """What is over is left out, as the database's clock has it; who reads looks at the end again."""
    rows = models.PatternException.objects.filter(ended_at=None, awaits_second=False, ends_at__gt=Now())
    return tuple(
        AllowedPattern(
            name=row.name,
            rule=row.rule,
            fingerprint=row.fingerprint,
            path=row.path,
            tool_id=key(row.tool_id),
            connector_id=key(row.connector_id),
            bundle_id=key(row.bundle_id),
            ends_at=row.ends_at,
        )
        for row in rows.order_by("name")
    )


def detection_off() -> frozenset[str]:
    return frozenset(models.DetectionOff.objects.values_list("rule", flat=True))
