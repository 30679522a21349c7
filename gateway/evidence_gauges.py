"""The health of evidence as a gateway process tells it: read off the event loop, at most every few seconds."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.database import DatabaseThread
from gateway.evidence_health import EvidenceHealth, read_health
from gateway.exposition import Family, gauge
from gateway.sink_progress import Progress

FRESH_SECONDS: Final = 5.0


class HealthReader:
    """Whoever probes, and however often, the database is asked once in a while."""

    def __init__(self) -> None:
        self._thread = DatabaseThread("health")
        self._last: tuple[float, EvidenceHealth] | None = None

    async def read(self) -> EvidenceHealth:
        """Raises EvidenceUnavailable."""
        if self._last is None or time.monotonic() - self._last[0] > FRESH_SECONDS:
            found = await self._thread.run(lambda: read_health(datetime.now(UTC)))
            self._last = time.monotonic(), found
        return self._last[1]


def families(health: EvidenceHealth) -> Iterable[Family]:
    yield gauge("gatehouse_evidence_sealed", "Events under the newest signed checkpoint.", ({}, health.size))
    if health.checkpoint_age is not None:
        text = "Since the newest checkpoint was signed."
        yield gauge("gatehouse_evidence_checkpoint_age_seconds", text, ({}, _seconds(health.checkpoint_age)))
    text = "Age of the oldest event without a place in the log."
    yield gauge("gatehouse_evidence_lag_seconds", text, ({}, _seconds(health.lag)))
    text = "Calls of the past day with unknown outcome, up to a thousand."
    yield gauge("gatehouse_evidence_unknown_outcomes", text, ({}, health.unknown))
    ages = [({"anchor": each.name}, _seconds(each.age)) for each in health.anchors if each.age is not None]
    yield gauge("gatehouse_anchor_age_seconds", "Since a checkpoint was kept there.", *ages)
    failures = [({"anchor": each.name}, each.failures) for each in health.anchors]
    yield gauge("gatehouse_anchor_failures", "Failures in a row to keep a checkpoint there.", *failures)
    ahead = [({"anchor": each.name}, int(each.ahead > 0)) for each in health.anchors]
    yield gauge("gatehouse_anchor_ahead", "1: it keeps more than this database has, which is older.", *ahead)
    text = "Events that cannot be found by their words yet."
    yield gauge("gatehouse_search_behind_events", text, ({}, health.unsearchable))
    yield from _of_sinks(health.sinks)
    size = health.database
    yield gauge("gatehouse_database_size_bytes", "Of the whole database.", ({}, size.bytes))
    if size.limit:
        yield gauge("gatehouse_database_limit_bytes", "That DATABASE_LIMIT_GIB allows.", ({}, size.limit))
    yield gauge("gatehouse_disk_free_bytes", "On the disk of DATA_DIR.", ({}, health.disk_free))


def _of_sinks(sinks: Sequence[Progress]) -> Iterable[Family]:
    """Of a sink that is switched off too: it keeps its place."""
    named = [({"sink": sink.name}, sink) for sink in sinks]
    states = [({**labels, "state": sink.state}, 1) for labels, sink in named]
    yield gauge("gatehouse_sink_state", "1 for the state it is in.", *states)
    behind = [(labels, sink.behind) for labels, sink in named]
    yield gauge("gatehouse_sink_behind_events", "Events that have not arrived there.", *behind)
    lags = [(labels, sink.behind_seconds) for labels, sink in named]
    yield gauge("gatehouse_sink_lag_seconds", "Age of the oldest event that has not arrived there.", *lags)
    sent = [(labels, sink.sent) for labels, sink in named]
    yield gauge("gatehouse_sink_delivered_events", "The log before here has arrived, but for dead letters.", *sent)
    letters = [(labels, sink.dead_letters) for labels, sink in named]
    yield gauge("gatehouse_sink_dead_letters", "Events it did not take, up to ten thousand.", *letters)


def _seconds(age: timedelta) -> float:
    return age.total_seconds()
