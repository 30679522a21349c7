"""Streams that a client up to 2025-11-25 may lose and ask for again, at any process.

Each event is in the database, sealed, before it is sent. Its id names the stream and its number in it; the stream is
bound to the session, so an id is of no use to anybody else.
"""

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256

from django.db import transaction

from gateway.bus import Bus, post, topic_of
from gateway.database import DatabaseThread
from gateway.models import StreamEvent
from gateway.sealing import seal, unseal

PURPOSE = "stream event"
EVENT_ID = re.compile(r"([A-Za-z0-9_-]{22})\.(\d{1,9})\Z")
KEPT_FOR = timedelta(minutes=15)
JOURNAL_LIMIT = 1024 * 1024
"""Bytes of one stream that are kept, beside its answer: a talkative upstream must not fill the database."""
MORE, LAST = b"+", b"."
"""The first byte of a stored event: whether others follow."""


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    data: bytes = field(repr=False)
    is_last: bool


@dataclass(frozen=True, slots=True)
class Place:
    """How far a client has read a stream."""

    token: str
    stream: bytes = field(repr=False)
    number: int

    @property
    def event_id(self) -> str:
        return f"{self.token}.{self.number}"

    @property
    def topic(self) -> str:
        return topic_of("stream", self.stream.hex())

    def at(self, number: int) -> "Place":
        return Place(self.token, self.stream, number)


class Journal:
    """What one stream of a session has sent."""

    def __init__(self, session_id: str, thread: DatabaseThread, bus: Bus) -> None:
        token = secrets.token_urlsafe(16)
        self._place = Place(token, _stream(session_id, token), 0)
        self._room = JOURNAL_LIMIT
        self._thread = thread
        self._bus = bus

    @property
    def event_id(self) -> str:
        """Of the newest event; of the beginning before there is any."""
        return self._place.event_id

    async def append(self, data: bytes, *, is_last: bool) -> str:
        """The id of the event, which is durable now; empty for one that is too much. Raises EvidenceUnavailable."""
        if not is_last and len(data) > self._room:
            return ""
        place = self._place.at(self._place.number + 1)
        await self._thread.run(partial(_write, place, (LAST if is_last else MORE) + data))
        self._bus.ring(place.topic)
        self._place = place
        self._room -= len(data)
        return place.event_id


class Streams:
    def __init__(self, thread: DatabaseThread, bus: Bus) -> None:
        self._thread = thread
        self._bus = bus

    def journal(self, session_id: str) -> Journal:
        return Journal(session_id, self._thread, self._bus)

    async def events_after(self, place: Place) -> list[Event]:
        """Raises EvidenceUnavailable."""
        return await self._thread.run(partial(_read, place))

    async def is_read_to_its_end(self, place: Place) -> bool:
        """Raises EvidenceUnavailable."""
        here = await self.events_after(place.at(place.number - 1)) if place.number else []
        return bool(here) and here[0].is_last


def place_of(session_id: str, last_event_id: str) -> Place | None:
    """None for what is no id of ours. Somebody else's leads to a stream in which nothing was ever written."""
    found = EVENT_ID.match(last_event_id)
    return Place(found[1], _stream(session_id, found[1]), int(found[2])) if found else None


def forget_events(now: datetime) -> None:
    StreamEvent.objects.filter(written_at__lt=now - KEPT_FOR).delete()


def _stream(session_id: str, token: str) -> bytes:
    return sha256(f"{session_id} {token}".encode()).digest()


def _write(place: Place, body: bytes) -> None:
    sealed = seal(PURPOSE, body, bound_to=place.topic)
    row = StreamEvent(stream=place.stream, number=place.number, body=sealed, written_at=datetime.now(UTC))
    with transaction.atomic():
        StreamEvent.objects.bulk_create([row], ignore_conflicts=True)
        post(place.topic, b"")


def _read(place: Place) -> list[Event]:
    """Up to the first gap: what is missing there is not written yet."""
    rows = StreamEvent.objects.filter(stream=place.stream, number__gt=place.number).order_by("number")
    events = []
    for expected, row in enumerate(rows, place.number + 1):
        if row.number != expected:
            break
        body = unseal(PURPOSE, bytes(row.body), bound_to=place.topic)
        events.append(Event(place.at(row.number).event_id, body[1:], body[:1] == LAST))
    return events
