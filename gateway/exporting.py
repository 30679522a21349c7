"""Sends evidence to all sinks, beside the worker's tasks: one look a second, and a thread for each sink that has work.

A sink that takes its time holds up nobody else. Any number of workers may run; the lease decides who sends.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Final
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from audit import cursors, wishes
from audit.cursors import Lease, LeaseLost
from audit.export import backoff_seconds, later
from audit.leaves import log_size
from audit.models import SinkCursor
from audit.sinks.base import Refused, SinkFailure
from gateway.sinks import Configured, Open, configured

LOOK_EVERY_SECONDS: Final = 1.0
AFTER_TROUBLE_SECONDS: Final = 5.0
MOST_SINKS_AT_ONCE: Final = 16
STOP_SECONDS: Final = 10.0
FEW: Final = 10_000

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Turn:
    """What one thread is doing for one sink."""

    version: str
    stop: Event = field(default_factory=Event)
    lease: Lease | None = None
    done: "Future[None] | None" = None


class Outlet:
    """One sink in this process; keeps its connections from turn to turn. Used by one thread at a time."""

    def __init__(self) -> None:
        self._open: Open | None = None

    def take_turn(self, sink: Configured, turn: Turn) -> None:
        """All there is to do for it now. Trouble of any kind ends in its row, never in the loop."""
        try:
            self._do_wishes(sink)
            if sink.is_enabled:
                self._send(sink, turn)
        except LeaseLost:
            logger.info("sink %s: another process goes on", sink.destination.name)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("sink %s: %s, trying again", sink.destination.name, type(error).__name__)

    def close(self) -> None:
        if self._open is not None:
            self._open.sink.close()
            self._open = None

    def _send(self, sink: Configured, turn: Turn) -> None:
        turn.lease = lease = cursors.take(sink.destination.id, version=sink.destination.version, now=timezone.now())
        if lease is None:
            return
        try:
            self._opened(sink).exporter.run(lease, turn.stop)
        except Refused as refusal:
            lease.fail(str(refusal), retry_at=None, refused_version=sink.destination.version)
        except (LeaseLost, DatabaseError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("sink %s: unforeseen", sink.destination.name)
            self.close()
            lease.fail(f"Unforeseen: {type(error).__name__}", retry_at=later(backoff_seconds(lease.failures)))

    def _do_wishes(self, sink: Configured) -> None:
        place = sink.destination.id
        if wishes.take_sample(place):
            wishes.tell_sample(place, self._sample(sink))
        if wishes.take_retry(place):
            try:
                to = self._opened(sink)
                wishes.retry_dead_letters(place, to.sink, to.writer)
            except SinkFailure as failure:
                logger.warning("sink %s: dead letters wait: %s", sink.destination.name, failure)

    def _sample(self, sink: Configured) -> str:
        try:
            to = self._opened(sink)
            return wishes.send_sample(to.sink, to.writer)
        except SinkFailure as failure:
            return str(failure)

    def _opened(self, sink: Configured) -> Open:
        """Raises Refused."""
        if self._open is None or self._open.version != sink.destination.version:
            self.close()
            self._open = sink.open()
        return self._open


class Exporting:
    """The loop. `look` is one round of it."""

    def __init__(self) -> None:
        self._outlets: dict[UUID, Outlet] = {}
        self._turns: dict[UUID, Turn] = {}
        self._threads = ThreadPoolExecutor(MOST_SINKS_AT_ONCE, thread_name_prefix="sink")

    def look(self) -> None:
        """Renews what is under way, stops what changed, begins what is due."""
        found = {sink.destination.id: sink for sink in configured(only_enabled=False)}
        self._turns = {place: turn for place, turn in self._turns.items() if turn.done and not turn.done.done()}
        for place, turn in self._turns.items():
            now = found.get(place)
            if now is None or not now.is_enabled or now.destination.version != turn.version:
                turn.stop.set()
            if turn.lease is not None:
                turn.lease.renew()
        for sink in self._with_work(found.values()):
            self._begin(sink)
        self._forget(found.keys())

    def stop(self) -> None:
        """Batches that are under way end first."""
        for turn in self._turns.values():
            turn.stop.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for outlet in self._outlets.values():
            outlet.close()

    def wait(self) -> None:
        """Until all that was begun has ended."""
        for turn in self._turns.values():
            if turn.done is not None:
                turn.done.result()

    def _with_work(self, sinks: Iterable[Configured]) -> list[Configured]:
        idle = [sink for sink in sinks if sink.destination.id not in self._turns]
        if not idle:
            return []
        size = log_size()
        places = SinkCursor.objects.in_bulk([sink.destination.id for sink in idle])
        for sink in idle:
            if sink.is_enabled and sink.destination.id not in places:
                cursors.begin(sink.destination.id, at=0)
        return [sink for sink in idle if _has_work(sink, places.get(sink.destination.id), size)]

    def _begin(self, sink: Configured) -> None:
        place = sink.destination.id
        turn = self._turns[place] = Turn(sink.destination.version)
        turn.done = self._threads.submit(self._run, self._outlets.setdefault(place, Outlet()), sink, turn)

    def _run(self, outlet: Outlet, sink: Configured, turn: Turn) -> None:
        try:
            outlet.take_turn(sink, turn)
        finally:
            connection.close()

    def _forget(self, known: Iterable[UUID]) -> None:
        for place in self._outlets.keys() - set(known) - self._turns.keys():
            self._outlets.pop(place).close()


def _has_work(sink: Configured, place: SinkCursor | None, size: int) -> bool:
    if place is None:
        return False
    if place.sample_asked_at or place.retry_asked_at:
        return True
    waits = place.retry_at is not None and place.retry_at > timezone.now()
    is_refused = place.refused_version == sink.destination.version
    if not sink.is_enabled or size <= place.acked_index or waits or is_refused:
        return False
    return not _still_gathers(sink, place, size)


def _still_gathers(sink: Configured, place: SinkCursor, size: int) -> bool:
    """A look costs two writes: not each second for a sink that takes a minute's worth at once."""
    linger = sink.destination.linger_seconds
    if not linger or place.next_index > place.acked_index or size - place.acked_index >= FEW:
        return False
    return cursors.lag(place, now=timezone.now()).seconds < linger


class ExportThread(Thread):
    """`Exporting` until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(name="export", daemon=True)
        self._stop_asked = Event()

    def run(self) -> None:
        exporting = Exporting()
        while not self._stop_asked.wait(LOOK_EVERY_SECONDS):
            try:
                exporting.look()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("export: %s, trying again", type(error).__name__)
                connection.close()
                self._stop_asked.wait(AFTER_TROUBLE_SECONDS)
        exporting.stop()
        connection.close()

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(STOP_SECONDS)
