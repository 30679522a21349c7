"""Where agents send something, as learning what is usual for them needs it: noted in memory when a call was carried
out, written now and then, far from any call.

Kept as keyed digests, of each agent for itself: whoever reads the table learns no address. What a process noted and
could not write before it ended is lost: it is unusual once more, and nothing else.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction

from gateway.models import SentTo
from gateway.run_destinations import RunDestinations, digest_of
from governance.inspection.destinations import CALLED, RECEIVES
from governance.inspection.findings import Finding, Findings
from governance.inspection.hosts import keys_in
from governance.snapshot import Snapshot

BEGUN: Final = ""
"""Stands for that somebody looks where this agent sends; from when on is the question."""
MANY: Final = "+"
"""Stands for what one call names beyond MOST_OF_CALL, and for what nobody could look at."""
ANYWHERE: Final = "*"
"""Stands for what is beyond MOST_OF_AGENT: a new destination is nothing new for it."""
DIGEST_LENGTH: Final = 16
ACCOUNTS: Final = frozenset(("to_iban", "to_wallet"))
MOST_OF_CALL: Final = 100
MOST_OF_AGENT: Final = 500
MOST_NOTED: Final = 50_000
"""Of one process, between two writes, and within an hour."""
GRAIN: Final = timedelta(hours=1)
KEPT_FOR: Final = timedelta(days=30)


class Notes:
    """Of one process. What is noted again within the hour costs a look into a set."""

    def __init__(self) -> None:
        self._hour = 0
        self._known: set[tuple[str, str]] = set()
        self._noted: list[tuple[str, str]] = []

    def note(self, agent_id: str, digests: Iterable[str], now: datetime) -> None:
        hour = int(now.timestamp() // GRAIN.total_seconds())
        if hour != self._hour:
            self._hour, self._known = hour, set()
        for digest in (BEGUN, *digests):
            if (agent_id, digest) not in self._known and len(self._known) < MOST_NOTED > len(self._noted):
                self._known.add((agent_id, digest))
                self._noted.append((agent_id, digest))

    def take(self) -> dict[str, set[str]]:
        """What is to be written now, by agent."""
        taken: dict[str, set[str]] = {}
        for agent_id, digest in self._noted:
            taken.setdefault(agent_id, set()).add(digest)
        self._noted = []
        return taken


def named(agent_id: str, ways: Findings, destinations: RunDestinations, snapshot: Snapshot) -> dict[str, Finding]:
    """What a call would send to and is not our own, by digest, each with where it is written first. The site or the
    domain is what counts; where many share one, whose part of it."""
    found: dict[str, Finding] = {}
    accounts = {way.path for way in ways if way.rule in ACCOUNTS}
    for way in ways:
        if way.kind == "limit":
            found.setdefault(MANY, way)
        if way.kind != "destination" or (way.rule == "to_number" and not _reaches_somebody(way.path, accounts)):
            continue
        keys = keys_in(way.subject)
        if destinations.is_own(keys, snapshot):
            continue
        digest = digest_of(agent_id, keys[0] if keys[0].startswith("at:") else keys[-1])[:DIGEST_LENGTH]
        if digest not in found:
            if len(found) >= MOST_OF_CALL:
                found.setdefault(MANY, way)
                break
            found[digest] = way
    return found


def write(taken: Mapping[str, set[str]], now: datetime) -> None:
    """Each agent in a short transaction. Raises django.db.Error."""
    for agent_id, digests in sorted(taken.items()):
        with transaction.atomic():
            _write_of(UUID(agent_id), digests, now)


def _write_of(agent_id: UUID, digests: set[str], now: datetime) -> None:
    rows = SentTo.objects.filter(agent_id=agent_id)
    known = set(rows.values_list("digest", flat=True))
    if len(known | digests) > MOST_OF_AGENT:
        digests = (digests & known) | {BEGUN, ANYWHERE}
    new = [SentTo(agent_id=agent_id, digest=each, first_at=now, last_at=now) for each in sorted(digests - known)]
    SentTo.objects.bulk_create(new, ignore_conflicts=True)
    rows.filter(digest__in=digests & known, last_at__lt=now).update(last_at=now)


def forget_sent_to(now: datetime) -> None:
    SentTo.objects.filter(last_at__lt=now - KEPT_FOR).delete()


def _reaches_somebody(path: str, accounts: Collection[str]) -> bool:
    """Most numbers are nobody's: only the name of the argument tells a telephone or an account, and where one is
    written in full its digits are no other."""
    if path in accounts:
        return False
    name = next((part for part in reversed(path.split("/")) if part and not part.isdigit()), "")
    return CALLED.search(name) is not None or RECEIVES.search(name) is not None
