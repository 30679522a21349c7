"""Sends the log to one destination: at least once, in order, never a leaf less.

The log itself is the buffer: what a batch holds is all there is in memory. Before a batch goes out its end is written
down, and the cursor moves only once the destination has acknowledged it, by one UPDATE that only the holder of the
lease can make. Nothing is open or locked while a destination takes its time. A crash after the sending repeats a batch.
"""

import logging
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from django.utils import timezone

from audit import cursors
from audit.cursors import Lease
from audit.formats import FORMATS, Format
from audit.formats.entry import Entry, Redact, SignedSize
from audit.leaves import LeafMissing, entries, log_size, newest_checkpoint
from audit.redaction import METADATA, redaction
from audit.sinks.base import Poisoned, Record, Refused, Sink, SinkFailure, Throttled

FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 300.0
CHECKPOINT_EVERY: Final = timedelta(hours=1)
UNNAMED: Final = "gatehouse"
"""The organisation that has no name yet: searches group by it, and leave out what has none."""
MOST_POISON_IN_A_ROW: Final = 10
"""A destination that takes nothing at all is set up wrongly: no reason to bury the whole log."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Destination:
    """What the loop knows of a sink. `version` changes with anything that decides how or where it sends."""

    id: UUID
    name: str
    version: str
    org: str
    format: str
    profile: str
    linger_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Writer:
    """Leaves as one destination wants to see them."""

    org: str
    format: Format
    redact: Redact | None

    @classmethod
    def of(cls, destination: Destination) -> "Writer":
        return cls(destination.org or UNNAMED, FORMATS[destination.format], redaction(destination.profile))

    def record(self, entry: Entry, *, at_most: int) -> Record:
        """One that is too long for the destination goes without its details: a gap would look like a deletion."""
        body = self.format.record(entry, org=self.org, redact=self.redact)
        if len(body) > at_most:
            body = self.format.record(entry, org=self.org, redact=redaction(METADATA))
        return Record(entry.index, entry.event_id, entry.at, body, org=self.org)

    def checkpoint(self, signed: SignedSize) -> Record:
        body = self.format.checkpoint(signed, org=self.org)
        event_id = uuid5(NAMESPACE_URL, signed.note)
        return Record(signed.size, event_id, signed.at, body, is_checkpoint=True, org=self.org)


class Exporter:
    """One destination in one process. Used by one thread."""

    def __init__(self, destination: Destination, sink: Sink) -> None:
        self._destination = destination
        self._sink = sink
        self._writer = Writer.of(destination)
        self._buried_in_a_row = 0

    def run(self, lease: Lease, stop: Event) -> None:
        """Until everything has arrived, the destination fails, or `stop` is set. Raises LeaseLost."""
        try:
            self._resend(lease)
            while not stop.is_set() and (batch := self._next_batch(lease)):
                self._deliver(batch, lease)
            self._anchor(lease)
            lease.release()
        except SinkFailure as failure:
            self._note(failure, lease)
        except LeafMissing as hole:
            lease.fail(str(hole), retry_at=later(LONGEST_BACKOFF_SECONDS))

    def _resend(self, lease: Lease) -> None:
        """What was begun before a crash, by its own bounds: a deterministic sink then writes the same object."""
        while lease.acked < lease.planned:
            self._deliver(self._batch(lease.acked, lease.planned), lease)

    def _next_batch(self, lease: Lease) -> list[Record]:
        """Nothing while there is too little to send and it has not waited long enough."""
        end = min(log_size(), lease.acked + self._sink.max_records)
        if end == lease.acked or (end - lease.acked < self._sink.max_records and not self._has_waited(lease.acked)):
            return []
        return self._batch(lease.acked, end)

    def _has_waited(self, index: int) -> bool:
        linger = timedelta(seconds=self._destination.linger_seconds)
        return not linger or any(timezone.now() - entry.at >= linger for entry in entries(index, index + 1))

    def _batch(self, first: int, end: int) -> list[Record]:
        """From `first` on as much as one `send` may hold; a single record may be larger, and is told apart there.

        A hole stops it after all that comes before.
        """
        batch: list[Record] = []
        size = 0
        for entry in self._until_hole(first, end):
            record = self._writer.record(entry, at_most=self._sink.max_bytes)
            size += len(record.body)
            if batch and (size > self._sink.max_bytes or len(batch) == self._sink.max_records):
                break
            batch.append(record)
        return batch

    def _until_hole(self, first: int, end: int) -> Iterator[Entry]:
        sent = False
        try:
            for entry in entries(first, end):
                yield entry
                sent = True
        except LeafMissing:
            if not sent:
                raise

    def _deliver(self, batch: Sequence[Record], lease: Lease) -> None:
        lease.plan(max(batch[-1].index + 1, lease.planned))
        self._send(batch, lease)

    def _send(self, batch: Sequence[Record], lease: Lease) -> None:
        """Whatever is poison is narrowed down to the record, in order, and buried."""
        if len(batch) == 1 and len(batch[0].body) > self._sink.max_bytes:
            return self._bury(batch[0], lease, f"larger than the {self._sink.max_bytes} bytes the destination takes")
        try:
            self._sink.send(batch)
        except Poisoned as poison:
            return self._narrow(batch, poison, lease)
        self._buried_in_a_row = 0
        lease.acknowledge(batch[-1].index + 1)
        return None

    def _narrow(self, batch: Sequence[Record], poison: Poisoned, lease: Lease) -> None:
        position = 0 if len(batch) == 1 else poison.position
        if position is None or not 0 <= position < len(batch):
            half = len(batch) // 2
            self._send(batch[:half], lease)
            self._send(batch[half:], lease)
            return
        if position:
            self._buried_in_a_row = 0
            lease.acknowledge(batch[position].index)
        self._bury(batch[position], lease, str(poison))
        if rest := batch[position + 1 :]:
            self._send(rest, lease)

    def _bury(self, record: Record, lease: Lease, error: str) -> None:
        if self._buried_in_a_row >= MOST_POISON_IN_A_ROW:
            raise Refused(f"It takes no record any more, last: {error}")
        self._buried_in_a_row += 1
        logger.warning("sink %s: leaf %d is a dead letter: %s", self._destination.name, record.index, error)
        lease.bury(record.index, record.event_id, error)

    def _anchor(self, lease: Lease) -> None:
        """Each hour the newest checkpoint, of which the destination has every leaf."""
        held = cursors.checkpoint_of(lease.sink)
        if held.at is not None and abs(timezone.now() - held.at) < CHECKPOINT_EVERY and held.size:
            return
        signed = newest_checkpoint(up_to=lease.acked)
        if signed is None or signed.size <= held.size:
            return
        try:
            self._sink.send([self._writer.checkpoint(signed)])
        except Poisoned as poison:
            logger.warning("sink %s does not take checkpoints: %s", self._destination.name, poison)
        lease.note_checkpoint(signed.size)

    def _note(self, failure: SinkFailure, lease: Lease) -> None:
        logger.warning("sink %s: %s: %s", self._destination.name, type(failure).__name__, failure)
        if isinstance(failure, Refused):
            self._buried_in_a_row = 0
            lease.fail(str(failure), retry_at=None, refused_version=self._destination.version)
        else:
            asked = failure.retry_after if isinstance(failure, Throttled) else None
            wait = min(asked, LONGEST_BACKOFF_SECONDS) if asked else backoff_seconds(lease.failures)
            lease.fail(str(failure), retry_at=later(wait))


def backoff_seconds(failures: int) -> float:
    """Full jitter below a bound that doubles, so that many processes do not come back in step."""
    bound = min(FIRST_BACKOFF_SECONDS * 2 ** min(failures, 20), LONGEST_BACKOFF_SECONDS)
    return random.uniform(FIRST_BACKOFF_SECONDS / 2, bound)


def later(seconds: float) -> datetime:
    return timezone.now() + timedelta(seconds=seconds)


def slowest_cursor(sinks: Collection[UUID]) -> int | None:
    """The first leaf that one of these enabled sinks has not got yet: retention stops before it. None without any."""
    return cursors.slowest(sinks)
