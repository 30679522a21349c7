"""One session as a bundle for an outsider: what is recorded before it leaves, and what it holds."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import IO
from uuid import UUID

from audit.checkpoint import installation_verifier
from audit.models import EventRow, Payload
from audit.session_bundle import Body, Told, write_session
from gateway.sealed_payloads import Seals, Unreadable, opening_session
from governance.facts import Fact

MOST_LINES = 1_000
"""Calls and what was between them, in one bundle: each has a proof of its own."""
AT_A_TIME = 10


def leaving(events: Sequence[EventRow], *, session: UUID, reason: str) -> list[Fact]:
    """What must be on record first. `reason` is empty where no payloads go along."""
    told = {"agent": events[0].agent, "first": str(events[0].pk), "events": len(events), "payloads": bool(reason)}
    exported = Fact("session.exported", f"session:{session}", told)
    return [exported, opening_session(events, session=session, reason=reason)] if reason else [exported]


def write_bundle(
    file: IO[bytes], session: UUID, events: Sequence[EventRow], *, with_payloads: bool, at: datetime
) -> Told:
    """For whoever has recorded it. Raises CannotExport, or BadKey for a signing key that cannot be read."""
    bodies = partial(_bodies, {event.pk: bytes(event.header) for event in events}) if with_payloads else None
    return write_session(file, session, events, bodies, verifier=installation_verifier(), at=at)


def _bodies(headers: dict[UUID, bytes], wanted: Sequence[UUID]) -> Iterator[tuple[UUID, Body]]:
    """What is broken or erased stays out; the bundle's verifier counts it."""
    seals = Seals()
    for start in range(0, len(wanted), AT_A_TIME):
        keys = wanted[start : start + AT_A_TIME]
        rows = Payload.objects.in_bulk(keys)
        for key in keys:
            if (body := _opened(seals, key, headers[key], rows.get(key))) is not None:
                yield key, body


def _opened(seals: Seals, key: UUID, header: bytes, payload: Payload | None) -> Body | None:
    try:
        return Body(*seals.parts(key, header, payload)) if payload is not None else None
    except Unreadable:
        return None
