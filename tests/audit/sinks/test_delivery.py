"""The export loop over the real sinks, into fakes that fail in each of their ways: every leaf arrives at least once, in
order, and the one that is not taken is a dead letter."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from audit.checkpoint import Signer
from audit.models import DeadLetter, SinkCursor
from audit.record import record
from audit.sinks import otlp, sentinel, splunk
from audit.sinks.base import Sink
from tests.audit.exporting import SINK, run
from tests.audit.sinks.fake_otlp import API_KEY, FakeOtlp
from tests.audit.sinks.fake_sentinel import CLIENT_ID, DCR, SECRET, STREAM, TENANT, FakeSentinel
from tests.audit.sinks.fake_splunk import TOKEN, FakeSplunk
from tests.audit.sinks.records import way_to
from tests.audit.writing import event, seal

pytestmark = pytest.mark.django_db
POISON = 5


@dataclass(frozen=True, slots=True)
class Rig:
    """A sink, its fake, what can go wrong there, and the leaves that are there now."""

    fake: FakeSplunk | FakeSentinel | FakeOtlp
    sink: Sink
    arrived: Callable[[], Sequence[int]]
    faults: tuple[int | str, ...] = field(default=(429, 503, 500, "reset", "slow", "endless", "html"))


def client_to(fake: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return way_to(fake).http()


def splunk_rig() -> Rig:
    fake, now = FakeSplunk(polls_until_indexed=1), itertools.count()
    fake.poll_faults.extend(["unindexed", "busy", "lost ack"])
    settings = splunk.Settings.of({"url": "https://splunk.corp.example", "acknowledge_seconds": 10})
    sink = splunk.Splunk(settings, TOKEN, client_to(fake), sleep=lambda seconds: None, clock=lambda: next(now))

    def arrived() -> list[int]:
        return [int(event["fields"]["leaf_index"]) for event in fake.events if "leaf_index" in event["fields"]]

    return Rig(fake, sink, arrived)


def sentinel_rig() -> Rig:
    fake = FakeSentinel()
    endpoint = "https://gatehouse-abcd.westeurope-1.ingest.monitor.azure.com"
    read = {"endpoint": endpoint, "dcr": DCR, "stream": STREAM, "tenant": TENANT, "client_id": CLIENT_ID}
    sink = sentinel.Sentinel(sentinel.Settings.of(read), SECRET, client_to(fake))
    # Of a 400 that never ends, nothing tells that no record is at fault.
    faults = (429, 503, 500, 401, 413, "reset", "slow", "html")
    return Rig(fake, sink, lambda: [row["LeafIndex"] for row in fake.rows if "LeafIndex" in row], faults)


def otlp_rig() -> Rig:
    fake = FakeOtlp()
    sink = otlp.Otlp(otlp.Settings.of({"url": "https://collector.corp.example"}), API_KEY, client_to(fake))

    def arrived() -> list[int]:
        numbers = [{item.key: item.value.int_value for item in log.attributes} for log in fake.logs]
        return [found["gatehouse.leaf_index"] for found in numbers if "gatehouse.leaf_index" in found]

    # A page instead of a receiver's answer is refused, and waits for a human.
    return Rig(fake, sink, arrived, (429, 503, 500, 413, "reset", "slow", "endless"))


@pytest.mark.parametrize("rig_of", [splunk_rig, sentinel_rig, otlp_rig], ids=["splunk", "sentinel", "otlp"])
def test_every_leaf_arrives_whatever_happens(rig_of: Callable[[], Rig], signer: Signer) -> None:
    for number in range(11):
        record(event(tool="poison" if number == POISON else "ticket_get"))
    size = seal(signer)
    rig = rig_of()
    rig.fake.faults.extend(rig.faults)

    for _ in range(40):
        run(rig.sink)
        assert SinkCursor.objects.get(sink=SINK).refused_version == ""
        SinkCursor.objects.update(retry_at=None)
        if SinkCursor.objects.get(sink=SINK).acked_index == size:
            break

    assert not rig.fake.faults
    assert set(rig.arrived()) == set(range(size)) - {POISON}
    assert list(dict.fromkeys(rig.arrived())) == sorted(set(rig.arrived()))
    assert [letter.index for letter in DeadLetter.objects.all()] == [POISON]
