"""Objects in a real store with Object Lock."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest
from botocore.exceptions import ClientError

from audit.sinks import SINK_KINDS
from audit.sinks.base import Record, Refused, Sink, Unreachable
from gateway.sink_ways import way_out
from tests.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore, object_store

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
BUCKET = "evidence"
SECRET = f"{ACCESS_KEY}:{SECRET_KEY}"
NAME = "2026/11/21/00000000000000000003-00000000000000000005.jsonl.gz"


def records(first: int = 3, end: int = 6, *, text: str = "") -> list[Record]:
    return [Record(n, UUID(int=n), AT, b'{"n":%d%b}' % (n, text.encode())) for n in range(first, end)]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as found:
        found.locked_bucket(BUCKET)
        yield found


class World:
    """One bucket for all, a prefix for each: a bucket costs the store a set of volumes."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.prefix = f"logs-{uuid4()}"
        self._open: list[Sink] = []

    def sink(self, *, secret: str | None = SECRET, **entered: Any) -> Sink:
        entered = {"bucket": BUCKET, "prefix": self.prefix, "endpoint": self.store.url, **entered}
        SINK_KINDS["s3"].check(entered)
        self._open.append(SINK_KINDS["s3"].build(entered, secret, way_out()))
        return self._open[-1]

    def key(self, name: str = NAME) -> str:
        return f"{self.prefix}/{name}"

    def names(self) -> list[str]:
        listed = self.store.client.list_objects_v2(Bucket=BUCKET, Prefix=self.prefix)
        return [found["Key"] for found in listed.get("Contents", [])]

    def lines(self) -> list[bytes]:
        body = self.store.client.get_object(Bucket=BUCKET, Key=self.key())["Body"].read()
        return gzip.decompress(body).splitlines()

    def close(self) -> None:
        for sink in self._open:
            sink.close()


@pytest.fixture
def world(store: ObjectStore, settings) -> Iterator[World]:  # type: ignore[no-untyped-def]
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)
    found = World(store)
    yield found
    found.close()


def test_a_batch_is_one_object_however_often_it_is_sent(world: World) -> None:
    to = world.sink()
    to.send(records())
    to.send(records())
    assert world.names() == [world.key()]
    assert world.lines() == [record.body for record in records()]


def test_what_was_written_is_never_overwritten(world: World) -> None:
    to = world.sink()
    to.send(records())
    to.send(records(text=',"redacted":true'))
    assert len(world.names()) == 2
    assert world.lines() == [record.body for record in records()]


def test_a_locked_object_stays(world: World) -> None:
    world.sink(lock="compliance", lock_days=2).send(records())
    told = world.store.client.head_object(Bucket=BUCKET, Key=world.key())
    assert told["ObjectLockMode"] == "COMPLIANCE"
    with pytest.raises(ClientError, match="AccessDenied"):
        world.store.client.delete_object(Bucket=BUCKET, Key=world.key(), VersionId=told["VersionId"])


def test_a_checkpoint_has_a_place_of_its_own(world: World) -> None:
    world.sink().send([Record(7, UUID(int=7), AT, b'{"note":""}', is_checkpoint=True)])
    assert world.names() == [world.key("checkpoints/00000000000000000007.jsonl.gz")]


@pytest.mark.parametrize(
    "wrong",
    [{"secret": f"{ACCESS_KEY}:wrong"}, {"secret": "no pair"}],
    ids=["wrong key", "no key"],
)
def test_what_the_store_refuses_is_for_a_human(world: World, wrong: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        world.sink(**wrong).send(records())
    assert SECRET_KEY not in str(caught.value)


def test_nobody_there_and_an_address_that_is_not_allowed(world: World, settings) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Unreachable):
        world.sink(endpoint="http://127.0.0.1:9").send(records())
    settings.UPSTREAM_ALLOWED_NETWORKS = ()
    with pytest.raises(Refused, match="UPSTREAM_ALLOWED_NETWORKS"):
        world.sink().send(records())


@pytest.mark.parametrize(
    ("entered", "field"),
    [({}, "bucket"), ({"bucket": "b", "lock": "forever"}, "lock"), ({"bucket": "b", "lock_days": 0}, "lock_days")],
    ids=["none", "lock", "days"],
)
def test_a_wrong_setting_is_named(entered: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        SINK_KINDS["s3"].check(entered)
