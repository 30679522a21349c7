"""How gateway processes reach each other: sealed letters in the database, addressed to a topic.

The table carries, and what wakes is only a hint: NOTIFY on PostgreSQL, on SQLite a short poll while somebody waits.
A letter to a topic that is waited for in this process goes there directly.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256

import psycopg
from django.db import connection, transaction

from gateway.commit.entry import EvidenceUnavailable
from gateway.database import DatabaseThread, connection_parameters
from gateway.models import Letter
from gateway.postage import Postage
from gateway.sealing import NotOurs, seal, unseal

logger = logging.getLogger(__name__)

CHANNEL = "gatehouse_letter"
"""PostgreSQL NOTIFY channel; its payload is the topic."""
PURPOSE = "letter"
SQLITE_POLL_SECONDS = 0.02
POSTGRESQL_POLL_SECONDS = 1.0
RECONNECT_SECONDS = 1.0
WAITING_LIMIT = 64
WAITING_BYTES = 2 * 1024 * 1024
"""Letters that wait to be read; whoever sends so many more than are wanted loses the rest."""
LOOK_BACK = timedelta(minutes=1)
"""How much older than its mailbox a letter may be; covers clocks that differ."""


def topic_of(kind: str, *parts: str) -> str:
    """Nobody can guess a topic who does not know all its parts, and none of them can be read from it."""
    return f"{kind}:{sha256(json.dumps(parts).encode()).hexdigest()}"


@dataclass(slots=True, eq=False)
class Mailbox:
    """Hears what is sent to its topic from now on, and shortly before. `seen` are the letters that may be found once
    more."""

    topic: str
    since: datetime
    seen: set[int] = field(default_factory=set)
    letters: asyncio.Queue[bytes] = field(default_factory=partial(asyncio.Queue, WAITING_LIMIT))
    size_bytes: int = 0

    def put(self, body: bytes) -> None:
        is_heavy = bool(self.size_bytes) and self.size_bytes + len(body) > WAITING_BYTES
        if not is_heavy and not self.letters.full():
            self.letters.put_nowait(body)
            self.size_bytes += len(body)

    async def next(self, timeout_seconds: float | None = None) -> bytes | None:
        """The next letter; None when none comes in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return self._taken(await self.letters.get())
        except TimeoutError:
            return None

    async def ring(self, timeout_seconds: float | None = None) -> bool:
        """Whether any letter came in time; takes all that are there."""
        rang = await self.next(timeout_seconds) is not None
        while not self.letters.empty():
            self._taken(self.letters.get_nowait())
        return rang

    def _taken(self, body: bytes) -> bytes:
        self.size_bytes -= len(body)
        return body


class Bus:
    """All methods run on the event loop."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._postage = Postage()
        self._boxes: dict[str, list[Mailbox]] = {}
        self._unread: set[str] = set()
        self._reading: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if connection.vendor == "postgresql":
            conninfo = psycopg.conninfo.make_conninfo(**connection_parameters())
            self._listening = asyncio.create_task(self._listen(conninfo), name="letters")

    async def stop(self) -> None:
        running = [task for task in (self._listening, self._polling, self._reading) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def send(self, topic: str, body: bytes, *, sender: str = "") -> bool:
        """To whoever waits for the topic, here or elsewhere; it may arrive twice. False, and not sent, when an agent
        (`sender`) has written too much lately. Raises EvidenceUnavailable."""
        if topic in self._boxes:
            self._deliver(topic, body)
            return True
        if sender and not self._postage.pay(sender, len(body)):
            return False
        await self._thread.run(lambda: post(topic, body))
        self._look({topic})
        return True

    async def announce(self, topic: str, body: bytes = b"") -> None:
        """To everybody who waits for the topic, in all processes, and who looks back for it later; it may arrive twice.
        Raises EvidenceUnavailable."""
        self._deliver(topic, body)
        await self._thread.run(lambda: post(topic, body))

    def ring(self, topic: str) -> None:
        """Wakes those of this process; for a topic that was posted to in a transaction of one's own."""
        self._deliver(topic, b"")

    def ring_all(self, kind: str) -> None:
        """Wakes those of this process who wait for any topic of this kind."""
        for topic in [topic for topic in self._boxes if topic.startswith(f"{kind}:")]:
            self.ring(topic)

    @contextmanager
    def mailbox(self, topic: str, *, look_back: timedelta = LOOK_BACK) -> Iterator[Mailbox]:
        box = Mailbox(topic, datetime.now(UTC) - look_back)
        self._boxes.setdefault(topic, []).append(box)
        self._look({topic})
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(), name="letters-poll")
        try:
            yield box
        finally:
            self._boxes[topic].remove(box)
            if not self._boxes[topic]:
                del self._boxes[topic]

    def _deliver(self, topic: str, body: bytes) -> None:
        for box in self._boxes.get(topic, ()):
            box.put(body)

    def _look(self, topics: Iterable[str]) -> None:
        """All who want to look while one look is under way share the next."""
        self._unread |= self._boxes.keys() & topics
        if self._unread and self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="letters-read")

    async def _read(self) -> None:
        topics: set[str] = set()
        try:
            while self._unread:
                topics, self._unread = self._unread, set()
                await self._read_for([box for topic in topics for box in self._boxes.get(topic, ())])
        except EvidenceUnavailable:
            self._unread |= topics
        finally:
            self._reading = None

    async def _read_for(self, boxes: list[Mailbox]) -> None:
        if not boxes:
            return
        began = datetime.now(UTC)
        topics, since = {box.topic for box in boxes}, min(box.since for box in boxes)
        rows = await self._thread.run(partial(_letters, topics, since))
        self._sort(rows)
        numbers = {number for number, _, _ in rows}
        for box in boxes:
            box.since = max(box.since, began - LOOK_BACK)
            box.seen &= numbers

    def _sort(self, rows: list[tuple[int, str, bytes]]) -> None:
        for number, topic, sealed in rows:
            for box in self._boxes.get(topic, ()):
                if number not in box.seen:
                    box.seen.add(number)
                    with suppress(NotOurs):
                        box.put(unseal(PURPOSE, sealed, bound_to=topic))

    async def _poll(self) -> None:
        """Runs only while somebody waits."""
        seconds = POSTGRESQL_POLL_SECONDS if connection.vendor == "postgresql" else SQLITE_POLL_SECONDS
        seen = None
        try:
            while self._boxes:
                await asyncio.sleep(seconds)
                with suppress(EvidenceUnavailable):
                    marker = await self._thread.run(_change_marker)
                    if marker is None or marker != seen or self._unread:
                        self._look(self._boxes)
                    seen = marker
        finally:
            self._polling = None

    async def _listen(self, conninfo: str) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as listening:
                    await listening.execute(f"LISTEN {CHANNEL}")
                    self._look(self._boxes)
                    async for notice in listening.notifies():
                        self._look({notice.payload})
            except (psycopg.Error, OSError) as error:
                logger.warning("letters are heard late: %s", type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)


def post(topic: str, body: bytes) -> None:
    """Writes a letter and wakes the other processes, in the caller's transaction if there is one."""
    with transaction.atomic():
        letter = seal(PURPOSE, body, bound_to=topic)
        Letter.objects.create(topic=topic, body=letter, written_at=datetime.now(UTC))
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, topic])


def _letters(topics: set[str], since: datetime) -> list[tuple[int, str, bytes]]:
    letters = Letter.objects.filter(topic__in=topics, written_at__gte=since)
    rows = letters.order_by("id").values_list("id", "topic", "body")
    return [(number, topic, bytes(body)) for number, topic, body in rows]


def _change_marker() -> int | None:
    """On SQLite what differs after a commit of any other connection; elsewhere nothing is known."""
    if connection.vendor == "postgresql":
        return None
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA data_version").fetchone()[0])
