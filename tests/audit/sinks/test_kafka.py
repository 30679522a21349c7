"""Kafka, against librdkafka's own cluster: brokers on loopback inside this process."""

from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from uuid import UUID

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from audit.sinks import SINK_KINDS
from audit.sinks.base import Poisoned, Record, Refused, Sink, Unreachable
from gateway.sink_ways import way_out

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def records(first: int, end: int) -> list[Record]:
    return [Record(n, UUID(int=n), AT, b'{"n":%d}' % n, org="Example Corp") for n in range(first, end)]


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 2, "log_level": 0})
    found = cluster.list_topics(timeout=30).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    del cluster


@pytest.fixture
def sink(brokers: str, settings) -> Iterator[Sink]:  # type: ignore[no-untyped-def]
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)
    made = SINK_KINDS["kafka"].build({"brokers": brokers, "topic": "audit", "security": "plaintext"}, None, way_out())
    yield made
    made.close()


def read(brokers: str, count: int) -> list[tuple[bytes, bytes, dict[str, bytes]]]:
    """Of the one partition that a key leads to."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "reader", "log_level": 0})
    try:
        partitions = consumer.list_topics("audit", timeout=30).topics["audit"].partitions
        consumer.assign([TopicPartition("audit", number, OFFSET_BEGINNING) for number in partitions])
        found = consumer.consume(count, timeout=30)
        return [(message.key(), message.value(), dict(message.headers())) for message in found]
    finally:
        consumer.close()


def test_every_record_is_acknowledged_in_order_under_one_key(brokers: str, sink: Sink) -> None:
    sink.send(records(0, 300))
    sink.send(records(300, 500))
    told = read(brokers, 500)
    assert [value for _, value, _ in told] == [record.body for record in records(0, 500)]
    assert {key for key, _, _ in told} == {b"Example Corp"}
    assert told[7][2] == {"event_id": str(UUID(int=7)).encode(), "leaf_index": b"7", "schema": b"gatehouse.audit.v1"}


def test_one_that_is_too_large_is_named(brokers: str, settings) -> None:  # type: ignore[no-untyped-def]
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)
    sink = SINK_KINDS["kafka"].build({"brokers": brokers, "topic": "other", "security": "plaintext"}, None, way_out())
    large = Record(1, UUID(int=1), AT, b"x" * 2_000_000)
    with pytest.raises(Poisoned) as caught:
        sink.send([*records(0, 1), large, *records(2, 3)])
    assert caught.value.position == 1
    sink.close()


def test_nobody_there(settings) -> None:  # type: ignore[no-untyped-def]
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)
    entered = {"brokers": "127.0.0.1:9", "topic": "audit", "security": "plaintext"}
    sink = SINK_KINDS["kafka"].build(entered, None, way_out())
    with pytest.raises(Unreachable):
        sink.send(records(0, 1))


def test_a_broker_at_an_address_of_ours_is_not_connected_to(brokers: str, settings) -> None:  # type: ignore[no-untyped-def]
    settings.UPSTREAM_ALLOWED_NETWORKS = ()
    sink = SINK_KINDS["kafka"].build({"brokers": brokers, "topic": "audit", "security": "plaintext"}, None, way_out())
    with pytest.raises(Refused):
        sink.send(records(0, 1))


@pytest.mark.parametrize(
    ("entered", "field"),
    [
        ({"topic": "t"}, "brokers"),
        ({"brokers": "kafka", "topic": "t"}, "brokers"),
        ({"brokers": "kafka:9092"}, "topic"),
        ({"brokers": "kafka:9092", "topic": "t", "sasl": "GSSAPI"}, "sasl"),
    ],
    ids=["none", "port", "topic", "sasl"],
)
def test_a_wrong_setting_is_named(entered: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        SINK_KINDS["kafka"].check(entered)
