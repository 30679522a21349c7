"""What people do to a sink beside configuring it. What must be sent, the process that exports sends."""

from datetime import datetime
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit import cursors, wishes
from audit.leaves import first_leaf_since, log_size
from audit.models import DeadLetter
from gateway.sink_progress import MOST_COUNTED, waiting_letters
from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.models import Sink

SHOWN_LEAVES = 100


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


def give_up(sink: Sink, *, record: Recorder) -> int:
    """Lets go of what it does not take; which leaves these were stands in the evidence. How many."""
    letters = DeadLetter.objects.filter(sink=sink.pk)
    count = letters.count()
    if count:
        leaves = list(letters.order_by("index").values_list("index", flat=True)[:SHOWN_LEAVES])
        told = {"count": count, "leaves": leaves, "last": letters.latest("index").index}
        record(Fact("sink.gave_up", f"sink:{sink.name}", told))
        letters.delete()
    return count


def stays_because(sink: Sink) -> str:
    """What to do before it can go, in a sentence; empty when it can."""
    waiting = waiting_letters(sink)
    if not waiting:
        return ""
    shown = f"{waiting:,} leaves" if waiting < MOST_COUNTED else f"{MOST_COUNTED:,} leaves or more"
    return (
        f"{'One leaf' if waiting == 1 else shown} it did not take wait as dead letters. Retry them, or give them up; "
        "which they were stays in the evidence. Switching the sink off keeps everything."
    )


def delete(sink: Sink) -> None:
    """With its place in the log. Raises RuleBroken while dead letters wait."""
    if reason := stays_because(sink):
        raise RuleBroken("", reason)
    cursors.end(sink.pk)
    sink.delete()


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
