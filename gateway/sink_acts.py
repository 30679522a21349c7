"""What people do to a sink beside configuring it. The process that exports carries it out."""

from datetime import datetime
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit import cursors, wishes
from audit.leaves import first_leaf_since, log_size
from governance.facts import Fact, Recorder
from governance.models import Sink


class NoSuchPlace(ValueError):
    """Neither a leaf of the log nor a moment."""


def test(sink: Sink, *, record: Recorder) -> None:
    record(Fact("sink.tested", f"sink:{sink.name}", {}))
    wishes.ask_for_sample(sink.pk)


def resume(sink: Sink, *, record: Recorder) -> None:
    record(Fact("sink.resumed", f"sink:{sink.name}", {}))
    cursors.resume(sink.pk)


def replay(sink: Sink, *, leaf: int, record: Recorder) -> None:
    """Sends everything from that leaf on once more."""
    record(Fact("sink.replayed", f"sink:{sink.name}", {"leaf": leaf}))
    cursors.begin(sink.pk, at=leaf)
    cursors.rewind(sink.pk, to=leaf)


def retry(sink: Sink, *, record: Recorder) -> None:
    record(Fact("sink.retried", f"sink:{sink.name}", {}))
    wishes.ask_for_retry(sink.pk)


def leaf_of(text: str) -> int:
    """Of a leaf's number or of a moment, in the zone of the screen unless it names one. Raises NoSuchPlace."""
    text = text.strip()
    is_number = text.isascii() and text.isdecimal() and len(text) < 19
    leaf = int(text) if is_number else first_leaf_since(_moment(text))
    if leaf > log_size():
        raise NoSuchPlace(f"The log ends before leaf {log_size()}.")
    return leaf


def _moment(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise NoSuchPlace("Write a leaf's number or a moment, e.g. 2026-11-21 14:00.")
    return found if found.tzinfo else timezone.make_aware(found)


def retention_may_not_pass() -> int | None:
    """The first leaf that some enabled sink has not got yet; None without sinks."""
    enabled: list[UUID] = list(Sink.objects.filter(is_enabled=True).values_list("pk", flat=True))
    return cursors.slowest(enabled)
