"""One running local program: its start, its lines in and out, what it says on standard error, its end."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from connectors import stdio_exec
from connectors.base import ChildSpec, UpstreamAuth, UpstreamFailure
from connectors.egress import NOT_SENT_IN_TIME, SEND_CLOCK

PIECE_BYTES: Final = 64 * 1024
ENDS_BYTES: Final = 512
"""What is kept of either end of a line that is too long."""
TAIL_BYTES: Final = 64 * 1024
TAIL_LINES: Final = 200
LONGEST_TAIL_LINE: Final = 500
LEAST_SECRET: Final = 4
DROP_PAUSE_SECONDS: Final = 0.01
CLOSING_SECONDS: Final = 0.5
"""For a program to end by itself once its input is closed."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Line(NamedTuple):
    """`is_cut`: it was too long, `text` is only its two ends."""

    text: bytes
    is_cut: bool


class LineReader:
    """Feed it what arrives; it never keeps more than one longest line."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._is_cut = False
        self.line_bytes = 0
        """How much of the line that is not complete has arrived."""

    def feed(self, piece: bytes) -> list[Line]:
        *complete, rest = piece.split(b"\n")
        lines = []
        for part in complete:
            self._add(part)
            lines.append(Line(bytes(self._line), self._is_cut))
            self._line.clear()
            self._is_cut = False
            self.line_bytes = 0
        self._add(rest)
        return lines

    def _add(self, part: bytes) -> None:
        self._line += part
        self.line_bytes += len(part)
        self._is_cut = self._is_cut or len(self._line) > self._max_bytes
        if self._is_cut:
            del self._line[ENDS_BYTES:-ENDS_BYTES]


class Tail:
    """The last of what a program said beside the protocol, its secrets masked when shown."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = tuple(sorted((each for each in secrets if len(each) >= LEAST_SECRET), key=len, reverse=True))
        self._kept = bytearray()
        self._is_cut = False

    def add(self, piece: bytes) -> None:
        self._kept += piece
        if len(self._kept) > TAIL_BYTES:
            self._is_cut = True
            del self._kept[:-TAIL_BYTES]

    def text(self) -> str:
        """The first line is left out where its beginning is lost: it may hold half a secret, which nobody finds."""
        said = self._kept.decode(errors="replace")
        if self._is_cut:
            said = said.partition("\n")[2]
        for secret in self._secrets:
            said = said.replace(secret, "[secret]")
        lines = said.splitlines()[-TAIL_LINES:]
        return "\n".join(line[:LONGEST_TAIL_LINE] for line in lines)


class Child:
    """A program under its guard (`stdio_exec`), with a private directory as its home."""

    def __init__(self, process: Process, home: str, tail: Tail) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._home = home
        self._input = process.stdin
        self._output = process.stdout
        self._writing = asyncio.Lock()
        self._overhearing = asyncio.create_task(_overhear(process.stderr, tail))
        self.tail = tail
        self._input.transport.set_write_buffer_limits(high=0)

    @staticmethod
    async def started(child: ChildSpec, auth: UpstreamAuth) -> "Child":
        """Raises OSError or ValueError when not even the guard can be started."""
        home = await asyncio.to_thread(tempfile.mkdtemp, prefix="gatehouse-")
        guard = (sys.executable, "-I", "-S", stdio_exec.__file__, str(os.getpid()), str(child.memory_mb))
        try:
            process = await asyncio.create_subprocess_exec(
                *guard,
                *child.command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=home,
                env=environment(child, auth, home=home),
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        return Child(process, home, Tail(tuple(value for _, value in auth.variables)))

    async def read(self) -> bytes:
        """Some bytes of its output; none once it is closed."""
        return await self._output.read(PIECE_BYTES)

    async def write(self, line: bytes, *, send_before_ns: int | None = None) -> None:
        """Begins only once everything before is written, so that nothing is sent later than it may be. Raises
        UpstreamFailure (never reached)."""
        try:
            async with self._writing:
                await self._input.drain()
                if send_before_ns is not None and time.clock_gettime_ns(SEND_CLOCK) > send_before_ns:
                    raise UpstreamFailure(
                        NOT_SENT_IN_TIME, "Nothing was sent: it took too long to begin.", reached=False
                    )
                self._input.write(line)
        except (ConnectionError, RuntimeError):
            raise UpstreamFailure("connect_failed", "The local server takes no more requests.", reached=False) from None

    async def end(self) -> None:
        """Asks it kindly, then not so kindly; afterwards nothing of it is left."""
        try:
            self._input.close()
            if not await self._ends_within(CLOSING_SECONDS):
                self._signal(signal.SIGTERM)
                if not await self._ends_within(stdio_exec.GRACE_SECONDS + stdio_exec.REAPING_SECONDS):
                    self._signal(signal.SIGKILL)
                    await self._process.wait()
        finally:
            self._signal(signal.SIGTERM)
            self._overhearing.cancel()
            await asyncio.gather(self._overhearing, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)

    async def drop_output(self) -> None:
        while await self.read():  # noqa: ASYNC110  (it reads, it does not poll)
            await asyncio.sleep(DROP_PAUSE_SECONDS)

    async def exit_status(self) -> str:
        """How it ended, in words, once its output is closed; all that it said is heard then."""
        if not await self._ends_within(CLOSING_SECONDS):
            return "it closed its standard output"
        await asyncio.wait((self._overhearing,), timeout=CLOSING_SECONDS)
        code = self._process.returncode or 0
        if code == stdio_exec.NOT_RUN:
            return "it could not be run"
        if code > stdio_exec.KILLED:
            return f"it was ended by signal {code - stdio_exec.KILLED}"
        return f"it ended with status {code}"

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
                return True
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def environment(child: ChildSpec, auth: UpstreamAuth, *, home: str) -> dict[str, str]:
    """All that the program gets to see: nothing of the gateway's own."""
    ours: Mapping[str, str] = {"PATH": PATH, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
    return {**ours, **child.environment, **dict(auth.variables)}


async def _overhear(stderr: asyncio.StreamReader, tail: Tail) -> None:
    """Slowly: a program that floods is held back by its own pipe."""
    while piece := await stderr.read(PIECE_BYTES):
        tail.add(piece)
        await asyncio.sleep(DROP_PAUSE_SECONDS)
