"""One request's HTTP side: answered as JSON, or as a stream of events that begins as late as possible.

An answer as JSON can still be a 400 or 503, and costs nothing beside itself.
"""

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Any

import orjson

from gateway.bus import Mailbox
from gateway.call import Answer, Caller
from gateway.commit.entry import EvidenceUnavailable
from gateway.deciding import reachable_bundles
from gateway.mcp.attendance import WATCH_AFTER_SECONDS, Attendance, Watch
from gateway.mcp.context import Context
from gateway.mcp.dressing import dress, status_of
from gateway.mcp.guards import accepts_stream
from gateway.mcp.http import STREAM_HEADERS, respond, respond_with
from gateway.mcp.metadata import answer_headers
from gateway.mcp.revisions import NEWEST_LEGACY
from gateway.mcp.session_ends import until_ended
from gateway.mcp.streams import KEPT_FOR, Event, Journal, Place
from gateway.ports import Ports

KEEP_ALIVE_SECONDS = 15.0
GLANCE_SECONDS = 0.01
PING = b": ping\n\n"
RECONNECT = b"retry: 1000\n"
"""How many milliseconds a client that lost the stream waits before it asks for it again; a line of an event."""


class Exchange:
    """A stream of a session is resumable: its events are in a journal before they are sent."""

    def __init__(self, context: Context, ports: Ports) -> None:
        self.context = context
        self.is_over = False
        self.is_streaming = False
        self._ports = ports
        self._journal: Journal | None = None
        self._sending = asyncio.Lock()

    @property
    def can_stream(self) -> bool:
        return accepts_stream(self.context.request)

    @property
    def can_ask(self) -> bool:
        """Up to 2025-11-25: what is asked on a stream is answered by way of its session."""
        return self.context.session is not None and self.can_stream

    async def begin(self) -> None:
        """Becomes a stream now: a wait of long must not count among the requests at work."""
        async with self._sending:
            if not self.is_over:
                await self._begin()

    async def tell(self, message: dict[str, Any]) -> None:
        """A notification or a request of ours. Nothing more once the answer is given."""
        if not self.can_stream:
            return
        async with self._sending:
            if not self.is_over:
                await self._begin()
                await self._event(orjson.dumps(message), is_last=False)

    async def answer(self, answer: Answer) -> None:
        """Only the first counts: whatever comes later has lost its audience. It waits for a message on its way; where
        there is none it takes no lock, because after it nothing is sent."""
        if self._sending.locked():
            async with self._sending:
                await self._answer(answer)
        else:
            await self._answer(answer)

    async def _answer(self, answer: Answer) -> None:
        if self.is_over:
            return
        self.is_over = True
        body = dress(self.context, answer)
        if not self.is_streaming:
            headers = answer_headers(self.context.bundle, answer)
            await respond_with(self.context.send, status_of(self.context, answer), orjson.dumps(body), headers)
            return
        await self._event(orjson.dumps(body), is_last=True)
        await self._end()

    async def close(self) -> None:
        """Without an answer: the request was cancelled."""
        async with self._sending:
            if self.is_over:
                return
            self.is_over = True
            if self.can_stream:
                await self._begin()
                await self._end()
            else:
                await respond(self.context.send, 202)

    def attended(self, *watches: Watch) -> Attendance:
        """While the block lasts, but not before it has lasted a while, an idle stream is kept alive and `watches`
        run."""
        return Attendance(self._ports.waiting.attendants, (self._keep_alive, *watches))

    async def client_left(self) -> bool:
        """Waits until the client closes its side, or until it has its answer; then it is False."""
        while (await self.context.receive())["type"] != "http.disconnect":
            continue
        return not self.is_over

    async def has_left(self) -> bool:
        """Whether the client has closed its side by now, for whom it is too early to be watched."""
        try:
            async with asyncio.timeout(GLANCE_SECONDS):
                return await self.client_left()
        except TimeoutError:
            return False

    async def _keep_alive(self) -> None:
        await asyncio.sleep(KEEP_ALIVE_SECONDS - WATCH_AFTER_SECONDS)
        while self.can_stream and not self.is_over:
            async with self._sending:
                if not self.is_over:
                    await self._begin()
                    await self._send(PING)
            await asyncio.sleep(KEEP_ALIVE_SECONDS)

    async def _begin(self) -> None:
        if self.is_streaming:
            return
        self.is_streaming = True
        await begin_stream(self.context)
        if (session := self.context.session) is not None:
            self._journal = self._ports.sessions.streams.journal(session.id)
            if self.context.revision == NEWEST_LEGACY:
                await self._send(RECONNECT + event(b"", self._journal.event_id))

    async def _event(self, data: bytes, *, is_last: bool) -> None:
        """One that cannot be kept is sent all the same; only who loses it cannot have it again."""
        event_id = ""
        if self._journal is not None:
            with suppress(EvidenceUnavailable):
                event_id = await self._journal.append(data, is_last=is_last)
        await self._send(event(data, event_id))

    async def _send(self, body: bytes) -> None:
        await _pass_on(self.context, body)

    async def _end(self) -> None:
        await self.context.send({"type": "http.response.body", "body": b""})


async def replay(context: Context, place: Place, ports: Ports) -> None:
    """What the client missed of a stream of its session, and what still comes, up to its answer.

    Raises EvidenceUnavailable or Crowded before anything is sent.
    """
    streams = ports.sessions.streams
    with ports.waiting.answers.taken(context.agent_id), ports.bus.mailbox(place.topic) as box:
        is_over, events = await streams.is_read_to_its_end(place), await streams.events_after(place)
        await begin_stream(context)
        with suppress(EvidenceUnavailable, TimeoutError):
            async with ports.waiting.at_most(None) as scope:
                watches = (partial(end_with_client, context, scope), partial(_end_with_session, context, scope, ports))
                with Attendance(ports.waiting.attendants, watches):
                    if not is_over:
                        await _read_on(context, place, events, box, ports)
    await context.send({"type": "http.response.body", "body": b""})


async def end_with_client(context: Context, scope: asyncio.Timeout) -> None:
    """Who left reads no more; the place is for others."""
    while (await context.receive())["type"] != "http.disconnect":
        continue
    _end_now(scope)


async def _end_with_session(context: Context, scope: asyncio.Timeout, ports: Ports) -> None:
    assert context.session is not None
    await until_ended(context.session.digest, ports.bus)
    _end_now(scope)


def _end_now(scope: asyncio.Timeout) -> None:
    if not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())


async def _read_on(context: Context, place: Place, events: list[Event], box: Mailbox, ports: Ports) -> None:
    is_over, quiet_until = False, time.monotonic() + KEPT_FOR.total_seconds()
    while not is_over and may_hear(context, ports) and time.monotonic() < quiet_until:
        for found in events:
            await _pass_on(context, event(found.data, found.id))
            place, is_over = place.at(place.number + 1), found.is_last
            quiet_until = time.monotonic() + KEPT_FOR.total_seconds()
        if not is_over and not await box.ring(KEEP_ALIVE_SECONDS):
            await _pass_on(context, PING)
        events = await ports.sessions.streams.events_after(place)


async def _pass_on(context: Context, body: bytes) -> None:
    await context.send({"type": "http.response.body", "body": body, "more_body": True})


def may_hear(context: Context, ports: Ports) -> bool:
    """Whether the caller's key, agent, person and endpoint are still good for anything: nothing is told beyond them."""
    snapshot, before = ports.snapshot(), context.caller
    agent = snapshot.agents.get(before.agent.id)
    credential = snapshot.standing(before.credential)
    if agent is None or not agent.is_live or credential is None or not credential.is_in_time(ports.now()):
        return False
    caller = Caller(agent, credential, snapshot)
    return caller.person.is_active and (not context.bundle or bool(reachable_bundles(context.bundle, caller, ports)))


async def begin_stream(context: Context) -> None:
    await context.send({"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})


def event(data: bytes, event_id: str = "") -> bytes:
    """`data` is JSON of one line, or empty."""
    head = f"id: {event_id}\n".encode() if event_id else b""
    return head + (b"event: message\n" if data else b"") + b"data: " + data + b"\n\n"
