"""Whether evidence is being sealed, kept elsewhere and has room to grow: for the home page, probes, metrics, alarms."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings

from audit.event import first_id_at
from audit.models import Checkpoint, EventRow, Pending
from gateway.hostile_text import visible
from governance.models import Anchor

SEALED_WITHIN: Final = timedelta(minutes=1)
SIGNED_WITHIN: Final = timedelta(minutes=65)
"""An hour of silence is signed, too."""
ANCHOR_TRIES: Final = 3
ANCHOR_LATE: Final = 2
"""Times its own interval."""
LEAST_FREE: Final = 0.05
RECENT: Final = timedelta(days=1)
MOST_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True)
class AnchorHealth:
    """`age` is since something was kept there, None if nothing ever was. `ahead`: the database is older than it."""

    name: str
    age: timedelta | None
    failures: int
    is_late: bool
    ahead: int

    @property
    def minutes(self) -> int:
        return int((self.age or timedelta()).total_seconds() // 60)


@dataclass(frozen=True, slots=True)
class EvidenceHealth:
    """`lag` is the age of the oldest event without a place in the log. `unknown`: calls of the past day of which nobody
    knows the outcome, up to a bound."""

    size: int
    checkpoint_age: timedelta | None
    lag: timedelta
    anchors: tuple[AnchorHealth, ...]
    unknown: int
    disk_free: int
    disk_size: int

    def troubles(self) -> Iterator[tuple[str, str]]:
        """(what stays the same while it lasts, a sentence)."""
        if self.lag > SEALED_WITHIN:
            yield "sealing", "New events are kept, but get no place in the signed log. Is the sequencer running?"
        elif self.checkpoint_age is not None and self.checkpoint_age > SIGNED_WITHIN:
            yield "signing", "No checkpoint was signed for more than an hour. Is the sequencer running?"
        for anchor in self.anchors:
            if anchor.ahead:
                text = f"keeps a checkpoint of {anchor.ahead:,} events: this database is older. Was a backup restored?"
                yield f"older:{anchor.name}", f"The anchor {visible(anchor.name)} {text}"
            elif anchor.failures >= ANCHOR_TRIES or anchor.is_late:
                yield f"anchor:{anchor.name}", f"The anchor {visible(anchor.name)} keeps no new checkpoint."
        if self.disk_free < self.disk_size * LEAST_FREE:
            yield "disk", f"The disk of DATA_DIR is nearly full: {self.disk_free // 2**20:,} MiB are left."


def read_health(now: datetime) -> EvidenceHealth:
    last = Checkpoint.objects.order_by("-size").values_list("size", "at").first()
    oldest = Pending.objects.order_by("id").values_list("event_id", flat=True).first()
    unknown = EventRow.objects.filter(outcome="unknown", id__gte=first_id_at(now - RECENT)).values_list("id")
    disk = shutil.disk_usage(settings.DATA_DIR)
    return EvidenceHealth(
        size=last[0] if last else 0,
        checkpoint_age=max(now - last[1], timedelta()) if last else None,
        lag=max(now - _moment_of(oldest), timedelta()) if oldest else timedelta(),
        anchors=tuple(_health_of(anchor, now) for anchor in Anchor.objects.filter(is_enabled=True)),
        unknown=len(unknown[:MOST_COUNTED]),
        disk_free=disk.free,
        disk_size=disk.total,
    )


def _health_of(anchor: Anchor, now: datetime) -> AnchorHealth:
    age = now - anchor.kept_at if anchor.kept_at else None
    is_late = age is not None and age > ANCHOR_LATE * timedelta(minutes=anchor.every_minutes) + SIGNED_WITHIN
    return AnchorHealth(anchor.name, age, anchor.failures, is_late, anchor.ahead_size)


def _moment_of(event_id: UUID) -> datetime:
    """The millisecond that a time-ordered id tells."""
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
