"""The export loop: every leaf arrives, in order, whatever the destination does."""

from datetime import timedelta
from threading import Event

import orjson
import pytest
from django.utils import timezone

from audit import cursors
from audit.checkpoint import Signer
from audit.cursors import LeaseLost
from audit.event import AuditEvent, leaf_entry
from audit.export import Exporter, backoff_seconds, slowest_cursor
from audit.leaves import first_leaf_since, log_size
from audit.merkle import leaf_hash
from audit.models import DeadLetter, Leaf, SinkCursor
from audit.record import record
from audit.sinks.base import Record, Refused, Throttled, Unreachable
from tests.audit.exporting import SINK, FakeSink, destination, run
from tests.audit.writing import NOON, event, lower_guards, seal

pytestmark = pytest.mark.django_db


@pytest.fixture
def ten(signer: Signer) -> int:
    """Leaves: the sequencer's sign of life, and one for each number."""
    for number in range(9):
        record(event(tool=f"tool_{number}"))
    return seal(signer)


def cursor() -> SinkCursor:
    return SinkCursor.objects.get(sink=SINK)


def retry_now() -> None:
    SinkCursor.objects.update(retry_at=None)


@pytest.mark.database
def test_everything_arrives_in_order_within_the_limits_of_the_sink(ten: int) -> None:
    sink = FakeSink(max_records=4)
    run(sink)
    assert sink.attempts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert (cursor().acked_index, cursor().next_index, cursor().last_error) == (ten, ten, "")
    assert run(sink)
    assert len(sink.attempts) == 3


def test_a_line_proves_itself_by_the_bytes_that_were_hashed(ten: int) -> None:
    sink = FakeSink()
    run(sink)
    line = orjson.loads(sink.records[3].body)
    start = sink.records[3].body.index(b'"header":') + len(b'"header":')
    header = sink.records[3].body[start:-1]
    assert leaf_hash(leaf_entry(line["epoch"], header)).hex() == line["leaf_hash"]
    assert (line["org"], line["leaf_index"], line["event_id"]) == ("Example Corp", 3, orjson.loads(header)["id"])


def test_bytes_bound_a_batch_too(ten: int) -> None:
    sink = FakeSink(max_records=10)
    run(sink)
    sink.max_bytes = len(sink.records[3].body) * 2 + 10
    sink.attempts.clear()
    cursors.rewind(SINK, to=3)
    run(sink)
    assert sink.attempts == [[3, 4], [5, 6], [7, 8], [9]]


@pytest.mark.parametrize("failure", [Throttled("later", retry_after=60), Unreachable("away")], ids=["busy", "away"])
def test_a_destination_in_trouble_is_left_alone_for_a_while_and_gets_the_same_batch_again(
    ten: int, failure: Throttled | Unreachable
) -> None:
    sink = FakeSink(None, failure)
    run(sink)
    assert (sink.taken, cursor().failures, cursor().last_error) == ([0, 1, 2], 1, str(failure))
    assert not run(sink)
    retry_now()
    run(sink)
    assert sink.taken == list(range(ten))
    assert sink.attempts[1] == sink.attempts[2]
    assert (cursor().failures, cursor().last_error) == (0, "")


def test_what_a_destination_asks_for_is_waited_for(ten: int) -> None:
    before = timezone.now()
    run(FakeSink(Throttled("later", retry_after=60)))
    retry_at = cursor().retry_at
    assert retry_at is not None
    assert retry_at >= before + timedelta(seconds=60)


def test_who_refuses_us_is_not_asked_again_until_the_sink_changed_or_somebody_resumed(ten: int) -> None:
    sink = FakeSink(Refused("wrong token"), Refused("still wrong"))
    run(sink)
    assert not run(sink)
    assert run(sink, destination(version="2"))
    assert not run(sink, destination(version="2"))
    cursors.resume(SINK)
    run(sink, destination(version="2"))
    assert sink.taken == list(range(ten))


@pytest.mark.parametrize("names_position", [False, True], ids=["bisected", "named"])
def test_poison_is_narrowed_down_to_the_record_and_the_rest_arrives_in_order(ten: int, names_position: bool) -> None:
    sink = FakeSink(max_records=10, poison=b"tool_5")
    sink.names_position = names_position
    run(sink)
    assert sink.taken == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    letter = DeadLetter.objects.get()
    assert (letter.index, letter.error, letter.attempts) == (5, "no such field", 1)
    assert cursor().acked_index == ten


def test_a_destination_that_takes_nothing_at_all_does_not_bury_the_log(signer: Signer) -> None:
    for _ in range(30):
        record(event())
    seal(signer)
    sink = FakeSink(max_records=40, poison=b"kind")
    run(sink)
    assert DeadLetter.objects.count() == 10
    assert cursor().acked_index == 10
    assert "takes no record" in cursor().last_error
    assert not run(sink)


def test_a_record_that_is_too_long_goes_without_its_details(signer: Signer) -> None:
    long = {"text": "x" * 20_000}
    record(AuditEvent(kind="call.refused", at=NOON, actor="agent:x", details=long))
    seal(signer)
    sink = FakeSink()
    run(sink)
    assert sink.taken == [0, 1]
    assert "details" not in sink.headers[0]
    assert orjson.loads(sink.records[0].body)["redacted"] is True


def test_one_that_is_too_long_even_so_is_a_dead_letter(ten: int) -> None:
    sink = FakeSink()
    sink.max_bytes = 10
    run(sink)
    assert sink.attempts == []
    assert "10 bytes" in DeadLetter.objects.order_by("id")[0].error


class Crash(BaseException):
    """The process dies."""


def test_a_crash_after_the_sending_repeats_exactly_that_batch(ten: int) -> None:
    class Dying(FakeSink):
        def send(self, records: list[Record]) -> None:  # type: ignore[override]
            super().send(records)
            if len(self.attempts) == 2:
                raise Crash

    sink = Dying()
    with pytest.raises(Crash):
        run(sink)
    assert not run(sink)  # its lease holds for a while
    SinkCursor.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    sink.max_records = 6
    run(sink)
    assert sink.attempts == [[0, 1, 2], [3, 4, 5], [3, 4, 5], [6, 7, 8, 9]]


def test_whoever_lost_the_lease_moves_nothing(ten: int) -> None:
    class Slow(FakeSink):
        def send(self, records: list[Record]) -> None:  # type: ignore[override]
            SinkCursor.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
            assert cursors.take(SINK, version="1", now=timezone.now())

    with pytest.raises(LeaseLost):
        run(Slow())
    assert cursor().acked_index == 0


def test_a_replay_sends_again_and_stops_who_is_sending(ten: int) -> None:
    sink = FakeSink()
    run(sink)
    cursors.begin(SINK, at=0)
    lease = cursors.take(SINK, version="1", now=timezone.now())
    assert lease is not None
    cursors.rewind(SINK, to=7)
    with pytest.raises(LeaseLost):
        lease.acknowledge(10)
    run(sink)
    assert sink.taken[-3:] == [7, 8, 9]


def test_a_replay_from_a_moment_begins_at_its_first_event(ten: int) -> None:
    third = Leaf.objects.get(index=3).event_id
    moment = timezone.datetime.fromtimestamp((third.int >> 80) / 1000, tz=timezone.get_current_timezone())
    assert 0 <= first_leaf_since(moment) <= 3
    assert first_leaf_since(timezone.now() + timedelta(days=1)) == log_size()
    assert first_leaf_since(NOON - timedelta(days=9999)) == 0


def test_a_hole_in_the_log_is_told_and_not_jumped_over(ten: int) -> None:
    lower_guards("audit_leaf")
    Leaf.objects.filter(index=4).delete()
    sink = FakeSink()
    run(sink)
    assert sink.taken == [0, 1, 2, 3]
    assert cursor().last_error == "Leaf 4 is missing from the log: run verify_audit."


def test_the_newest_checkpoint_follows_its_leaves_once_an_hour(ten: int, signer: Signer) -> None:
    sink = FakeSink()
    run(sink)
    told = orjson.loads(sink.checkpoints[0].body)
    assert (told["size"], signer.verifier.open(told["note"]).size) == (ten, ten)
    record(event())
    seal(signer, now=NOON + timedelta(minutes=1))
    run(sink)
    assert len(sink.checkpoints) == 1
    SinkCursor.objects.update(checkpoint_at=timezone.now() - timedelta(hours=1))
    run(sink)
    assert [checkpoint.index for checkpoint in sink.checkpoints] == [ten, ten + 1]


def test_a_sink_that_gathers_waits_for_a_full_batch_or_for_the_oldest_to_be_old(signer: Signer) -> None:
    record(AuditEvent(kind="call.refused", at=timezone.now(), actor="agent:x"))
    seal(signer, now=timezone.now())
    sink = FakeSink()
    run(sink, destination(linger_seconds=3600))
    assert sink.attempts == []
    record(AuditEvent(kind="call.refused", at=timezone.now(), actor="agent:x"))
    seal(signer, now=timezone.now() + timedelta(seconds=1))
    run(sink, destination(linger_seconds=3600))
    assert sink.attempts == [[0, 1, 2]]
    assert (cursor().failures, cursor().last_error) == (0, ""), "what is not there yet is not missing"


def test_people_are_hashed_the_same_way_wherever_they_stand(signer: Signer) -> None:
    ana = "Ana@example.com"
    details = {"note": "for ana@example.com.", "to": [ana], ana: 1}
    for _ in range(2):
        record(AuditEvent(kind="role.given", at=NOON, actor=f"person:{ana}", person=ana, details=details))
    seal(signer)
    sink = FakeSink()
    run(sink, destination(profile="hashed_people"))
    assert b"example.com" not in b"".join(record.body for record in sink.records[:2]).lower()
    first, second = sink.headers[:2]
    assert first["person"] == second["person"] == str(first["actor"]).removeprefix("person:")
    assert first["details"]["to"] == [first["person"]]  # type: ignore[index]


def test_metadata_alone_has_no_details(ten: int) -> None:
    sink = FakeSink()
    run(sink, destination(profile="metadata"))
    assert not any("details" in header for header in sink.headers)


def test_lag_and_the_slowest_sink_are_known(ten: int) -> None:
    cursors.begin(SINK, at=0)
    behind = cursors.lag(cursor(), now=NOON + timedelta(seconds=90))
    assert (behind.records, behind.seconds) == (ten, 90)
    run(FakeSink())
    assert cursors.lag(cursor(), now=timezone.now()).records == 0
    assert (slowest_cursor([SINK]), slowest_cursor([])) == (ten, None)


def test_waiting_grows_to_five_minutes_and_never_in_step() -> None:
    assert all(0.5 <= backoff_seconds(0) <= 1 for _ in range(50))
    assert len({backoff_seconds(30) for _ in range(20)}) > 1
    assert max(backoff_seconds(10_000) for _ in range(50)) <= 300


def test_a_stopping_process_ends_between_two_batches(ten: int) -> None:
    cursors.begin(SINK, at=0)
    lease = cursors.take(SINK, version="1", now=timezone.now())
    assert lease is not None
    stop = Event()
    stop.set()
    sink = FakeSink()
    Exporter(destination(), sink).run(lease, stop)
    assert sink.attempts == []
    assert run(sink)  # and lets go of the sink
