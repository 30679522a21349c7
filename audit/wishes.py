"""What somebody asks of a sink, and who does it: the process that sends, never the one that was asked."""

from uuid import UUID

from django.utils import timezone

from audit import cursors
from audit.cursors import SHOWN_OF_ERRORS
from audit.export import Writer
from audit.leaves import entries, log_size, newest_checkpoint
from audit.models import DeadLetter, SinkCursor
from audit.sinks.base import Poisoned, Sink, SinkFailure

ARRIVED = "It arrived."


def ask_for_sample(sink: UUID) -> None:
    cursors.begin(sink, at=0)
    SinkCursor.objects.filter(sink=sink).update(sample_asked_at=timezone.now(), sample_said="", sample_said_at=None)


def ask_for_retry(sink: UUID) -> None:
    SinkCursor.objects.filter(sink=sink).update(retry_asked_at=timezone.now())


def take_sample(sink: UUID) -> bool:
    """Whether one is asked for and nobody else sends it."""
    return bool(SinkCursor.objects.filter(sink=sink, sample_asked_at__isnull=False).update(sample_asked_at=None))


def take_retry(sink: UUID) -> bool:
    return bool(SinkCursor.objects.filter(sink=sink, retry_asked_at__isnull=False).update(retry_asked_at=None))


def tell_sample(sink: UUID, said: str) -> None:
    told = {"sample_said": said[:SHOWN_OF_ERRORS], "sample_said_at": timezone.now()}
    SinkCursor.objects.filter(sink=sink).update(**told)


def send_sample(to: Sink, writer: Writer) -> str:
    """The newest checkpoint: it discloses nothing, and may arrive any number of times. What came of it."""
    signed = newest_checkpoint(up_to=log_size())
    if signed is None:
        return "Nothing is signed yet: wait a second and try again."
    try:
        to.send([writer.checkpoint(signed)])
    except SinkFailure as failure:
        return str(failure)
    return ARRIVED


def retry_dead_letters(sink: UUID, to: Sink, writer: Writer) -> int:
    """Each by itself, written anew; how many arrived. Raises SinkFailure when it is not for the record."""
    arrived = 0
    for letter in DeadLetter.objects.filter(sink=sink).order_by("index").iterator(chunk_size=500):
        (entry,) = entries(letter.index, letter.index + 1)
        record = writer.record(entry, at_most=to.max_bytes)
        if len(record.body) > to.max_bytes:
            cursors.bury(sink, letter.index, letter.event_id, letter.error)
            continue
        try:
            to.send([record])
        except Poisoned as poison:
            cursors.bury(sink, letter.index, letter.event_id, str(poison))
        else:
            letter.delete()
            arrived += 1
    return arrived
