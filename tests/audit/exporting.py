"""A destination that fails as it is told to, and short ways to send to it."""

from collections.abc import Iterator, Sequence
from threading import Event
from uuid import UUID

import orjson
from django.utils import timezone

from audit import cursors
from audit.export import Destination, Exporter
from audit.sinks.base import Poisoned, Record, SinkFailure

SINK = UUID(int=7)


class FakeSink:
    """`failures` are raised one for each attempt, None for none; a body with `poison` in it is never taken."""

    def __init__(self, *failures: SinkFailure | None, max_records: int = 3, poison: bytes = b"\0") -> None:
        self.max_records = max_records
        self.max_bytes = 10_000
        self.names_position = False
        self.attempts: list[list[int]] = []
        self.records: list[Record] = []
        self.checkpoints: list[Record] = []
        self._failures: Iterator[SinkFailure | None] = iter(failures)
        self._poison = poison

    def send(self, records: Sequence[Record]) -> None:
        if records[0].is_checkpoint:
            self.checkpoints.extend(records)
            return
        self.attempts.append([record.index for record in records])
        if failure := next(self._failures, None):
            raise failure
        for position, record in enumerate(records):
            if self._poison in record.body:
                if self.names_position:
                    self.records.extend(records[:position])
                raise Poisoned("no such field", position=position if self.names_position else None)
        self.records.extend(records)

    def close(self) -> None: ...

    @property
    def taken(self) -> list[int]:
        return [record.index for record in self.records]

    @property
    def headers(self) -> list[dict[str, object]]:
        return [orjson.loads(record.body)["header"] for record in self.records]


def destination(*, profile: str = "as_is", linger_seconds: float = 0, version: str = "1") -> Destination:
    return Destination(SINK, "soc", version, "Example Corp", "native", profile, linger_seconds)


def run(sink: FakeSink, to: Destination | None = None, *, at: int = 0) -> bool:
    """One turn; False if it was not ours to take."""
    to = to or destination()
    cursors.begin(SINK, at=at)
    lease = cursors.take(SINK, version=to.version, now=timezone.now())
    if lease is None:
        return False
    Exporter(to, sink).run(lease, Event())
    return True
