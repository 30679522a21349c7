"""Reading the answer to one POST of streamable HTTP, as JSON or as an event stream, and nothing beyond its bounds."""

from functools import partial
from typing import Any, Final, Protocol

from connectors.base import UpstreamFailure, too_large
from connectors.http1 import Answer
from connectors.mcp_peer import Reply, Wire, bad_answer, decoded, is_error, matched, status_failure
from connectors.mcp_talk import Talk
from connectors.sse import SseOverflow, SseReader

_ERROR_BODY_BYTES: Final = 64 * 1024


class BrokenOff(Exception):
    """A legacy stream ended before the answer, after an event that can be named to go on from there."""

    def __init__(self, last_id: str, retry_ms: int | None) -> None:
        super().__init__(last_id)
        self.last_id = last_id
        self.retry_ms = retry_ms


class Aside(Protocol):
    """The other way to the upstream, and who hears its news."""

    async def say(self, wire: Wire, body: bytes) -> None:
        """Answers a question of a legacy upstream. Never raises UpstreamFailure."""

    async def hear(self, method: str, params: dict[str, Any]) -> None:
        """News that are not about this request."""


class ReplyReader:
    """Reads the answer to one request."""

    __slots__ = ("_aside", "_max_bytes", "_request_id", "_talk", "_wire", "size_bytes")

    def __init__(self, wire: Wire, request_id: int, talk: Talk, aside: Aside, *, max_bytes: int) -> None:
        self._wire = wire
        self._request_id = request_id
        self._talk = talk
        self._aside = aside
        self._max_bytes = max_bytes
        self.size_bytes = 0

    async def __call__(self, answer: Answer) -> Reply:
        """Raises UpstreamFailure for every answer that is neither our response nor a plain 4xx."""
        status, kind = good_status(answer), content_type(answer)
        message: dict[str, Any] | None
        if status >= 300:
            message = await self._error(answer) if kind == "application/json" else None
        elif kind == "application/json":
            message = matched(decoded(await self._body(answer, self._max_bytes)), self._request_id)
        elif kind == "text/event-stream":
            message = await self._from_events(answer)
        else:
            raise bad_answer("The upstream answered with neither JSON nor an event stream.")
        return Reply(self._wire, message, self.size_bytes, status, answer.headers.get("mcp-session-id"))

    async def _error(self, answer: Answer) -> dict[str, Any] | None:
        """The JSON-RPC error in a 4xx, if it is one: other programs than MCP servers answer 4xx too."""
        try:
            message = decoded(await self._body(answer, min(self._max_bytes, _ERROR_BODY_BYTES)))
        except UpstreamFailure as failure:
            if failure.code in ("bad_answer", "too_large"):
                return None
            raise
        is_ours = message.get("id") in (self._request_id, None) and is_error(message.get("error"))
        return message if is_ours else None

    async def _body(self, answer: Answer, at_most: int) -> bytes:
        body = await answer.whole(at_most=at_most)
        self.size_bytes = len(body)
        return body

    async def _from_events(self, answer: Answer) -> dict[str, Any]:
        """Raises BrokenOff where a legacy upstream can be asked for the rest."""
        events = SseReader(max_event_bytes=self._max_bytes)
        say = None if self._wire.is_modern else partial(self._aside.say, self._wire)
        self._talk.attend(answer.deadline, say=say, heard=self._aside.hear)
        try:
            message = await self._next_response(answer, events)
        except UpstreamFailure as failure:
            if failure.code == "reset" and self._can_go_on(events):
                raise BrokenOff(events.last_id, events.retry_ms) from failure
            raise
        finally:
            self._talk.hush()
        if message is not None:
            return matched(message, self._request_id)
        if self._can_go_on(events):
            raise BrokenOff(events.last_id, events.retry_ms)
        raise bad_answer("The upstream's event stream ended without an answer.")

    async def _next_response(self, answer: Answer, events: SseReader) -> dict[str, Any] | None:
        while (piece := await answer.chunk()) is not None:
            self._count(piece)
            for payload in fed(events, piece):
                message = decoded(payload)
                if "method" not in message:
                    return message
                await self._talk.heed(message, token=self._request_id)
        return None

    def _can_go_on(self, events: SseReader) -> bool:
        return bool(events.last_id) and not self._wire.is_modern

    def _count(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        if self.size_bytes > self._max_bytes:
            raise too_large()


async def read_status(answer: Answer) -> int:
    """Raises UpstreamFailure as `good_status` does."""
    return good_status(answer)


def good_status(answer: Answer) -> int:
    """Raises UpstreamFailure for what is not about the message but about us, the address or the upstream's health."""
    status = answer.status
    if 300 <= status < 400 or status in (401, 403, 429) or status >= 500:
        raise status_failure(status)
    return status


def content_type(answer: Answer) -> str:
    """In lower case and without parameters. Raises UpstreamFailure (`bad_answer`) for what is compressed."""
    headers = answer.headers
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise bad_answer("The upstream compressed its answer although asked not to.")
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def fed(events: SseReader, piece: bytes) -> list[bytes]:
    """Raises UpstreamFailure (`too_large`)."""
    try:
        return events.feed(piece)
    except SseOverflow:
        raise too_large() from None
