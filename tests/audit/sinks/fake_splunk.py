"""A fake of Splunk's HTTP Event Collector that refuses what the real one refuses, in its words."""

import json
from collections import deque
from uuid import UUID

import httpx

from tests.audit.sinks.records import Endless, answer, content_of

TOKEN = "5f1c3b1e-7a50-4e1b-9c39-0123456789ab"
MAX_CONTENT = 1_000_000


class FakeSplunk:
    """`faults` are what befalls the next requests, one each: 429, 503, 500, "reset", "slow", "endless", "html",
    "lost ack" (the events are taken, the answer to the poll gets lost) or "unindexed" (one poll that says false)."""

    def __init__(
        self, *, acknowledges: bool = True, indexes: tuple[str, ...] = ("ai_audit",), polls_until_indexed: int = 0
    ) -> None:
        self.acknowledges = acknowledges
        self.indexes = indexes
        self.polls_until_indexed = polls_until_indexed
        self.enabled = True
        self.events: list[dict] = []
        self.requests: list[httpx.Request] = []
        self.faults: deque[int | str] = deque()
        self.poll_faults: deque[str] = deque()
        self._acks: dict[str, dict[int, int]] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if refusal := self._who(request):
            return refusal
        if request.method != "POST":
            return answer(405)
        if request.url.path == "/services/collector/event":
            return self._event(request)
        if request.url.path == "/services/collector/ack":
            return self._ack(request)
        return answer(404, {"text": "The requested URL was not found on this server.", "code": 404})

    def _who(self, request: httpx.Request) -> httpx.Response | None:
        header = request.headers.get("Authorization")
        if header is None:
            return answer(401, {"text": "Token is required", "code": 2})
        scheme, _, token = header.partition(" ")
        if scheme != "Splunk":
            return answer(401, {"text": "Invalid authorization", "code": 3})
        if token != TOKEN:
            return answer(403, {"text": "Invalid token", "code": 4})
        return None if self.enabled else answer(403, {"text": "Token disabled", "code": 1})

    def _event(self, request: httpx.Request) -> httpx.Response:
        if self.faults and (fault := self._fault(self.faults.popleft(), request)):
            return fault
        channel = request.headers.get("X-Splunk-Request-Channel", "")
        if wrong := self._wrong_channel(channel):
            return wrong
        content = content_of(request)
        if len(content) > MAX_CONTENT:
            return answer(413, {"text": "Content-Length of 1 is too large", "code": 27})
        if not content:
            return answer(400, {"text": "No data", "code": 5})
        refusal = self._take(content.decode())
        if refusal or not self.acknowledges:
            return refusal or answer(200, {"text": "Success", "code": 0})
        acks = self._acks.setdefault(channel, {})
        acks[len(acks)] = self.polls_until_indexed
        return answer(200, {"text": "Success", "code": 0, "ackId": len(acks) - 1})

    def _wrong_channel(self, channel: str) -> httpx.Response | None:
        if self.acknowledges and not channel:
            return answer(400, {"text": "Data channel is missing", "code": 10})
        if channel and str(UUID(channel)) != channel:
            return answer(400, {"text": "Invalid data channel", "code": 11})
        return None

    def _fault(self, fault: int | str, request: httpx.Request) -> httpx.Response | None:
        match fault:
            case 429:
                return answer(429, {"text": "Request queue at capacity", "code": 24}, **{"Retry-After": "7"})
            case 503:
                return answer(503, {"text": "Server is busy", "code": 9})
            case 500:
                return answer(500, {"text": "Internal server error", "code": 8})
            case "reset":
                raise httpx.ReadError("reset", request=request)
            case "slow":
                raise httpx.ReadTimeout("slow", request=request)
            case "endless":
                return httpx.Response(503, stream=Endless())
            case "html":
                return answer(200, b"<h1>Sign in to the hotel's network</h1>")
        raise AssertionError(fault)

    def _take(self, content: str) -> httpx.Response | None:
        """Event by event, as Splunk does: those before a bad one stay taken."""
        decoder, at, number = json.JSONDecoder(), 0, 0
        while at < len(content):
            try:
                event, at = decoder.raw_decode(content, at)
            except ValueError:
                return self._bad(6, "Invalid data format", number)
            if wrong := self._wrong(event):
                return self._bad(*wrong, number)
            if event.get("index", "main") not in ("main", *self.indexes):
                return answer(400, {"text": "Incorrect index", "code": 7, "invalid-event-number": number})
            self.events.append(event)
            number += 1
            while at < len(content) and content[at] in " \r\n\t":
                at += 1
        return None

    @staticmethod
    def _wrong(event: object) -> tuple[int, str] | None:
        known = {"time", "host", "source", "sourcetype", "index", "event", "fields"}
        if not isinstance(event, dict) or not set(event) <= known or not isinstance(event.get("time"), float | int):
            return 6, "Invalid data format"
        if "event" not in event:
            return 12, "Event field is required"
        if event["event"] in ("", None):
            return 13, "Event field cannot be blank"
        fields = event.get("fields", {})
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            return 15, "Error in handling indexed fields"
        return (6, "Invalid data format") if "poison" in str(event["event"]) else None

    @staticmethod
    def _bad(code: int, text: str, number: int) -> httpx.Response:
        return answer(400, {"text": text, "code": code, "invalid-event-number": number})

    def _ack(self, request: httpx.Request) -> httpx.Response:
        if not self.acknowledges:
            return answer(400, {"text": "ACK is disabled", "code": 14})
        channel = request.url.params.get("channel", "")
        if not channel:
            return answer(400, {"text": "Data channel is missing", "code": 10})
        numbers = json.loads(content_of(request))["acks"]
        acks = self._acks.get(channel, {})
        fault = self.poll_faults.popleft() if self.poll_faults else ""
        told = {}
        for number in numbers:
            waits = acks.get(number)
            told[str(number)] = waits == 0 and fault != "unindexed"
            if told[str(number)]:
                del acks[number]  # told once, then forgotten
            elif waits:
                acks[number] = waits - 1
        if fault == "lost ack":
            raise httpx.ReadError("reset", request=request)
        return answer(503, {"text": "Server is busy", "code": 9}) if fault == "busy" else answer(200, {"acks": told})
