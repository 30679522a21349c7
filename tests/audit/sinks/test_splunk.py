import httpx
import pytest

from audit.sinks import SINK_KINDS, splunk
from audit.sinks.base import Poisoned, Record, Refused, SinkFailure, Throttled, Unreachable
from tests.audit.sinks.fake_splunk import TOKEN, FakeSplunk
from tests.audit.sinks.records import BEGAN, answer, checkpoint, record, records, way_to

URL = "https://splunk.corp.example:8088"


class Time:
    """Passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def sink_for(fake: FakeSplunk, *, token: str = TOKEN, **settings: object) -> splunk.Splunk:
    time = Time()
    read = splunk.Settings.of({"url": URL, "index": "ai_audit", **settings})
    return splunk.Splunk(read, token, way_to(fake).http(), sleep=time.wait, clock=time)


def indexes_of(fake: FakeSplunk) -> list[int]:
    return [int(event["fields"]["leaf_index"]) for event in fake.events]


def test_an_event_arrives_whole_with_its_place_in_the_log_as_an_indexed_field():
    fake = FakeSplunk()

    sink_for(fake).send([record(42)])

    (event,) = fake.events
    assert event["event"]["header"]["tool"] == "github__merge_pr"
    assert event["event"]["leaf_index"] == 42
    assert event["fields"] == {"org": "acme", "event_id": "00000000-0000-0000-0000-00000000002b", "leaf_index": "42"}
    assert (event["time"], event["index"], event["sourcetype"]) == (1795309365.457, "ai_audit", "gatehouse:audit")


def test_a_line_that_is_no_json_arrives_as_text():
    fake = FakeSplunk()

    sink_for(fake).send([Record(0, record(0).event_id, BEGAN, 'CEF:0|Gatehouse|x|act=deny "é"'.encode())])

    assert fake.events[0]["event"] == 'CEF:0|Gatehouse|x|act=deny "é"'


def test_a_checkpoint_is_not_counted_as_a_leaf():
    fake = FakeSplunk()

    sink_for(fake).send([checkpoint(3)])

    assert "leaf_index" not in fake.events[0]["fields"]
    assert fake.events[0]["fields"]["log_size"] == "3"


@pytest.mark.parametrize("acknowledges", [True, False])
@pytest.mark.parametrize("compress", [True, False])
def test_a_batch_is_split_into_requests_that_the_collector_takes_and_stays_in_order(acknowledges: bool, compress: bool):
    fake = FakeSplunk(acknowledges=acknowledges)

    sink_for(fake, acknowledge=acknowledges, compress=compress).send(records(1_200))

    assert indexes_of(fake) == list(range(1_200))
    posted = [request for request in fake.requests if request.url.path.endswith("/event")]
    assert len(posted) == 2
    assert len({request.headers.get("X-Splunk-Request-Channel") for request in posted}) == 1


def test_requests_are_bounded_by_their_bytes_before_compression():
    fake = FakeSplunk()

    sink_for(fake).send([record(index, note="x" * 300_000) for index in range(7)])

    assert indexes_of(fake) == list(range(7))


def test_it_is_done_only_when_the_indexers_have_confirmed_every_request():
    fake = FakeSplunk(polls_until_indexed=3)

    sink_for(fake).send(records(1_000))

    assert sum(request.url.path.endswith("/ack") for request in fake.requests) == 4


@pytest.mark.parametrize("fault", ["lost ack", "unindexed", "busy"])
def test_a_poll_that_goes_wrong_is_asked_again_or_everything_is_sent_again(fault: str):
    fake = FakeSplunk()
    fake.poll_faults.append(fault)
    sink = sink_for(fake)

    if fault == "unindexed":
        sink.send(records(2))
    else:
        # It told once and has forgotten: nobody can know.
        with pytest.raises(Unreachable, match="did not confirm 1 of 1 requests within 120 seconds"):
            sink.send(records(2))
        sink.send(records(2))

    assert set(indexes_of(fake)) == {0, 1}


def test_what_is_never_indexed_fails_in_the_end():
    with pytest.raises(Unreachable, match="will be sent again"):
        sink_for(FakeSplunk(polls_until_indexed=10_000), acknowledge_seconds=300).send(records(1))


@pytest.mark.parametrize(
    ("fault", "failure", "words"),
    [
        (429, Throttled, "code 24"),
        (503, Throttled, "code 9"),
        (500, Throttled, "code 8"),
        ("reset", Unreachable, "ReadError"),
        ("slow", Unreachable, "in time"),
        ("endless", Throttled, "503"),
        ("html", Unreachable, "not as Splunk does"),
    ],
)
def test_a_fault_is_told_as_what_it_is_and_the_batch_arrives_afterwards(
    fault: int | str, failure: type[SinkFailure], words: str
):
    fake = FakeSplunk()
    fake.faults.append(fault)
    sink = sink_for(fake)

    with pytest.raises(failure, match=words) as failed:
        sink.send(records(3))
    sink.send(records(3))

    assert getattr(failed.value, "retry_after", None) == (7.0 if fault == 429 else None)
    assert indexes_of(fake) == [0, 1, 2]


@pytest.mark.parametrize(
    ("token", "words"),
    [("11111111-wrong", "does not know the token"), ("", "no token"), ("two\r\nlines", "no token")],
    ids=["wrong", "none", "two lines"],
)
def test_a_wrong_token_pauses_and_is_not_shown(token: str, words: str):
    with pytest.raises(Refused, match=words) as failed:
        sink_for(FakeSplunk(), token=token).send(records(1))

    assert not token or token not in str(failed.value)
    assert failed.value.__cause__ is None


def test_a_disabled_token_pauses():
    fake = FakeSplunk()
    fake.enabled = False

    with pytest.raises(Refused, match="the token is disabled"):
        sink_for(fake).send(records(1))


def test_an_index_that_the_token_may_not_write_pauses():
    with pytest.raises(Refused, match="may not write into this index"):
        sink_for(FakeSplunk(), index="other").send(records(1))


def test_a_token_that_confirms_nothing_is_told_apart_from_one_that_does():
    with pytest.raises(Refused, match="clear `acknowledge`"):
        sink_for(FakeSplunk(acknowledges=False)).send(records(1))
    with pytest.raises(Refused, match="set `acknowledge`"):
        sink_for(FakeSplunk(acknowledges=True), acknowledge=False).send(records(1))


def test_a_poisoned_event_is_never_taken_for_one_that_arrived():
    fake = FakeSplunk()

    with pytest.raises(Poisoned, match="code 6") as failed:
        sink_for(fake).send([record(0), record(1, note="poison"), record(2)])

    assert failed.value.position is None
    with pytest.raises(Poisoned):
        sink_for(fake).send([record(1, note="poison")])


def test_an_event_too_large_for_any_request_is_named_and_those_before_it_are_confirmed():
    fake = FakeSplunk(polls_until_indexed=2)

    with pytest.raises(Poisoned, match="may have 1,000,000") as failed:
        sink_for(fake).send([record(0), record(1), record(2, note="x" * 1_000_000), record(3)])

    assert failed.value.position == 2
    assert indexes_of(fake) == [0, 1]


def test_a_redirect_is_not_followed():
    def elsewhere(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "splunk.corp.example"
        return answer(307, Location="https://evil.example/")

    with pytest.raises(Refused, match="307"):
        SINK_KINDS["splunk"].build({"url": URL}, TOKEN, way_to(elsewhere)).send(records(1))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "url"),
        ({"url": "splunk:8088"}, "url"),
        ({"url": "https://user:pass@splunk"}, "url"),
        ({"url": "https://splunk?x=1"}, "url"),
        ({"url": "https://[::1"}, "url"),
        ({"url": URL, "index": "No Such"}, "index"),
        ({"url": URL, "acknowledge": "yes"}, "acknowledge"),
        ({"url": URL, "acknowledge_seconds": 5}, "acknowledge_seconds"),
        ({"url": URL, "host": 7}, "host"),
        ({"url": URL, "token": "x"}, "token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "with",
)
def test_wrong_settings_name_the_field(settings: dict[str, object], field: str):
    with pytest.raises(ValueError, match=f"^{field}: "):
        SINK_KINDS["splunk"].check(settings)
