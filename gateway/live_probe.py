"""Asks every live gateway process whether ended credentials open anything there, and reads what they said."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from gateway.enforcement import live_processes
from gateway.models import Probe, ProbeAnswer
from gateway.probing import AUTHORIZATION, KEY
from governance import offboarding_findings as findings

WAIT_SECONDS = 5.0
POLL_SECONDS = 0.05
MOST_ASKED = 20_000


@dataclass(frozen=True, slots=True)
class Word:
    """Of one gateway process; `tried` is None while it has not answered."""

    name: str
    tried: int | None = None
    live: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "tried": self.tried, "live": list(self.live)}


def subjects(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """What of an offboarding's findings a gateway would be shown."""
    kinds = {findings.KEY: KEY, findings.AUTHORIZATION: AUTHORIZATION}
    return [f"{kinds[item['kind']]}{item['id']}" for item in items if item["kind"] in kinds][:MOST_ASKED]


def ask(wanted: list[str], *, by: str) -> Probe:
    return Probe.objects.create(asked_at=datetime.now(UTC), asked_by=by[:300], credentials=wanted)


def words(probe: Probe) -> list[Word]:
    """Of those that ran then and live now, and of those that answered. One that ended without an answer lets nobody
    in; one that began later knows nothing from before."""
    said = {row.process_id: row for row in ProbeAnswer.objects.filter(probe=probe)}
    asked = live_processes().filter(started_at__lte=probe.asked_at)
    names: dict[UUID, str] = {key: f"{host}:{pid}" for key, host, pid in asked.values_list("id", "host", "pid")}
    everybody = {**dict.fromkeys(said, "a gateway that has ended"), **names}
    return [
        Word(name, said[key].tried, tuple(said[key].live)) if key in said else Word(name)
        for key, name in everybody.items()
    ]


def ask_and_wait(
    wanted: list[str], *, by: str, seconds: float = WAIT_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> list[Word]:
    """They answer with their next heartbeat, so within a second or two. Holds no transaction."""
    probe, ends_at = ask(wanted, by=by), time.monotonic() + seconds
    found = words(probe)
    while any(word.tried is None for word in found) and time.monotonic() < ends_at:
        sleep(POLL_SECONDS)
        found = words(probe)
    return found


def last_asked(by: str) -> Probe | None:
    """What this one asked last, answered or not."""
    return Probe.objects.filter(asked_by=by).order_by("-asked_at").first()
