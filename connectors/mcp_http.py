"""MCP servers over HTTP as upstreams: streamable HTTP, modern (2026-07-28) and legacy, and the old HTTP+SSE."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from connectors.base import (
    SILENCE,
    Catalog,
    Discovery,
    Heard,
    Interest,
    Question,
    RawResult,
    Relay,
    Stands,
    UpstreamAuth,
    UpstreamFailure,
    UpstreamSpec,
    unheeded,
)
from connectors.egress import Egress
from connectors.mcp_channel import HttpChannel
from connectors.mcp_line import CANCEL_SECONDS, Line, Shared
from connectors.mcp_listen import listen
from connectors.mcp_lists import LISTS, list_all
from connectors.mcp_news import Listener
from connectors.mcp_rounds import converse
from connectors.mcp_settle import Powers, powers_of, relayed_powers
from connectors.mcp_talk import Talk
from connectors.mcp_transport import HttpTransport

T = TypeVar("T")

MAX_UPSTREAMS: Final = 4_096

Key = tuple[str, str, str, str]
"""Connector, its revision, identity of the secret, address."""


class McpHttp:
    """The connector of kind `mcp`."""

    def __init__(self, egress: Egress) -> None:
        self._shared = Shared(egress)
        self._lines: dict[Key, dict[Powers, Line]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        async def list_tools(channel: HttpChannel) -> Discovery:
            tools = await channel.list_tools()
            wire = await channel.settled()
            return Discovery(tools=tools, server=wire.server, protocol_version=wire.version)

        return await self._on_first_reachable(spec, auth, list_tools, relayed_powers(spec.relays))

    async def request(
        self, spec: UpstreamSpec, auth: UpstreamAuth, question: Question, relay: Relay = SILENCE
    ) -> RawResult:
        talk = Talk(
            relay,
            seconds=question.timeout_seconds or spec.timeout_seconds,
            polls_tasks=question.method == "tools/call" and relay.polls_tasks,
        )

        powers = powers_of(relay.powers)
        if len(spec.urls) == 1:
            channel = self._channel(spec, auth, spec.urls[0], powers)
            channel.line.users += 1
            try:
                return await converse(channel, question, talk)
            finally:
                channel.line.leave()
        return await self._on_first_reachable(
            spec, auth, lambda channel: converse(channel, question, talk), powers, is_repeatable=question.is_repeatable
        )

    async def catalog(self, spec: UpstreamSpec, auth: UpstreamAuth, method: str) -> Catalog:
        async def list_items(channel: HttpChannel) -> Catalog:
            return await list_all(channel, LISTS[method], spec)

        return await self._on_first_reachable(spec, auth, list_items)

    async def listen(
        self, spec: UpstreamSpec, auth: UpstreamAuth, interest: Interest, heard: Heard, stands: Stands = unheeded
    ) -> None:
        channels = [self._channel(spec, auth, url) for url in spec.urls]
        for channel in channels:
            channel.line.users += 1
        try:
            await listen(channels, Listener(interest, heard, stands))
        finally:
            for channel in channels:
                channel.line.leave()

    async def forget(self, connector_ids: Sequence[str]) -> None:
        for key in [key for key in self._lines if key[0] in connector_ids]:
            self._retire(key)

    async def close(self) -> None:
        for key in tuple(self._lines):
            self._retire(key)
        if self._ending:
            await asyncio.wait(self._ending, timeout=CANCEL_SECONDS)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._shared.errands.close()
        self._shared.egress.close()

    # -- choosing a line

    async def _on_first_reachable(
        self,
        spec: UpstreamSpec,
        auth: UpstreamAuth,
        act: Callable[[HttpChannel], Awaitable[T]],
        powers: Powers = (),
        *,
        is_repeatable: bool = False,
    ) -> T:
        """Tries the upstream's addresses in order, going on only while surely nothing has arrived, or where it does no
        harm if it has."""
        for url in spec.urls[:-1]:
            try:
                return await self._through(self._channel(spec, auth, url, powers), act)
            except UpstreamFailure as failure:
                never_arrived = failure.code == "connect_failed" and not failure.reached
                if not never_arrived and not (is_repeatable and failure.code in ("connect_failed", "reset")):
                    raise
        return await self._through(self._channel(spec, auth, spec.urls[-1], powers), act)

    async def _through(self, channel: HttpChannel, act: Callable[[HttpChannel], Awaitable[T]]) -> T:
        channel.line.users += 1
        try:
            return await act(channel)
        finally:
            channel.line.leave()

    def _channel(self, spec: UpstreamSpec, auth: UpstreamAuth, url: str, powers: Powers = ()) -> HttpChannel:
        """A modern upstream hears with each request what the caller can be asked, a legacy one once a session."""
        key = (spec.connector_id, spec.revision, auth.identity, url)
        kin = self._lines.get(key)
        if kin is None:
            self._make_room(key)
            kin = self._lines[key] = {}
            kin[()] = Line(spec, url, (), kin)
        line = kin[()]
        if powers and (line.wire is None or not line.wire.is_modern):
            line = kin.get(powers) or kin.setdefault(powers, Line(spec, url, powers, kin))
        return HttpChannel(line, auth, self._shared)

    def _make_room(self, newcomer: Key) -> None:
        """The lines of another configuration of the same connector are not needed any more."""
        for key in [key for key in self._lines if key[0] == newcomer[0] and key[1] != newcomer[1]]:
            self._retire(key)
        if len(self._lines) >= MAX_UPSTREAMS:
            self._retire(next(iter(self._lines)))

    def _retire(self, key: Key) -> None:
        """Nobody new gets its lines; what still runs over them comes to its end."""
        task = asyncio.create_task(self._end(key[-1], tuple(self._lines.pop(key).values())))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, url: str, lines: Sequence[Line]) -> None:
        """Sessions are ended as the specification wants it, when nobody uses them any more."""
        for line in lines:
            await line.unused()
            wire, has_session = line.wire, line.old is None
            if wire is None:
                continue
            line.hang_up(wire)
            if has_session and wire.session_id is not None:
                with suppress(UpstreamFailure):
                    await HttpTransport(line, line.auth, self._shared).end_session(wire)
        if all(key[-1] != url for key in self._lines):
            self._shared.legacy_urls.discard(url)
            self._shared.egress.forget(url)
