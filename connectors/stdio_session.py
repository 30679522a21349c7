"""MCP with one running local program: lines in both directions, until it ends."""

import asyncio
import itertools
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from connectors.base import Heard, UpstreamFailure, too_large
from connectors.mcp_line import Errands
from connectors.mcp_lists import ToolNeeds
from connectors.mcp_peer import Reply, Request, Wire, bad_answer, encode, encode_notice, leaves_work_behind
from connectors.mcp_settle import PROBE
from connectors.mcp_switchboard import Switchboard
from connectors.mcp_talk import Talk
from connectors.stdio_child import Child, Line, LineReader

MAX_GARBAGE: Final = 100
"""Lines on standard output that are no messages: forgiven, as many programs greet there, but not without end."""
OVERLONG_FACTOR: Final = 16
"""A line that goes on and on ends the program at this many times the longest."""
COSTS_PER_SECOND: Final = 10_000
"""Lines; a piece of a line counts as several. Who says more is held back by its own pipe."""
PIECE_COST: Final = 8

LAST_WORDS_SECONDS: Final = 0.5
"""For reading what a program wrote before it ended."""

_ID: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*[,}]')


class Session:
    """One life of a program. What runs when it ends is broken off."""

    def __init__(self, child: Child, *, max_bytes: int, heard: Heard, request_ids: "itertools.count[int]") -> None:
        self.child = child
        self.wire: Wire = PROBE
        self.log_level = ""
        self.needs: Mapping[str, ToolNeeds] | None = None
        self._lines = LineReader(max_bytes=max_bytes)
        self._max_bytes = max_bytes
        self._board = Switchboard(self._say, heard=heard)
        self._request_ids = request_ids
        self._errands = Errands()
        self._garbage = 0
        self._fault = ""
        self._hearing = asyncio.create_task(self._hear())

    @property
    def is_open(self) -> bool:
        return not self._hearing.done()

    async def until_ended(self) -> None:
        await asyncio.wait((self._hearing,))

    async def why_ended(self) -> str:
        """In words, once it has."""
        return self._fault or await self.child.exit_status()

    async def end(self) -> None:
        """Ends the program, and what still runs with it. Its output is read to the end: else it is never closed."""
        await self._errands.close()
        reading = asyncio.create_task(self._read_to_the_end())
        await self.child.end()
        await asyncio.wait((reading,), timeout=LAST_WORDS_SECONDS)
        for task in (reading, self._hearing):
            task.cancel()
        await asyncio.gather(reading, self._hearing, return_exceptions=True)

    async def _read_to_the_end(self) -> None:
        await asyncio.wait((self._hearing,))
        await self.child.drop_output()

    # -- requests

    async def exchange(self, wire: Wire, request: Request, talk: Talk) -> Reply:
        """Raises UpstreamFailure."""
        started = time.perf_counter()
        request_id = next(self._request_ids)
        try:
            reply = await self._carried(wire, request, talk, request_id)
        except (asyncio.CancelledError, UpstreamFailure) as broken:
            if leaves_work_behind(broken) and request.method not in ("initialize", "server/discover"):
                self.cancel(request_id)
            raise
        finally:
            talk.upstream_seconds += time.perf_counter() - started
        talk.size_bytes += reply.size_bytes
        return reply

    async def _carried(self, wire: Wire, request: Request, talk: Talk, request_id: int) -> Reply:
        line = _as_line(encode(wire, request, request_id=request_id, talk=talk))
        reached = False
        try:
            async with (
                asyncio.timeout(talk.seconds_left(request.seconds)) as deadline,
                self._board.running(request_id, talk, deadline) as running,
            ):
                if not self.is_open:
                    raise UpstreamFailure("connect_failed", "The local server has just ended.", reached=False)
                await self.child.write(line, send_before_ns=request.send_before_ns)
                reached = True
                return Reply(wire, await running.answer, running.size_bytes)
        except TimeoutError:
            raise UpstreamFailure("timeout", "The upstream did not answer in time.", reached=reached) from None

    async def open_stream(self, request: Request) -> int:
        """Sends a request whose answer nobody awaits, as it comes when all is over; its id, to cancel it by. Raises
        UpstreamFailure."""
        request_id = next(self._request_ids)
        await self.child.write(_as_line(encode(self.wire, request, request_id=request_id, talk=Talk(seconds=0))))
        return request_id

    async def tell(self, notice: Request) -> None:
        """Raises UpstreamFailure."""
        await self.child.write(_as_line(encode_notice(notice)))

    def cancel(self, request_id: int) -> None:
        """In the background, because our own task is ending. On this transport both eras need to be told."""
        if self.is_open:
            params = {"requestId": request_id, "reason": "call ended"}
            self._errands.start(self.tell(Request("notifications/cancelled", params)))

    def run_errand(self, request: Request, *, seconds: float) -> None:
        """In the background, its answer unheard."""
        if self.is_open:
            self._errands.start(self.exchange(self.wire, request, Talk(seconds=seconds, polls_tasks=True)))

    async def _say(self, body: bytes) -> None:
        with suppress(UpstreamFailure):
            await self.child.write(_as_line(body))

    # -- what the program says

    async def _hear(self) -> None:
        gone = UpstreamFailure("reset", "The local server ended while it worked on this.", reached=True)
        try:
            await self._hear_all()
        except UpstreamFailure as failure:
            self._fault = failure.message.rstrip(".")
            gone = failure
        finally:
            self._board.fail_all(gone)

    async def _hear_all(self) -> None:
        pace = _Pace()
        while piece := await self.child.read():
            lines = self._lines.feed(piece)
            if self._lines.line_bytes > self._max_bytes * OVERLONG_FACTOR:
                raise too_large()
            for line in lines:
                await pace.keep(1)
                await self._take(line)
            await pace.keep(PIECE_COST)

    async def _take(self, line: Line) -> None:
        if line.is_cut:
            self._board.fail(_named_in(line.text), too_large())
            return
        try:
            if line.text.strip():
                await self._board.take(line.text)
        except UpstreamFailure:
            self._garbage += 1
            self.child.tail.add(line.text[:200] + b"\n")
            if self._garbage > MAX_GARBAGE:
                raise bad_answer("The local server writes what is no MCP on its standard output.") from None


class _Pace:
    """Holds back whoever says too much."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._cost = 0

    async def keep(self, cost: int) -> None:
        self._cost += cost
        if self._cost >= COSTS_PER_SECOND // 10:
            await asyncio.sleep(max(0.0, self._since + 0.1 - self._loop.time()))
            self._since, self._cost = self._loop.time(), 0


def _as_line(body: bytes) -> bytes:
    """A line break within would begin a message of its own."""
    if b"\n" in body:
        raise UpstreamFailure("bad_request", "The request cannot be written on one line.", reached=False)
    return body + b"\n"


def _named_in(ends: bytes) -> Iterator[int]:
    """The ids that the ends of a message name; the true one is among them, as it stands first or last."""
    return (int(found) for found in _ID.findall(ends))
