import httpx
import orjson
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from audit.sinks import SINK_KINDS, otlp
from audit.sinks.base import Poisoned, Refused, SinkFailure, Throttled, Unreachable
from tests.audit.sinks.fake_otlp import API_KEY, FakeOtlp
from tests.audit.sinks.records import answer, checkpoint, record, records, way_to

URL = "https://collector.corp.example:4318"


def sink_for(fake: FakeOtlp, *, secret: str = API_KEY, **settings: object) -> otlp.Otlp:
    return otlp.Otlp(otlp.Settings.of({"url": URL, **settings}), secret, way_to(fake).http())


def attributes_of(log: object) -> dict[str, object]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in log.attributes}


@pytest.mark.parametrize("compress", [True, False])
def test_an_event_arrives_whole_with_its_place_in_the_log_as_an_attribute(compress: bool):
    fake = FakeOtlp()
    sent = record(42)

    sink_for(fake, compress=compress).send([sent])

    (log,) = fake.logs
    assert log.body.string_value.encode() == sent.body
    assert orjson.loads(log.body.string_value)["header"]["tool"] == "github__merge_pr"
    assert log.time_unix_nano == 1795309365456789000
    assert log.event_name == "gatehouse.event"
    assert attributes_of(log) == {
        "log.record.uid": str(sent.event_id),
        "gatehouse.org": "acme",
        "gatehouse.leaf_index": 42,
    }
    assert fake.resources == [{"service.name": "gatehouse"}]


def test_a_checkpoint_is_not_counted_as_a_leaf():
    fake = FakeOtlp()

    sink_for(fake).send([checkpoint(3)])

    assert fake.logs[0].event_name == "gatehouse.checkpoint"
    assert "gatehouse.leaf_index" not in attributes_of(fake.logs[0])


@pytest.mark.parametrize(
    ("fault", "failure", "words", "retry_after"),
    [
        (429, Throttled, "429", 12.0),
        (503, Throttled, "503", 12.0),
        (502, Unreachable, "502", None),
        (504, Unreachable, "504", None),
        (400, Poisoned, "400", None),
        (413, Poisoned, "413", None),
        (403, Refused, "403", None),
        (404, Refused, "404", None),
        ("reset", Unreachable, "ReadError", None),
        ("slow", Unreachable, "in time", None),
        ("endless", Throttled, "503", None),
        ("html", Refused, "not as an OTLP receiver", None),
        ("json", Refused, "not as an OTLP receiver", None),
    ],
)
def test_a_fault_is_told_as_what_it_is_and_the_batch_arrives_afterwards(
    fault: int | str, failure: type[SinkFailure], words: str, retry_after: float | None
):
    fake = FakeOtlp()
    fake.faults.append(fault)
    sink = sink_for(fake)

    with pytest.raises(failure, match=words) as failed:
        sink.send(records(3))
    sink.send(records(3))

    assert getattr(failed.value, "retry_after", None) == retry_after
    assert [attributes_of(log)["gatehouse.leaf_index"] for log in fake.logs] == [0, 1, 2]


def test_a_batch_of_which_a_part_was_rejected_did_not_arrive():
    fake = FakeOtlp()

    with pytest.raises(Poisoned, match=r"^It rejected 1 of the records\.$") as failed:
        sink_for(fake).send([record(0), record(1, note="poison"), record(2)])

    assert failed.value.position is None


def test_a_warning_without_a_number_is_no_rejection():
    told = ExportLogsServiceResponse()
    told.partial_success.error_message = "this endpoint will move"

    sink_for(lambda request: answer(200, told.SerializeToString())).send(records(1))


def test_an_answer_without_a_body_is_an_acknowledgement():
    sink_for(lambda request: answer(204)).send(records(1))


@pytest.mark.parametrize("secret", ["Bearer wrong", "", "two\r\nlines"])
def test_a_wrong_secret_pauses_and_is_not_shown(secret: str):
    with pytest.raises(Refused) as failed:
        sink_for(FakeOtlp(), secret=secret).send(records(1))

    assert not secret or secret not in str(failed.value)


def test_the_secret_travels_in_the_header_that_the_receiver_wants():
    seen = httpx.Headers()

    def receive(request: httpx.Request) -> httpx.Response:
        seen.update(request.headers)
        return answer(200)

    sink_for(receive, header="x-honeycomb-team", secret="key").send(records(1))

    assert seen["x-honeycomb-team"] == "key"
    assert "Authorization" not in seen


@pytest.mark.parametrize(
    ("url", "sent_to"),
    [(URL, "/v1/logs"), (URL + "/", "/v1/logs"), (URL + "/otlp/v1/logs", "/otlp/v1/logs")],
)
def test_the_path_may_be_left_out(url: str, sent_to: str):
    paths = []

    def receive(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return answer(200)

    sink_for(receive, url=url).send(records(1))

    assert paths == [sent_to]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"url": "ftp://collector:4318"}, "url"),
        ({"header": "Content-Length"}, "header"),
        ({"header": "a b"}, "header"),
        ({"service_name": 3}, "service_name"),
        ({"headers": {}}, "headers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "with",
)
def test_wrong_settings_name_the_field(settings: dict[str, object], field: str):
    with pytest.raises(ValueError, match=f"^{field}: "):
        SINK_KINDS["otlp"].check({"url": URL, **settings})
