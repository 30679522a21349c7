"""The weekly sweep for what should have ended, and ending it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from audit.models import EventRow
from gateway.actions import act
from governance import zombies

BY = "system:sweep"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What the last one found."""

    at: datetime
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def sweep() -> dict[str, int]:
    return act(lambda record, now: zombies.tell(record=record, now=now), by=BY)


def end_zombies(name: str, *, by: str) -> int:
    """All of one sort; returns how many."""
    return act(lambda record, now: zombies.end(name, by=by, record=record, now=now), by=by)


def last_sweep() -> Sweep | None:
    found: Any = EventRow.objects.filter(kind="zombies.found", call_id=None).order_by("-id").first()
    if found is None:
        return None
    return Sweep(found.at, orjson.loads(bytes(found.header))["details"]["counts"])
