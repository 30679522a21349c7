"""Messages to one upstream over streamable HTTP, on a line whose revision is known."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Final

from connectors.base import HeaderLines, Headers, UpstreamAuth, UpstreamFailure, header_lines
from connectors.http1 import Answer
from connectors.mcp_answer import BrokenOff, ReplyReader, read_status
from connectors.mcp_headers import encode_value
from connectors.mcp_line import CANCEL_SECONDS, Line, Shared
from connectors.mcp_peer import Reply, Request, Wire, encode, encode_notice, leaves_work_behind, status_failure
from connectors.mcp_settle import INITIALIZED
from connectors.mcp_talk import Talk

MAX_RESUMES: Final = 100
MAX_RESUMES_IN_VAIN: Final = 5
USUAL_RETRY_MS: Final = 1_000
SHORTEST_RETRY_SECONDS: Final = 0.05
LONGEST_RETRY_SECONDS: Final = 60.0
TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""Of version 00 (W3C Trace Context, section 3.2.2); nothing else an agent writes there becomes a header."""


class HttpTransport:
    """A line as one call uses it, with the secret that is open for this call."""

    __slots__ = ("_auth", "_egress", "_shared", "line")

    def __init__(self, line: Line, auth: UpstreamAuth, shared: Shared) -> None:
        self.line = line
        self._auth = auth
        self._shared = shared
        self._egress = shared.egress

    async def carried(self, wire: Wire, request: Request, talk: Talk, extra: Headers = ()) -> Reply:
        started = time.perf_counter()
        request_id = next(self._shared.request_ids)
        try:
            if self.line.old is None:
                reply = await self._posted(wire, request, talk, request_id, extra)
            else:
                reply = await self.line.old.exchange(wire, request, talk, request_id=request_id)
        except (asyncio.CancelledError, UpstreamFailure) as broken:
            if not wire.is_modern and request.method != "initialize" and leaves_work_behind(broken):
                self._cancel(wire, request_id)
            raise
        finally:
            talk.upstream_seconds += time.perf_counter() - started
        talk.size_bytes += reply.size_bytes
        return reply

    async def _posted(self, wire: Wire, request: Request, talk: Talk, request_id: int, extra: Headers) -> Reply:
        try:
            return await self._egress.send(
                "POST",
                self.line.url,
                headers=self._lines(wire, request, extra),
                body=encode(wire, request, request_id=request_id, talk=talk),
                timeout_seconds=talk.seconds_left(request.seconds),
                read=self._reader(wire, talk, request_id),
                send_before_ns=request.send_before_ns,
            )
        except BrokenOff as broken:
            return await self._resumed(wire, request, talk, request_id, broken)

    def _reader(self, wire: Wire, talk: Talk, request_id: int) -> ReplyReader:
        return ReplyReader(wire, request_id, talk, self, max_bytes=self.line.spec.max_result_bytes)

    def _lines(self, wire: Wire, request: Request, extra: Headers = ()) -> HeaderLines:
        """The headers the revision wants on a POST, and the upstream's secret."""
        lines = wire.lines + self._auth.lines
        if wire.is_modern:
            lines += routing_lines(request.method, request.name)
        if request.meta and TRACEPARENT.fullmatch(traceparent := request.meta.get("traceparent", "")):
            extra = (*extra, ("traceparent", traceparent))
        return HeaderLines(lines + header_lines(extra) if extra else lines)

    async def _resumed(self, wire: Wire, request: Request, talk: Talk, request_id: int, broken: BrokenOff) -> Reply:
        """Asks for the rest of a legacy stream that ended early, as upstreams let clients poll (2025-11-25). What has
        reached the upstream has reached it, however this goes."""
        in_vain = 0
        for _ in range(MAX_RESUMES):
            await asyncio.sleep(_pause(broken))
            try:
                rest = await self._egress.send(
                    "GET",
                    self.line.url,
                    headers=[*wire.headers, *_last_id(broken), *self._auth.headers],
                    body=b"",
                    timeout_seconds=talk.seconds_left(request.seconds),
                    read=self._reader(wire, talk, request_id),
                )
                if rest.status >= 400:
                    raise status_failure(rest.status)
                return rest
            except BrokenOff as again:
                in_vain = in_vain + 1 if again.last_id == broken.last_id else 0
                broken = again
            except UpstreamFailure as failure:
                if failure.code not in ("reset", "connect_failed"):
                    raise UpstreamFailure(failure.code, failure.message, reached=True) from failure
                in_vain += 1
            if in_vain >= MAX_RESUMES_IN_VAIN:
                break
        raise UpstreamFailure("reset", "The upstream broke off and did not go on.", reached=True)

    # -- streams that are listened to

    async def open_post(self, wire: Wire, request: Request, *, read: Callable[[Answer], Awaitable[None]]) -> None:
        """Opens a modern stream; `read` moves its deadline."""
        talk = self._short_talk()
        await self._egress.send(
            "POST",
            self.line.url,
            headers=self._lines(wire, request),
            body=encode(wire, request, request_id=next(self._shared.request_ids), talk=talk),
            timeout_seconds=talk.seconds,
            read=read,
        )

    async def open_get(self, wire: Wire, *, read: Callable[[Answer], Awaitable[None]]) -> None:
        """Opens the stream of a legacy session; `read` moves its deadline."""
        await self._egress.send(
            "GET",
            self.line.url,
            headers=[*wire.headers, *self._auth.headers],
            body=b"",
            timeout_seconds=self.line.spec.timeout_seconds,
            read=read,
        )

    # -- what is said without expecting an answer

    async def tell(self, wire: Wire, notice: Request) -> None:
        """A notification. Raises UpstreamFailure when it is not taken."""
        status = await self._dropped(self._lines(wire, notice), encode_notice(notice))
        if status >= 400:
            raise status_failure(status)

    async def say(self, wire: Wire, body: bytes) -> None:
        """Answers a question of the upstream; if that fails, the stream the question came on tells the rest."""
        try:
            await self._dropped(self._lines(wire, INITIALIZED), body)
        except UpstreamFailure:
            return

    async def hear(self, method: str, params: dict[str, Any]) -> None:
        await self.line.hear(method, params)

    async def end_session(self, wire: Wire) -> None:
        """Errors are the upstream's word that sessions end there by themselves. Raises UpstreamFailure."""
        await self._egress.send(
            "DELETE",
            self.line.url,
            headers=[*wire.headers, *self._auth.headers],
            body=b"",
            timeout_seconds=CANCEL_SECONDS,
            read=read_status,
        )

    async def _dropped(self, headers: HeaderLines, body: bytes) -> int:
        if self.line.old is not None:
            return await self.line.old.post(body)
        return await self._egress.send(
            "POST",
            self.line.url,
            headers=headers,
            body=body,
            timeout_seconds=self.line.spec.timeout_seconds,
            read=read_status,
        )

    def _cancel(self, wire: Wire, request_id: int) -> None:
        """Closing a legacy stream is not a cancellation (the specification says so): it takes a message, sent in the
        background because our own task is ending. A modern upstream understands the closed stream."""
        params = {"requestId": request_id, "reason": "call ended"}
        self._shared.errands.start(self.tell(wire, Request("notifications/cancelled", params)))

    def _short_talk(self) -> Talk:
        return Talk(seconds=self.line.spec.timeout_seconds)


@lru_cache(maxsize=4096)
def routing_lines(method: str, name: str) -> HeaderLines:
    """By which whatever stands before a modern upstream may route."""
    named = [("Mcp-Name", encode_value(name))] if name else []
    return header_lines([("Mcp-Method", method), *named])


def _last_id(broken: BrokenOff) -> Headers:
    return (("Last-Event-ID", broken.last_id),) if broken.last_id else ()


def _pause(broken: BrokenOff) -> float:
    retry_ms = USUAL_RETRY_MS if broken.retry_ms is None else broken.retry_ms
    return min(max(retry_ms / 1000, SHORTEST_RETRY_SECONDS), LONGEST_RETRY_SECONDS)
