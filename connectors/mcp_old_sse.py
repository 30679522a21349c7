"""Upstreams that still speak the HTTP+SSE of 2024-11-05: requests go to an address that the upstream names first on one
long event stream, and all answers come on that stream."""

import asyncio
from typing import Final
from urllib.parse import urljoin, urlsplit

from connectors.base import Heard, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.egress import Egress
from connectors.http1 import Answer
from connectors.mcp_answer import content_type, fed, read_status
from connectors.mcp_peer import Reply, Request, Wire, bad_answer, encode, status_failure
from connectors.mcp_switchboard import Switchboard
from connectors.mcp_talk import Talk
from connectors.sse import SseReader

IDLE_SECONDS: Final = 3600.0
"""A stream without a single byte for this long is given up; the next request opens another."""
ENDPOINT_SECONDS: Final = 10.0
"""Until the endpoint is named."""
MAX_EVENTS: Final = 1_000_000
LONGEST_ENDPOINT: Final = 4096


class OldSse:
    """One session. It ends with its stream; what runs then is broken off."""

    def __init__(self, egress: Egress, url: str, auth: UpstreamAuth, spec: UpstreamSpec, *, heard: Heard) -> None:
        self._egress = egress
        self._url = url
        self._auth = auth
        self._spec = spec
        self._board = Switchboard(self._say, heard=heard)
        self._named: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stream = asyncio.create_task(self._hear())
        self._is_closing = False
        self.endpoint = ""

    @staticmethod
    async def opened(
        egress: Egress, url: str, auth: UpstreamAuth, spec: UpstreamSpec, *, heard: Heard
    ) -> "OldSse | None":
        """None when the upstream does not speak this."""
        session = OldSse(egress, url, auth, spec, heard=heard)
        try:
            async with asyncio.timeout(min(spec.timeout_seconds, ENDPOINT_SECONDS)):
                session.endpoint = await session._named
        except (UpstreamFailure, TimeoutError):
            session.close()
            return None
        except BaseException:
            session.close()
            raise
        return session

    @property
    def is_open(self) -> bool:
        return not self._stream.done()

    async def until_closed(self) -> None:
        await asyncio.wait((self._stream,))

    def close(self) -> None:
        """Once nothing runs any more."""
        self._is_closing = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_closing and self._board.is_idle:
            self._stream.cancel()

    # -- requests

    async def exchange(self, wire: Wire, request: Request, talk: Talk, *, request_id: int) -> Reply:
        """Raises UpstreamFailure."""
        body = encode(wire, request, request_id=request_id, talk=talk)
        reached = False
        try:
            async with (
                asyncio.timeout(talk.seconds_left(request.seconds)) as deadline,
                self._board.running(request_id, talk, deadline) as running,
            ):
                if not self.is_open:
                    return Reply(wire, None, 0, status=404)
                status = await self.post(body, send_before_ns=request.send_before_ns)
                reached = True
                if status >= 400:
                    return Reply(wire, None, 0, status)
                return Reply(wire, await running.answer, running.size_bytes)
        except TimeoutError:
            raise UpstreamFailure("timeout", "The upstream did not answer in time.", reached=reached) from None
        finally:
            self._close_if_idle()

    async def post(self, body: bytes, *, send_before_ns: int | None = None) -> int:
        """The status. Raises UpstreamFailure."""
        return await self._egress.send(
            "POST",
            self.endpoint,
            headers=[("Content-Type", "application/json"), *self._auth.headers],
            body=body,
            timeout_seconds=self._spec.timeout_seconds,
            read=read_status,
            send_before_ns=send_before_ns,
        )

    async def _say(self, body: bytes) -> None:
        try:
            await self.post(body)
        except UpstreamFailure:
            return

    # -- the stream

    async def _hear(self) -> None:
        gone = UpstreamFailure("reset", "The upstream closed its event stream.", reached=True)
        try:
            await self._egress.send(
                "GET",
                self._url,
                headers=self._auth.headers,
                body=b"",
                timeout_seconds=self._spec.timeout_seconds,
                read=self._read,
            )
        except UpstreamFailure as failure:
            gone = UpstreamFailure(failure.code, failure.message, reached=True)
        finally:
            self._board.fail_all(gone)
            if not self._named.done():
                self._named.set_exception(gone)
            self._egress.forget(self.endpoint)

    async def _read(self, answer: Answer) -> None:
        if answer.status != 200 or content_type(answer) != "text/event-stream":
            raise status_failure(answer.status)
        events = SseReader(max_event_bytes=self._spec.max_result_bytes, max_events=MAX_EVENTS)
        loop = asyncio.get_running_loop()
        while (piece := await answer.chunk()) is not None:
            payloads = fed(events, piece)
            if not self._named.done() and events.endpoint is not None:
                self._named.set_result(self._checked(events.endpoint))
                answer.deadline.reschedule(loop.time() + IDLE_SECONDS)
            for payload in payloads:
                await self._board.take(payload)
            if self._named.done():
                answer.deadline.reschedule(loop.time() + IDLE_SECONDS)

    def _checked(self, endpoint: bytes) -> str:
        """An address elsewhere would be sent our secret."""
        try:
            address = urljoin(self._url, endpoint.decode("ascii"))
            ours, theirs = urlsplit(self._url), urlsplit(address)
            is_same = (ours.scheme, ours.hostname, ours.port) == (theirs.scheme, theirs.hostname, theirs.port)
        except ValueError:
            is_same = False
        if not is_same or len(endpoint) > LONGEST_ENDPOINT:
            raise bad_answer("The upstream names an address of another origin.")
        return address
