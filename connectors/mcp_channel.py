"""An MCP upstream over HTTP: settling how to speak to it, and what a request needs before it may go."""

from dataclasses import replace
from typing import Any, Final

import orjson

from connectors.base import Headers, UpstreamFailure
from connectors.mcp_headers import header_lines
from connectors.mcp_line import CANCEL_SECONDS
from connectors.mcp_lists import TOOLS, ToolNeeds, list_all, needs_of
from connectors.mcp_old_sse import OldSse
from connectors.mcp_peer import (
    HEADER_MISMATCH,
    MODERN_ERRORS,
    UNSUPPORTED_VERSION,
    Reply,
    Request,
    Wire,
    status_failure,
)
from connectors.mcp_settle import DISCOVER, HANDSHAKE, INITIALIZED, PROBE, initialize, legacy_wire, modern_wire
from connectors.mcp_talk import Talk, severity
from connectors.mcp_transport import HttpTransport

TURNED_AWAY: Final = -32000
_MAYBE_OLD: Final = frozenset((400, 404, 405))


class HttpChannel(HttpTransport):
    """The Channel of MCP over HTTP."""

    __slots__ = ()

    # -- the Channel protocol

    async def settled(self) -> Wire:
        return self.line.wire or await self._settled_by_the_first()

    async def _settled_by_the_first(self) -> Wire:
        async with self.line.lock:
            return self.line.wire or self.line.settle(await self._negotiated(), self._auth)

    async def exchange(self, request: Request, talk: Talk) -> Reply:
        """It is repeated once, and only when the upstream said that it did not take it: the session is gone, the
        revision is not spoken (any more), a mirrored header is missing."""
        wire, ready, extra = self._ready(request, talk) or await self._prepared(request, talk)
        reply = await self.carried(wire, ready, talk, extra)
        if reply.status >= 400 and self._was_not_taken(wire, reply):
            wire, ready, extra = await self._prepared(request, talk)
            reply = await self.carried(wire, ready, talk, extra)
        return reply

    def cancel_task(self, task_id: str) -> None:
        self.run_errand(Request("tasks/cancel", {"taskId": task_id}, task_id))

    def run_errand(self, request: Request) -> None:
        """In the background, its answer unheard."""
        self._shared.errands.start(self.exchange(request, Talk(seconds=CANCEL_SECONDS, polls_tasks=True)))

    # -- before a request may go

    def _ready(self, request: Request, talk: Talk) -> tuple[Wire, Request, Headers] | None:
        """What most requests need: nothing but a settled line."""
        line = self.line
        if line.wire is None or talk.log_level or (request.method == "tools/call" and line.needs != {}):
            return None
        return line.wire, request, ()

    async def _prepared(self, request: Request, talk: Talk) -> tuple[Wire, Request, Headers]:
        """All that must be known and done before; failing here, the request was never sent."""
        try:
            wire = await self.settled()
            if talk.log_level and not wire.is_modern:
                await self._want_logs(wire, talk.log_level)
            needs = await self._needs(request)
        except UpstreamFailure as failure:
            raise UpstreamFailure(failure.code, failure.message, reached=False) from failure
        if needs is None:
            return wire, request, ()
        if not wire.is_modern:
            return wire, request.as_task() if needs.is_task(talk) else request, ()
        return wire, request, header_lines(needs.headers, _arguments(request)) if needs.headers else ()

    async def _needs(self, request: Request) -> ToolNeeds | None:
        if request.method != "tools/call":
            return None
        if self.line.needs is None:
            async with self.line.needs_lock:
                if self.line.needs is None:
                    await self.list_tools()
        return (self.line.needs or {}).get(request.name)

    async def list_tools(self) -> tuple[dict[str, Any], ...]:
        """All tools that may be used; what calling them takes is remembered."""
        catalog = await list_all(self, TOOLS, self.line.spec)
        wire = await self.settled()
        needs = needs_of(catalog.items, wire)
        self.line.needs = {name: need for name, need in needs.items() if need.is_any}
        return tuple(tool for tool in catalog.items if tool["name"] in needs)

    async def _want_logs(self, wire: Wire, level: str) -> None:
        """A session has one level for all who use it: the most talkative that anybody wanted. Each hears only what it
        wants itself."""
        line = self.line
        is_enough = line.log_level and severity(line.log_level) <= severity(level)
        if is_enough or not wire.offers("logging"):
            return
        line.log_level = level
        talk = Talk(seconds=line.spec.timeout_seconds)
        await self.carried(wire, Request("logging/setLevel", {"level": level}), talk)

    def _was_not_taken(self, wire: Wire, reply: Reply) -> bool:
        line = self.line
        if wire.session_id is not None and (reply.status == 404 or _is_turned_away(reply)):
            line.hang_up(wire)
            return True
        if reply.status == 400 and reply.error_code == HEADER_MISMATCH and wire.is_modern:
            line.forget_needs()
            return True
        is_other_era = reply.error_code == UNSUPPORTED_VERSION if wire.is_modern else reply.error_code in MODERN_ERRORS
        if reply.status == 400 and is_other_era:
            self._shared.legacy_urls.discard(line.url)
            line.hang_up(wire)
            return True
        if reply.status in (404, 405) and reply.message is None:
            self._shared.legacy_urls.discard(line.url)
            line.hang_up(wire)
        return False

    # -- settling how to speak

    async def _negotiated(self) -> Wire:
        """Modern first, as the specification advises; network errors, 5xx and 401/403 are no verdict and
        propagate."""
        legacy_urls, url = self._shared.legacy_urls, self.line.url
        if url not in legacy_urls:
            wire = await self._probed()
            if wire is not None:
                return wire
            legacy_urls.add(url)
        wire = await self._initialized()
        if wire.is_modern:
            legacy_urls.discard(url)
        return wire

    async def _probed(self) -> Wire | None:
        try:
            return modern_wire(await self.carried(PROBE, DISCOVER, self._short_talk()))
        except UpstreamFailure as failure:
            if failure.code == "bad_answer":
                return None
            raise

    async def _initialized(self) -> Wire:
        request = initialize(self.line.powers)
        reply = await self.carried(HANDSHAKE, request, self._short_talk())
        if reply.status in _MAYBE_OLD and reply.error_code not in MODERN_ERRORS:
            wire = await self._initialized_the_old_way()
            if wire is not None:
                return wire
        if reply.message is None:
            raise status_failure(reply.status)
        wire = legacy_wire(reply)
        if not wire.is_modern:
            await self.tell(wire, INITIALIZED)
        return wire

    async def _initialized_the_old_way(self) -> Wire | None:
        """HTTP+SSE of 2024-11-05, if that is what this upstream speaks."""
        line = self.line
        old = await OldSse.opened(self._shared.egress, line.url, self._auth, line.spec, heard=line.hear)
        if old is None:
            return None
        line.old = old
        try:
            reply = await self.carried(HANDSHAKE, initialize(line.powers), self._short_talk())
            wire = replace(legacy_wire(reply, knows_oldest=True), session_id=old.endpoint)
            await self.tell(wire, INITIALIZED)
        except BaseException:
            line.old = None
            old.close()
            raise
        return wire


def _is_turned_away(reply: Reply) -> bool:
    """Servers after the examples of the TypeScript SDK answer so, instead of 404, to a session they do not know (any
    more). What they turn away with HTTP 400 they have not taken."""
    return reply.status == 400 and reply.error_code == TURNED_AWAY and not reply.wire.is_modern


def _arguments(request: Request) -> dict[str, Any]:
    arguments: dict[str, Any] = orjson.loads(orjson.dumps(request.params.get("arguments", {})))
    return arguments
