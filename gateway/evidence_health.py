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
from audit.newest_signed import newest_signed
from gateway.database_size import DatabaseSize, database_size
from gateway.hostile_text import visible
from gateway.search_filling import lag
from gateway.sink_progress import Progress, progress_of
from governance.models import Anchor, Sink

SEALED_WITHIN: Final = timedelta(minutes=1)
SIGNED_WITHIN: Final = timedelta(minutes=65)
"""An hour of silence is signed, too."""
ANCHOR_TRIES: Final = 3
ANCHOR_LATE: Final = 2
"""Times its own interval."""
LEAST_FREE: Final = 0.05
UNKNOWN_AT_LEAST: Final = 10
UNKNOWN_TIMES_USUAL: Final = 3
"""In an hour, against the mean of the hours before it."""
RECENT: Final = timedelta(days=1)
LATELY: Final = timedelta(hours=1)
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

    def troubles(self) -> Iterator[tuple[str, str]]:
        anchor = visible(self.name)
        if self.ahead:
            text = f"keeps a checkpoint of {self.ahead:,} events: this database is older. Was a backup restored?"
            yield f"older:{self.name}", f"The anchor {anchor} {text}"
        elif self.failures >= ANCHOR_TRIES or self.is_late:
            yield f"anchor:{self.name}", f"The anchor {anchor} keeps no new checkpoint."


@dataclass(frozen=True, slots=True)
class EvidenceHealth:
    """`lag` is the age of the oldest event without a place in the log. `unknown`: calls of the past day of which nobody
    knows the outcome, up to a bound; `unknown_lately` of them are of the past hour."""

    size: int
    checkpoint_age: timedelta | None
    lag: timedelta
    anchors: tuple[AnchorHealth, ...]
    unknown: int
    unknown_lately: int
    disk_free: int
    disk_size: int
    sinks: tuple[Progress, ...]
    database: DatabaseSize
    unsearchable: int
    """Events that cannot be found by their words yet."""
    contradiction: str = ""
    """How this database is not the one whose log was signed here."""

    @property
    def has_growing_unknowns(self) -> bool:
        usual = (self.unknown - self.unknown_lately) / (RECENT // LATELY - 1)
        return self.unknown_lately >= max(UNKNOWN_AT_LEAST, UNKNOWN_TIMES_USUAL * usual)

    def troubles(self) -> Iterator[tuple[str, str]]:
        """(what stays the same while it lasts, a sentence)."""
        if self.contradiction:
            text = f"This is not the database whose log was signed here: {self.contradiction}. Nothing is signed."
            yield "older:signed", text
        if self.lag > SEALED_WITHIN:
            yield "sealing", "New events are kept, but get no place in the signed log. Is the sequencer running?"
        elif self.checkpoint_age is not None and self.checkpoint_age > SIGNED_WITHIN:
            yield "signing", "No checkpoint was signed for more than an hour. Is the sequencer running?"
        for anchor in self.anchors:
            yield from anchor.troubles()
        for sink in self.sinks:
            yield from sink.troubles()
        yield from self._of_calls_and_room()

    def _of_calls_and_room(self) -> Iterator[tuple[str, str]]:
        if self.has_growing_unknowns:
            text = f"{self.unknown_lately} calls of the past hour ended without a known outcome, more than usual."
            yield "unknown", f"{text} Did a gateway or a system behind it break down?"
        if self.database.is_nearly_full:
            size, limit = self.database.bytes // 2**20, self.database.limit // 2**20
            yield "database", f"The database has {size:,} MiB of the {limit:,} MiB that DATABASE_LIMIT_GIB allows it."
        if self.disk_free < self.disk_size * LEAST_FREE:
            yield "disk", f"The disk of DATA_DIR is nearly full: {self.disk_free // 2**20:,} MiB are left."


OVER: Final = {
    "sealing": "New events get their place in the log again.",
    "signing": "Checkpoints are signed again.",
    "older:signed": "This is the database whose log was signed here again.",
    "older": "The anchor {name} keeps no more than this database has.",
    "anchor": "The anchor {name} keeps checkpoints again, or is not used any more.",
    "sink-refused": "The sink {name} is not refused any more.",
    "sink-behind": "The sink {name} has caught up, or was switched off.",
    "sink-letters": "No dead letters of the sink {name} wait any more.",
    "unknown": "Calls end with a known outcome again.",
    "database": "The database has room again.",
    "disk": "The disk of DATA_DIR has room again.",
}


def sentence_of_end(trouble: str) -> str:
    """What is told when a trouble is over."""
    kind, _, name = trouble.partition(":")
    told = OVER.get(trouble) or OVER.get(kind) or "What was told of {name} is over."
    return told.format(name=visible(name or kind))


def read_health(now: datetime) -> EvidenceHealth:
    last = Checkpoint.objects.order_by("-size").values_list("size", "at").first()
    oldest = Pending.objects.order_by("id").values_list("event_id", flat=True).first()
    disk = shutil.disk_usage(settings.DATA_DIR)
    return EvidenceHealth(
        size=last[0] if last else 0,
        checkpoint_age=max(now - last[1], timedelta()) if last else None,
        lag=max(now - _moment_of(oldest), timedelta()) if oldest else timedelta(),
        anchors=tuple(_health_of(anchor, now) for anchor in Anchor.objects.filter(is_enabled=True)),
        unknown=_unknown_since(now - RECENT),
        unknown_lately=_unknown_since(now - LATELY),
        disk_free=disk.free,
        disk_size=disk.total,
        sinks=tuple(progress_of(Sink.objects.order_by("name"), now=now).values()),
        database=database_size(),
        unsearchable=lag(),
        contradiction=newest_signed().contradicts(),
    )


def _unknown_since(moment: datetime) -> int:
    rows = EventRow.objects.filter(outcome="unknown", id__gte=first_id_at(moment)).values_list("id")
    return len(rows[:MOST_COUNTED])


def _health_of(anchor: Anchor, now: datetime) -> AnchorHealth:
    age = now - anchor.kept_at if anchor.kept_at else None
    is_late = age is not None and age > ANCHOR_LATE * timedelta(minutes=anchor.every_minutes) + SIGNED_WITHIN
    return AnchorHealth(anchor.name, age, anchor.failures, is_late, anchor.ahead_size)


def _moment_of(event_id: UUID) -> datetime:
    """The millisecond that a time-ordered id tells."""
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
