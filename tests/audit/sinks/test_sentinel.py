from dataclasses import replace

import pytest

from audit.sinks import SINK_KINDS, sentinel
from audit.sinks.base import Poisoned, Refused, SinkFailure, Throttled, Unreachable
from tests.audit.sinks.fake_sentinel import CLIENT_ID, COLUMNS, DCR, SECRET, STREAM, TENANT, FakeSentinel
from tests.audit.sinks.records import checkpoint, record, records, way_to

SETTINGS = {
    "endpoint": "https://gatehouse-abcd.westeurope-1.ingest.monitor.azure.com",
    "dcr": DCR,
    "stream": STREAM,
    "tenant": TENANT,
    "client_id": CLIENT_ID,
}


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def sink_for(
    fake: FakeSentinel, *, secret: str = SECRET, clock: Clock | None = None, **settings: object
) -> sentinel.Sentinel:
    read = sentinel.Settings.of({**SETTINGS, **settings})
    return sentinel.Sentinel(read, secret, way_to(fake).http(), clock=clock or Clock())


def test_an_event_becomes_a_row_with_columns_for_what_is_searched_most():
    fake = FakeSentinel()

    sink_for(fake).send([record(42)])

    (row,) = fake.rows
    assert row["Event"]["leaf_index"] == row["LeafIndex"] == 42
    assert row["TimeGenerated"] == "2026-11-22T01:02:45.456789Z"
    assert {name: row[name] for name in ("Org", "Kind", "Agent", "Person", "Tool", "Decision")} == {
        "Org": "acme",
        "Kind": "call.intent",
        "Agent": "release-bot",
        "Person": "ann@corp.example",
        "Tool": "github__merge_pr",
        "Decision": "permit",
    }


def test_every_column_is_one_that_the_stream_declares():
    fake = FakeSentinel()

    sink_for(fake).send([record(0, note="x" * 70_000), record(1), checkpoint(2)])

    assert {name for row in fake.rows for name in row} == set(COLUMNS)


def test_a_checkpoint_is_not_counted_as_a_leaf():
    fake = FakeSentinel()

    sink_for(fake).send([checkpoint(3)])

    assert fake.rows[0]["LogSize"] == 3
    assert "LeafIndex" not in fake.rows[0]


def test_a_line_that_is_no_json_arrives_as_text():
    fake = FakeSentinel()

    sink_for(fake).send([replace(record(1), body=b"CEF:0|x")])

    assert fake.rows[0]["Event"] == "CEF:0|x"


def test_what_the_service_would_cut_silently_is_left_out_and_the_row_says_so():
    fake = FakeSentinel()
    long = record(0, note="x" * 70_000)

    sink_for(fake).send([long, record(1)])

    cut, whole = fake.rows
    assert cut["Event"]["cut"] == ["header.details"]
    assert cut["CutFromBytes"] == len(long.body)
    assert cut["Tool"] == "github__merge_pr"
    assert "CutFromBytes" not in whole


@pytest.mark.parametrize("compress", [True, False])
def test_a_batch_is_split_into_requests_of_less_than_a_megabyte(compress: bool):
    fake = FakeSentinel()

    sink_for(fake, compress=compress).send([record(index, note="x" * 60_000) for index in range(40)])

    assert [row["LeafIndex"] for row in fake.rows] == list(range(40))
    assert len(fake.calls) > 1


def test_one_token_serves_until_shortly_before_it_ends():
    fake, clock = FakeSentinel(), Clock()
    sink = sink_for(fake, clock=clock)

    sink.send(records(1))
    clock.now += 3_200
    sink.send(records(1))
    assert fake.signed_in == 1

    clock.now += 150
    sink.send(records(1))
    assert fake.signed_in == 2


def test_a_token_that_was_taken_back_is_asked_for_anew_once():
    fake = FakeSentinel()
    sink = sink_for(fake)
    sink.send(records(1))
    fake.live.clear()

    sink.send(records(1, first=1))

    assert fake.signed_in == 2
    assert [row["LeafIndex"] for row in fake.rows] == [0, 1]


def test_a_token_that_is_never_accepted_pauses_after_two():
    fake = FakeSentinel()
    fake.faults.extend([401, 401])

    with pytest.raises(Refused, match="401"):
        sink_for(fake).send(records(1))

    assert len(fake.calls) == 2


@pytest.mark.parametrize(
    ("fault", "failure", "words", "retry_after"),
    [
        (429, Throttled, "429: TooManyRequests", 31.0),
        (500, Unreachable, "500", None),
        (503, Throttled, "503", None),
        (413, Poisoned, "413", None),
        (404, Refused, "no such data collection rule", None),
        (403, Refused, "Monitoring Metrics Publisher", None),
        ("wrong stream", Refused, "InvalidStream", None),
        ("reset", Unreachable, "ReadError", None),
        ("slow", Unreachable, "in time", None),
        ("endless", Poisoned, "400", None),
        ("html", Unreachable, "answers 204", None),
    ],
)
def test_a_fault_is_told_as_what_it_is_and_the_batch_arrives_afterwards(
    fault: int | str, failure: type[SinkFailure], words: str, retry_after: float | None
):
    fake = FakeSentinel()
    fake.faults.append(fault)
    sink = sink_for(fake)

    with pytest.raises(failure, match=words) as failed:
        sink.send(records(3))
    sink.send(records(3))

    assert getattr(failed.value, "retry_after", None) == retry_after
    assert [row["LeafIndex"] for row in fake.rows] == [0, 1, 2]


@pytest.mark.parametrize(
    ("fault", "failure"),
    [(429, Throttled), (503, Throttled), (400, Refused), ("reset", Unreachable), ("html", Unreachable)],
)
def test_a_sign_in_that_fails_is_never_the_fault_of_a_record(fault: int | str, failure: type[SinkFailure]):
    fake = FakeSentinel()
    fake.sign_in_faults.append(fault)

    with pytest.raises(failure):
        sink_for(fake).send(records(1))


def test_a_wrong_secret_pauses_and_is_not_shown():
    with pytest.raises(Refused) as failed:
        sink_for(FakeSentinel(), secret="wrong~secret").send(records(1))

    assert "wrong~secret" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_a_missing_role_says_what_to_do():
    with pytest.raises(Refused, match="Monitoring Metrics Publisher"):
        sink_for(FakeSentinel(role=False)).send(records(1))


def test_a_poisoned_row_is_told_without_its_content():
    with pytest.raises(Poisoned, match=r"400: InvalidPayload\.$"):
        sink_for(FakeSentinel()).send([record(0, note="poison")])


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"endpoint": "http://x"}, "endpoint"),
        ({"dcr": "/subscriptions/x"}, "dcr"),
        ({"stream": "Custom-a/../b"}, "stream"),
        ({"tenant": "../common"}, "tenant"),
        ({"client_id": "me"}, "client_id"),
        ({"cloud": "mars"}, "cloud"),
        ({"secret": "x"}, "secret"),
    ],
    ids=lambda value: value if isinstance(value, str) else "with",
)
def test_wrong_settings_name_the_field(settings: dict[str, object], field: str):
    with pytest.raises(ValueError, match=f"^{field}: "):
        SINK_KINDS["sentinel"].check({**SETTINGS, **settings})
