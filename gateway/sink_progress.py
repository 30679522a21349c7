"""How far each sink is, as screens, API, metrics and notices tell it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from audit import cursors
from audit.leaves import log_size
from audit.models import DeadLetter, SinkCursor
from gateway.hostile_text import visible
from governance.models import Sink

OFF, NOT_BEGUN, REFUSED, WAITS, BEHIND, SENDS = "off", "not begun", "refused", "waits", "behind", "sends"
STATES: Final = (OFF, NOT_BEGUN, REFUSED, WAITS, BEHIND, SENDS)
BEHIND_AFTER: Final = timedelta(minutes=15)
MOST_COUNTED: Final = 10_000
"""Of dead letters: more are as good as this many."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`sent` leaves have arrived or are dead letters; `behind_seconds` is the age of the oldest that has not."""

    name: str
    state: str
    size: int
    sent: int
    behind_seconds: float
    dead_letters: int
    place: SinkCursor | None

    @property
    def behind(self) -> int:
        return max(0, self.size - self.sent)

    def troubles(self) -> Iterator[tuple[str, str]]:
        """(what stays the same while it lasts, a sentence)."""
        sink = visible(self.name)
        if self.state == REFUSED:
            until = "and sends nothing until somebody mends or resumes it"
            yield f"sink-refused:{self.name}", f"The sink {sink} was refused {until}: {self.last_error}"
        elif self.state == BEHIND:
            minutes = f"{self.behind_seconds / 60:,.0f} minutes"
            why = f": {self.last_error}" if self.last_error else "."
            yield f"sink-behind:{self.name}", f"The sink {sink} is {minutes} behind, by {self.behind:,} events{why}"
        if self.dead_letters:
            letters = f"{self.dead_letters:,} {'event' if self.dead_letters == 1 else 'events'}"
            yield f"sink-letters:{self.name}", f"The sink {sink} did not take {letters}: see its dead letters."

    @property
    def arrived_at(self) -> datetime | None:
        return self.place.acked_at if self.place else None

    @property
    def last_error(self) -> str:
        return visible(self.place.last_error) if self.place else ""

    @property
    def sample(self) -> str:
        """What came of the last one that somebody asked for."""
        if self.place is None:
            return ""
        return "under way" if self.place.sample_asked_at else visible(self.place.sample_said)


def progress_of(sinks: Iterable[Sink], *, now: datetime) -> Mapping[UUID, Progress]:
    found = list(sinks)
    if not found:
        return {}
    places = SinkCursor.objects.in_bulk([sink.pk for sink in found])
    size = log_size()
    return {sink.pk: _progress(sink, places.get(sink.pk), size, now) for sink in found}


def _progress(sink: Sink, place: SinkCursor | None, size: int, now: datetime) -> Progress:
    seconds = cursors.lag(place, now=now).seconds if place else 0.0
    return Progress(
        name=sink.name,
        state=_state(sink, place, seconds),
        size=size,
        sent=place.acked_index if place else 0,
        behind_seconds=seconds,
        dead_letters=waiting_letters(sink),
        place=place,
    )


def _state(sink: Sink, place: SinkCursor | None, seconds: float) -> str:
    if not sink.is_enabled:
        return OFF
    if place is None:
        return NOT_BEGUN
    if place.refused_version:
        return REFUSED
    if seconds > BEHIND_AFTER.total_seconds():
        return BEHIND
    return WAITS if place.failures else SENDS


def waiting_letters(sink: Sink) -> int:
    """Leaves that it does not take, up to a bound."""
    return DeadLetter.objects.filter(sink=sink.pk)[:MOST_COUNTED].count()
