"""OpenTelemetry logs: OTLP over HTTP in protobuf, one LogRecord for each event.

A 200 whose answer parses and rejects nothing is the acknowledgement. It is the collector's: what its exporters do
afterwards, it does not say; a collector with a persistent queue loses nothing when it restarts. The specification
forbids to repeat a request that was taken in part; one that was is split, until the record that is not taken stands
alone, and `log.record.uid` tells what came twice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from audit.sinks import settings as entered
from audit.sinks.answers import SECONDS, Answer, expect_good, post
from audit.sinks.base import Poisoned, Record, Refused, Sink, WayOut
from audit.sinks.packing import packed

PROTOBUF: Final = "application/x-protobuf"
LOGS_PATH: Final = "/v1/logs"

HEADER_NAME: Final = r"[A-Za-z0-9-]{1,64}"
HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")
OUR_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"}
)


@dataclass(frozen=True, slots=True)
class Settings:
    """`url` may end in the collector's port or in its path for logs; `header` is what carries the secret, whole."""

    url: str
    service_name: str
    header: str
    compress: bool

    @staticmethod
    def of(settings: Mapping[str, Any]) -> "Settings":
        entered.only(settings, *Settings.__slots__)
        url = entered.url(settings).rstrip("/")
        header = entered.like(settings, "header", HEADER_NAME, "the name of an HTTP header", default="Authorization")
        if header.lower() in OUR_HEADERS:
            raise ValueError("header: one that the request itself needs")
        return Settings(
            url=url if urlsplit(url).path else url + LOGS_PATH,
            service_name=entered.text(settings, "service_name", default="gatehouse"),
            header=header,
            compress=entered.flag(settings, "compress", default=True),
        )


def check(settings: Mapping[str, Any]) -> None:
    Settings.of(settings)


def build(settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
    return Otlp(Settings.of(settings), secret or "", way.http(timeout=SECONDS))


class Otlp:
    """One collector. The secret is optional: some know their clients by the network alone."""

    max_records = 2_000
    max_bytes = 2_000_000
    """Receivers that limit a request do so at 4 MB and more."""

    def __init__(self, settings: Settings, secret: str, client: httpx.Client) -> None:
        self._settings = settings
        self._secret = secret
        self._client = client
        self._resource = Resource(attributes=[_text("service.name", settings.service_name)])

    def send(self, records: Sequence[Record]) -> None:
        message = self._request(records).SerializeToString()
        body, packing = packed(message, compress=self._settings.compress)
        answer = post(self._client, self._settings.url, body=body, headers={**self._headers(), **packing})
        # The specification names 429, 502, 503 and 504 as those to repeat, and 400 as the one that means the data.
        expect_good(answer)
        _refuse_rejected(answer)

    def close(self) -> None:
        self._client.close()

    def _request(self, records: Sequence[Record]) -> ExportLogsServiceRequest:
        scope = ScopeLogs(
            scope=InstrumentationScope(name="gatehouse.audit"), log_records=[_log_record(record) for record in records]
        )
        return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=self._resource, scope_logs=[scope])])

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": PROTOBUF}
        if not self._secret:
            return headers
        if not HEADER_VALUE.fullmatch(self._secret):
            raise Refused("The secret cannot be the value of a header.")
        return headers | {self._settings.header: self._secret}


def _log_record(record: Record) -> LogRecord:
    nanoseconds = int(record.at.timestamp() * 1_000_000) * 1000
    # A checkpoint is no leaf: its number is the size of the log, and a gap search must not count it.
    number = "gatehouse.log_size" if record.is_checkpoint else "gatehouse.leaf_index"
    return LogRecord(
        time_unix_nano=nanoseconds,
        observed_time_unix_nano=nanoseconds,
        severity_number=SEVERITY_NUMBER_INFO,
        severity_text="INFO",
        event_name="gatehouse.checkpoint" if record.is_checkpoint else "gatehouse.event",
        body=AnyValue(string_value=record.body.decode(errors="replace")),
        attributes=[
            _text("log.record.uid", str(record.event_id)),
            _text("gatehouse.org", record.org),
            KeyValue(key=number, value=AnyValue(int_value=record.index)),
        ],
    )


def _text(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))


def _refuse_rejected(answer: Answer) -> None:
    """Raises Poisoned if the collector kept less than all, Refused if no collector answered. Words without a number
    are a warning, and everything was taken."""
    try:
        told = ExportLogsServiceResponse.FromString(answer.body)
    except DecodeError:
        raise Refused(f"It answered {answer.status}, but not as an OTLP receiver does.") from None
    rejected = told.partial_success.rejected_log_records
    if rejected:
        raise Poisoned(f"It rejected {rejected:,} of the records.")
