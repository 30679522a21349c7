"""A Kafka topic: idempotent, acknowledged by all replicas, in order. A batch is done once every record is
acknowledged.

librdkafka connects by itself. The addresses of the brokers that were entered, and of those the cluster names, are
judged before anything is sent; a name server that answers librdkafka differently a moment later is not noticed, so who
controls the names of the brokers must be trusted (TLS checks them).
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from audit.sinks import settings as entered
from audit.sinks.base import Poisoned, Record, Refused, Sink, SinkFailure, Unreachable, WayOut

SCHEMA: Final = b"gatehouse.audit.v1"
SECURITY: Final = ("tls", "plaintext")
MECHANISMS: Final = ("none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
DELIVERY_SECONDS, FLUSH_SECONDS, METADATA_SECONDS = 30, 40.0, 10.0
TOO_LARGE: Final = frozenset((KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD))
OURS_TO_MEND: Final = frozenset(
    (
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.TOPIC_EXCEPTION,
    )
)


def check(settings: Mapping[str, Any]) -> None:
    entered.only(settings, "brokers", "topic", "security", "sasl", "ca")
    brokers_of(settings)
    entered.text(settings, "topic")
    entered.choice(settings, "security", SECURITY, default="tls")
    entered.choice(settings, "sasl", MECHANISMS, default="none")
    entered.text(settings, "ca", default="")


def build(settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
    return Topic(settings, secret or "", way)


def brokers_of(settings: Mapping[str, Any]) -> list[tuple[str, int]]:
    """`host:port,host:port`. Raises ValueError."""
    found = []
    for broker in entered.text(settings, "brokers").split(","):
        host, _, port = broker.strip().rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError("brokers: write host:port, several separated by commas")
        found.append((host.strip("[]"), int(port)))
    return found


class Topic:
    """One key, the organisation, so that one partition keeps the order. `max_bytes` stays below what brokers take of
    one message as they come."""

    max_records = 5_000
    max_bytes = 900_000

    def __init__(self, settings: Mapping[str, Any], secret: str, way: WayOut) -> None:
        self._way = way
        self._brokers = brokers_of(settings)
        self._topic = entered.text(settings, "topic")
        self._is_plain = entered.choice(settings, "security", SECURITY, default="tls") == "plaintext"
        self._options = _options(settings, secret)
        self._producer: Producer | None = None

    def send(self, records: Sequence[Record]) -> None:
        producer = self._producer or self._connect()
        told: dict[int, KafkaError | None] = {}
        try:
            for position, record in enumerate(records):
                self._produce(producer, position, record, told)
        except KafkaException as error:
            producer.flush(FLUSH_SECONDS)
            raise self._meaning(error.args[0], len(told)) from None
        waiting = producer.flush(FLUSH_SECONDS)
        for position in sorted(told):
            if failed := told[position]:
                raise self._meaning(failed, position)
        if waiting or len(told) < len(records):
            self.close()
            raise Unreachable("It did not acknowledge everything in time.")

    def close(self) -> None:
        """What is still queued is not sent any more: whoever comes next sends it from the log."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)
            self._producer = None

    def _produce(self, producer: Producer, position: int, record: Record, told: dict[int, KafkaError | None]) -> None:
        def delivered(error: KafkaError | None, _: Message) -> None:
            told[position] = error

        producer.produce(
            self._topic,
            value=record.body,
            key=record.org.encode(),
            timestamp=int(record.at.timestamp() * 1000),
            headers=[
                ("event_id", str(record.event_id).encode()),
                ("leaf_index", b"%d" % record.index),
                ("schema", SCHEMA),
            ],
            on_delivery=delivered,
        )

    def _connect(self) -> Producer:
        """Raises Refused or Unreachable."""
        self._judge(self._brokers)
        producer = Producer(self._options)
        try:
            cluster = producer.list_topics(self._topic, timeout=METADATA_SECONDS)
        except KafkaException as error:
            raise self._meaning(error.args[0], 0) from None
        self._judge([(broker.host, broker.port) for broker in cluster.brokers.values()])
        self._producer = producer
        return producer

    def _judge(self, brokers: Sequence[tuple[str, int]]) -> None:
        for host, port in brokers:
            addresses = self._way.addresses(host, port)
            if self._is_plain and any(ip_address(address).is_global for address in addresses):
                raise Refused("Without TLS only to an address inside.")

    def _meaning(self, error: KafkaError, position: int) -> SinkFailure:
        code, said = error.code(), f"Kafka: {error.name()}."
        if code in TOO_LARGE:
            return Poisoned(said, position=position)
        self.close()
        return Refused(said) if code in OURS_TO_MEND else Unreachable(said)


def _options(settings: Mapping[str, Any], secret: str) -> dict[str, Any]:
    mechanism = entered.choice(settings, "sasl", MECHANISMS, default="none")
    protocol = "PLAINTEXT" if settings.get("security") == "plaintext" else "SSL"
    user, _, password = secret.partition(":")
    sasl = {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}
    ca = entered.text(settings, "ca", default="")
    return {
        "bootstrap.servers": entered.text(settings, "brokers"),
        "security.protocol": protocol if mechanism == "none" else f"SASL_{protocol}",
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        "compression.type": "zstd",
        "delivery.timeout.ms": DELIVERY_SECONDS * 1000,
        "log_level": 0,
        **(sasl if mechanism != "none" else {}),
        **({"ssl.ca.pem": ca} if ca else {}),
    }
