"""Splunk's HTTP Event Collector: `/services/collector/event`.

Without indexer acknowledgement its 200 says that the event is in a queue of Splunk's, in memory. With it (a setting of
the token, and `acknowledge` here) `send` returns once the indexers have said that they hold every request; what they
did not confirm in time is sent again. `event_id` and `leaf_index` are indexed fields of each event, whatever its
format: the first finds what came twice, the second what did not come.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from uuid import uuid4

import httpx
import orjson

from audit.sinks import settings as entered
from audit.sinks.answers import SECONDS, Answer, expect_good, post, retry_after
from audit.sinks.base import Poisoned, Record, Refused, Sink, Throttled, Unreachable, WayOut
from audit.sinks.packing import Packed, in_turn, packed, requests

EVENT_PATH: Final = "/services/collector/event"
ACK_PATH: Final = "/services/collector/ack"
REQUEST_RECORDS: Final = 1_000
REQUEST_BYTES: Final = 1_000_000
UNCONFIRMED_REQUESTS: Final = 40
"""Indexers confirm after some seconds, for which nothing more is sent: the more before, the less that counts."""

FIRST_POLL_SECONDS: Final = 0.5
LONGEST_POLL_SECONDS: Final = 10.0

# What its codes mean ("Troubleshoot HTTP Event Collector" in its manuals); by status where one is not here.
TO_BE_SET_RIGHT: Final[Mapping[int, str]] = {
    1: "the token is disabled",
    2: "it got no token",
    3: "it did not understand the Authorization header",
    4: "it does not know the token",
    7: "the token may not write into this index",
    10: "the token wants indexer acknowledgement: set `acknowledge`",
    11: "it did not take our channel",
    14: "the token has no indexer acknowledgement: clear `acknowledge`, or switch it on there",
    16: "it does not allow this way of signing in",
    21: "it does not know the token",
    22: "the token is disabled",
}
OF_A_RECORD: Final[Mapping[int, str]] = {
    5: "no data",
    6: "invalid data format",
    12: "an event is missing",
    13: "an event is blank",
    15: "the indexed fields",
}
BUSY: Final = frozenset({8, 9, 18, 19, 20, 23, 24, 25, 26, 27})

INDEX: Final = r"[a-z0-9_][a-z0-9_-]{0,79}"
TOKEN: Final = re.compile(r"[\x21-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class Settings:
    """`url` is the collector's without a path: https://http-inputs-acme.splunkcloud.com, https://splunk:8088."""

    url: str
    host: str
    source: str
    sourcetype: str
    index: str
    acknowledge: bool
    acknowledge_seconds: int
    compress: bool

    @staticmethod
    def of(settings: Mapping[str, Any]) -> "Settings":
        entered.only(settings, *Settings.__slots__)
        return Settings(
            url=entered.url(settings).rstrip("/"),
            host=entered.text(settings, "host", default="gatehouse"),
            source=entered.text(settings, "source", default="gatehouse:audit"),
            sourcetype=entered.text(settings, "sourcetype", default="gatehouse:audit"),
            index=entered.like(settings, "index", INDEX, "lower-case letters, digits, _ and -", default=""),
            acknowledge=entered.flag(settings, "acknowledge", default=True),
            acknowledge_seconds=entered.whole(settings, "acknowledge_seconds", default=120, least=10, most=300),
            compress=entered.flag(settings, "compress", default=True),
        )

    def envelope(self) -> dict[str, str]:
        told = {"host": self.host, "source": self.source, "sourcetype": self.sourcetype, "index": self.index}
        return {name: value for name, value in told.items() if value}


def check(settings: Mapping[str, Any]) -> None:
    Settings.of(settings)


def build(settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
    return Splunk(Settings.of(settings), secret or "", way.http(timeout=SECONDS))


class Splunk:
    """One collector, one token, and one channel for as long as this process uses it."""

    def __init__(
        self,
        settings: Settings,
        token: str,
        client: httpx.Client,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_records = REQUEST_RECORDS * (UNCONFIRMED_REQUESTS if settings.acknowledge else 1)
        self.max_bytes = REQUEST_BYTES * (UNCONFIRMED_REQUESTS if settings.acknowledge else 1)
        self._settings = settings
        self._token = token
        self._client = client
        self._sleep = sleep
        self._clock = clock
        self._channel = str(uuid4())
        self._envelope = settings.envelope()

    def send(self, records: Sequence[Record]) -> None:
        too_large: list[Poisoned] = []

        def entries() -> Iterator[bytes]:
            for position, record in enumerate(records):
                entry = self._entry(record)
                if len(entry) > REQUEST_BYTES:
                    told = f"The event has {len(entry):,} bytes; a request may have {REQUEST_BYTES:,}."
                    too_large.append(Poisoned(told, position=position))
                    return
                yield entry

        bounded = requests(entries(), most_entries=REQUEST_RECORDS, most_bytes=REQUEST_BYTES)
        numbers = in_turn((self._packed(request) for request in bounded), self._post)
        if self._settings.acknowledge:
            self._wait_for({number for number in numbers if number is not None})
        if too_large:
            raise too_large[0]

    def close(self) -> None:
        self._client.close()

    def _entry(self, record: Record) -> bytes:
        about = {
            "time": round(record.at.timestamp(), 3),
            **self._envelope,
            "fields": {
                "org": record.org,
                "event_id": str(record.event_id),
                # A checkpoint is no leaf: its number is the size of the log, and a gap search must not count it.
                "log_size" if record.is_checkpoint else "leaf_index": str(record.index),
            },
        }
        is_object = record.body.startswith(b"{")
        event = record.body if is_object else json.dumps(record.body.decode(errors="replace")).encode()
        return b'%b,"event":%b}' % (orjson.dumps(about)[:-1], event)

    def _packed(self, entries: Sequence[bytes]) -> Packed:
        return packed(b"\n".join(entries), compress=self._settings.compress)

    def _post(self, content: Packed) -> int | None:
        """The number under which the indexers will confirm it; None where none is asked for."""
        body, packing = content
        answer = post(self._client, self._settings.url + EVENT_PATH, body=body, headers={**self._headers(), **packing})
        told = answer.told()
        if answer.status != 200 or told.get("code") != 0:
            _refuse(answer, told)
        if not self._settings.acknowledge:
            return None
        number = told.get("ackId")
        if not isinstance(number, int):
            raise Refused(f"It took the events, but {TO_BE_SET_RIGHT[14]}.")
        return number

    def _wait_for(self, unconfirmed: set[int]) -> None:
        """Splunk says of each number once that it is confirmed, and then forgets it: an answer that is lost on the
        way cannot be asked for again, and what it told of is sent once more."""
        total, pause = len(unconfirmed), FIRST_POLL_SECONDS
        ends_at = self._clock() + self._settings.acknowledge_seconds
        while unconfirmed:
            if self._clock() >= ends_at:
                raise Unreachable(
                    f"Its indexers did not confirm {len(unconfirmed)} of {total} requests within "
                    f"{self._settings.acknowledge_seconds} seconds; they will be sent again."
                )
            self._sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
            try:
                unconfirmed -= self._confirmed(unconfirmed)
            except (Unreachable, Throttled):
                continue

    def _confirmed(self, numbers: set[int]) -> set[int]:
        answer = post(
            self._client,
            f"{self._settings.url}{ACK_PATH}?channel={self._channel}",
            body=orjson.dumps({"acks": sorted(numbers)}),
            headers=self._headers(),
        )
        told = answer.told()
        acks = told.get("acks")
        if answer.status != 200 or not isinstance(acks, dict):
            _refuse(answer, told)
        return {number for number in numbers if acks.get(str(number)) is True}

    def _headers(self) -> dict[str, str]:
        if not TOKEN.fullmatch(self._token):
            raise Refused("The secret is no token of an HTTP Event Collector.")
        headers = {"Authorization": f"Splunk {self._token}", "Content-Type": "application/json"}
        return headers | ({"X-Splunk-Request-Channel": self._channel} if self._settings.acknowledge else {})


def _refuse(answer: Answer, told: Mapping[str, Any]) -> NoReturn:
    """Which record it was, `invalid-event-number` would tell; but versions differ in whether those before it were
    taken, and an event wrongly believed to be taken is lost. Halving the batch finds it as well."""
    code = told.get("code")
    if not isinstance(code, int):
        code = -1
    if code in TO_BE_SET_RIGHT:
        raise Refused(f"Splunk refuses (code {code}): {TO_BE_SET_RIGHT[code]}.")
    if code in OF_A_RECORD:
        raise Poisoned(f"Splunk does not take an event (code {code}): {OF_A_RECORD[code]}.")
    if code in BUSY:
        raise Throttled(f"Splunk is busy (code {code}).", retry_after=retry_after(answer.headers))
    expect_good(answer)
    raise Unreachable(f"It answered {answer.status}, but not as Splunk does.")
