"""Hearing an upstream's news over HTTP: `subscriptions/listen` in the modern era, the session's GET stream before."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from connectors.base import Heard, Interest, Stands, UpstreamFailure
from connectors.http1 import Answer
from connectors.mcp_answer import content_type, fed
from connectors.mcp_channel import HttpChannel
from connectors.mcp_news import Listener
from connectors.mcp_peer import METHOD_NOT_FOUND, MODERN_ERRORS, Request, Wire, decoded, is_error, status_failure
from connectors.mcp_talk import Say, Talk, refusal_of
from connectors.sse import SseReader

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 30.0
"""A stream that lived this long was a good one: the next pause is short again."""
IDLE_SECONDS: Final = 900.0
MAX_EVENT_BYTES: Final = 256 * 1024
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
"""With it a modern upstream says that the subscription stands."""


class NotOffered(Exception):
    """The upstream has no such stream."""


class Pauses:
    """Between a break and the next try: longer each time, by chance so that not all gateways come back at once."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self.is_again = False
        self.has_heard = False
        """A stream was opened once, so the upstream has such."""

    async def rest(self) -> None:
        if self._loop.time() - self._started_at > STEADY_SECONDS:
            self._seconds = FIRST_PAUSE_SECONDS
        await asyncio.sleep(self._seconds * random.uniform(0.5, 1.0))
        self._seconds = min(self._seconds * 2, LONGEST_PAUSE_SECONDS)
        self._started_at = self._loop.time()
        self.is_again = True


async def listen(channels: Sequence[HttpChannel], listener: Listener) -> None:
    """Until cancelled, or until the upstream turns out to offer none of it; `channels` lead to its replicas. After a
    break, everything that is listened for counts as changed: it may have."""
    pauses = Pauses()
    position = 0
    while True:
        try:
            await _hear_once(channels[position % len(channels)], listener, pauses)
        except NotOffered:
            return
        except UpstreamFailure:
            position += 1
        await pauses.rest()


async def _hear_once(channel: HttpChannel, listener: Listener, pauses: Pauses) -> None:
    """Hears until the stream ends. Raises NotOffered, and UpstreamFailure when it breaks."""
    wire = await channel.settled()
    offered = offered_of(wire, listener.interest)
    if offered == Interest():
        raise NotOffered
    if wire.is_modern:
        await _hear_modern(channel, wire, replace(listener, interest=offered), pauses)
        return
    try:
        with channel.line.news.listening(listener):
            await _hear_legacy(channel, wire, listener, pauses)
    finally:
        _unsubscribe(channel)


def offered_of(wire: Wire, interest: Interest) -> Interest:
    """What of it the upstream declared; all of it when it declared nothing at all."""
    if "capabilities" not in wire.server:
        return interest
    return Interest(
        tools=interest.tools and wire.offers("tools", "listChanged"),
        prompts=interest.prompts and wire.offers("prompts", "listChanged"),
        resources=interest.resources and wire.offers("resources", "listChanged"),
        uris=interest.uris if wire.offers("resources", "subscribe") else frozenset(),
    )


def wanted_by(interest: Interest) -> dict[str, Any]:
    """The parameters of `subscriptions/listen`."""
    wanted: dict[str, Any] = {
        "toolsListChanged": interest.tools,
        "promptsListChanged": interest.prompts,
        "resourcesListChanged": interest.resources,
        "resourceSubscriptions": sorted(interest.uris),
    }
    return {"notifications": {name: value for name, value in wanted.items() if value}}


# -- modern: a stream for each listener


async def _hear_modern(channel: HttpChannel, wire: Wire, listener: Listener, pauses: Pauses) -> None:
    stream = NewsReader(wire, heard=listener.hear, opened=listener.catch_up, pauses=pauses, stands=listener.stands)
    await channel.open_post(wire, Request("subscriptions/listen", wanted_by(listener.interest)), read=stream)
    if stream.is_wire_refused:
        channel.line.hang_up(wire)


# -- legacy: one stream for the session, heard by whoever holds `line.listening`


async def _hear_legacy(channel: HttpChannel, wire: Wire, listener: Listener, pauses: Pauses) -> None:
    line = channel.line
    await _subscribe(channel)
    if line.listening.locked():
        pauses.is_again = True
        listener.stands()
    async with line.listening:
        if line.wire is not wire:
            return
        if line.old is not None:
            listener.stands()
            await line.old.until_closed()
            line.hang_up(wire)
            return
        stream = NewsReader(
            wire,
            heard=line.hear,
            opened=line.news.catch_up,
            pauses=pauses,
            stands=listener.stands,
            say=partial(channel.say, wire),
        )
        await channel.open_get(wire, read=stream)
        if stream.is_wire_refused:
            line.hang_up(wire)


async def _subscribe(channel: HttpChannel) -> None:
    """Errors are the upstream's word that it has no such resource."""
    news = channel.line.news
    for uri in news.unsubscribed():
        request = Request("resources/subscribe", {"uri": uri}, uri)
        await channel.exchange(request, Talk(seconds=channel.line.spec.timeout_seconds))
        news.note_subscribed(uri)


def _unsubscribe(channel: HttpChannel) -> None:
    """In the background: our own task is ending."""
    wire = channel.line.wire
    for uri in channel.line.news.take_unwanted():
        if wire is not None and not wire.is_modern:
            channel.run_errand(Request("resources/unsubscribe", {"uri": uri}, uri))


class NewsReader:
    """Reads a stream of news until it ends; `opened` is called when it is not the first. Raises NotOffered, and
    UpstreamFailure when it breaks."""

    def __init__(
        self,
        wire: Wire,
        *,
        heard: Heard,
        opened: Callable[[], Awaitable[None]],
        pauses: Pauses,
        stands: Stands,
        say: Say | None = None,
    ) -> None:
        self._wire = wire
        self._heard = heard
        self._opened = opened
        self._pauses = pauses
        self._stands = stands
        self._say = say
        self.is_wire_refused = False
        """The session is gone, or the revision is not spoken any more."""

    async def __call__(self, answer: Answer) -> None:
        if answer.status == 200 and content_type(answer) == "text/event-stream":
            self._pauses.has_heard = True
            if self._pauses.is_again:
                await self._opened()
            if not self._wire.is_modern:
                self._stands()
            await self._hear(answer)
        else:
            await self._judge(answer)

    async def _judge(self, answer: Answer) -> None:
        """An answer that is no stream."""
        if answer.status >= 500 or answer.status in (401, 403, 409, 429) or 300 <= answer.status < 400:
            raise status_failure(answer.status)
        is_lost = answer.status == 404 or (answer.status == 400 and self._pauses.has_heard)
        if is_lost and self._wire.session_id is not None:
            self.is_wire_refused = True
            return
        if self._wire.is_modern and await self._error_code(answer) in MODERN_ERRORS:
            self.is_wire_refused = True
            return
        raise NotOffered

    async def _error_code(self, answer: Answer) -> object:
        pieces = bytearray()
        while (piece := await answer.chunk()) is not None and len(pieces) < MAX_EVENT_BYTES:
            pieces += piece
        error = decoded(bytes(pieces)).get("error") if content_type(answer) == "application/json" else None
        return error["code"] if is_error(error) else None

    async def _hear(self, answer: Answer) -> None:
        events = SseReader(max_event_bytes=MAX_EVENT_BYTES)
        loop = asyncio.get_running_loop()
        answer.deadline.reschedule(loop.time() + IDLE_SECONDS)
        while (piece := await answer.chunk()) is not None:
            answer.deadline.reschedule(loop.time() + IDLE_SECONDS)
            for payload in fed(events, piece):
                message = decoded(payload)
                if "method" not in message:
                    self._ended(message)
                    return
                await self._take(message)

    async def _take(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if isinstance(message.get("id"), str | int):
            if self._say is not None:
                await self._say(refusal_of(message))
        elif message["method"] == ACKNOWLEDGED:
            self._stands()
        elif isinstance(message["method"], str) and isinstance(params, dict):
            await self._heard(message["method"], params)

    def _ended(self, message: dict[str, Any]) -> None:
        error = message.get("error")
        if is_error(error) and error["code"] == METHOD_NOT_FOUND:
            raise NotOffered
