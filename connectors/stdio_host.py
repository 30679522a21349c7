"""Keeping a local program running: started when somebody needs it, again after it broke, ended when nobody does."""

import asyncio
import itertools
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from connectors.base import ChildSpec, ProgramState, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.mcp_line import CANCEL_SECONDS
from connectors.mcp_lists import TOOLS, list_all, needs_of
from connectors.mcp_news import News
from connectors.mcp_peer import Reply, Request, Wire
from connectors.mcp_settle import (
    DISCOVER,
    HANDSHAKE,
    INITIALIZED,
    PROBE,
    Powers,
    initialize,
    legacy_wire,
    modern_wire,
)
from connectors.mcp_talk import Talk, severity
from connectors.stdio_child import Child
from connectors.stdio_session import Session

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 3.0
"""A legacy program may leave what it does not know unanswered."""
LONGEST_START_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 30.0
"""A program that lived this long was a good one: what it broke with counts as the first time."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 120.0
WORTH_WAITING_SECONDS: Final = 1.0
"""A pause so short that a request waits for its end."""
LONGEST_TOLD: Final = 2_000


class Host:
    """The place of one program: the connector as it was configured, one secret, one agent or all, and `powers`: what
    those who use it can be asked."""

    def __init__(self, spec: UpstreamSpec, powers: Powers, *, idle_seconds: float) -> None:
        assert spec.child is not None
        self.spec = spec
        self._powers = powers
        self.news = News()
        self._program: ChildSpec = spec.child
        self._idle_seconds = idle_seconds
        self._request_ids = itertools.count(1)
        self._users = 0
        self._unused = asyncio.Event()
        self._idling: asyncio.TimerHandle | None = None
        self._life: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self.is_legacy = False
        """Found out, and remembered over its lives."""
        self._failures = 0
        self._not_before = 0.0
        self._reason = ""
        self._said = ""

    # -- who uses it

    @contextmanager
    def in_use(self) -> Iterator[None]:
        self._users += 1
        self._unused.clear()
        if self._idling is not None:
            self._idling.cancel()
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self._unused.set()
                self._idling = asyncio.get_running_loop().call_later(self._idle_seconds, self._stop)

    @property
    def is_idle(self) -> bool:
        return self._users == 0

    async def retired(self) -> None:
        """Ends it as soon as nobody uses it any more."""
        if self._users:
            await self._unused.wait()
        await self.end()

    async def end(self) -> None:
        """At once, whatever runs."""
        if self._idling is not None:
            self._idling.cancel()
        self._stop()
        if self._life is not None:
            await asyncio.wait((self._life,))

    def _stop(self) -> None:
        if self._life is not None:
            self._life.cancel()

    def state(self, agent_id: str) -> ProgramState:
        session = self.session
        said = session.child.tail.text() if session is not None else self._said
        pid = session.child.pid if session is not None else 0
        due = max(0.0, self._not_before - _now())
        return ProgramState(agent_id, pid, self._failures, due, self._reason, said[-LONGEST_TOLD:])

    # -- its lives

    @property
    def session(self) -> Session | None:
        """The one that runs, if one does and is not to end."""
        if not self._opened.done() or self._opened.exception() or self._life is None or self._life.cancelling():
            return None
        session = self._opened.result()
        return session if session.is_open else None

    async def opened(self, auth: UpstreamAuth) -> Session:
        """The running session; it is started for the first who asks. Raises UpstreamFailure (never reached)."""
        if (session := self.session) is not None:
            return session
        while self._opened.done() and self._life is not None and not self._life.done():
            await asyncio.wait((self._life,))
        if self._life is None or self._life.done():
            self._opened = asyncio.get_running_loop().create_future()
            self._life = asyncio.create_task(self._live(auth, self._opened), name=f"program of {self.spec.name}")
        return await asyncio.shield(self._opened)

    async def _live(self, auth: UpstreamAuth, opened: "asyncio.Future[Session]") -> None:
        """One life, from waiting for its turn to clearing up after it. Cancelled, it ends the program."""
        try:
            await self._await_turn()
            session = await self._begun(auth)
            try:
                session.wire = await self._settled(session)
                opened.set_result(session)
                await self._until_broken(session)
            finally:
                await session.end()
                self.news.forget_subscriptions()
                logger.info("%s: ended process %d", self.spec.name, session.child.pid)
        except UpstreamFailure as failure:
            _fail(opened, failure)
        finally:
            _fail(opened, UpstreamFailure("connect_failed", "The local server is being ended.", reached=False))

    async def _await_turn(self) -> None:
        pause = self._not_before - _now()
        if pause > WORTH_WAITING_SECONDS:
            text = f"The local server failed {self._failures} times ({self._reason}); it is started in {pause:.0f} s."
            raise UpstreamFailure("connect_failed", text, reached=False)
        await asyncio.sleep(max(0.0, pause))

    async def _begun(self, auth: UpstreamAuth) -> Session:
        try:
            child = await Child.started(self._program, auth)
        except (OSError, ValueError) as error:
            raise self._failed(f"it could not be started ({type(error).__name__})") from error
        logger.info("%s: started %s as process %d", self.spec.name, list(self._program.command), child.pid)
        return Session(
            child, max_bytes=self.spec.max_result_bytes, heard=self.news.spread, request_ids=self._request_ids
        )

    async def _settled(self, session: Session) -> Wire:
        try:
            async with asyncio.timeout(min(self.spec.timeout_seconds, LONGEST_START_SECONDS)):
                return await self._negotiated(session)
        except TimeoutError:
            raise self._failed("it did not answer in time", said=session.child.tail.text()) from None
        except UpstreamFailure as failure:
            reason = failure.message.rstrip(".") if session.is_open else await session.why_ended()
            raise self._failed(reason, said=session.child.tail.text()) from failure

    async def _until_broken(self, session: Session) -> None:
        started_at = _now()
        await session.until_ended()
        if _now() - started_at > STEADY_SECONDS:
            self._failures = 0
        self._failed(await session.why_ended(), said=session.child.tail.text())

    def _failed(self, reason: str, *, said: str = "") -> UpstreamFailure:
        """Notes it: the next start waits, longer each time, by chance so that not all come back at once."""
        self._failures += 1
        self._reason = reason
        self._said = said
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** (self._failures - 1), LONGEST_PAUSE_SECONDS)
        self._not_before = _now() + pause * random.uniform(0.5, 1.0)
        logger.warning("%s: %s; it said last: %s", self.spec.name, reason, said[-LONGEST_TOLD:])
        return UpstreamFailure("connect_failed", f"The local server failed: {reason}.", reached=False, detail=said)

    # -- how it wants to be spoken to

    async def _negotiated(self, session: Session) -> Wire:
        """Modern first; any other answer, or none, means legacy."""
        if not self.is_legacy and (wire := await self._probed(session)) is not None:
            return wire
        reply = await session.exchange(HANDSHAKE, initialize(self._powers), self._talk())
        wire = legacy_wire(reply, knows_oldest=True)
        self.is_legacy = not wire.is_modern
        if self.is_legacy:
            await session.tell(INITIALIZED)
        return wire

    async def _probed(self, session: Session) -> Wire | None:
        try:
            return modern_wire(await session.exchange(PROBE, DISCOVER, Talk(seconds=PROBE_SECONDS)))
        except UpstreamFailure as failure:
            if failure.code in ("bad_answer", "timeout"):
                return None
            raise

    def _talk(self) -> Talk:
        return Talk(seconds=self.spec.timeout_seconds)


class StdioChannel:
    """A host as one call uses it, with the secret that is open for this call."""

    def __init__(self, host: Host, auth: UpstreamAuth) -> None:
        self.host = host
        self._auth = auth

    async def opened(self) -> Session:
        """Raises UpstreamFailure (never reached)."""
        return await self.host.opened(self._auth)

    # -- the Channel protocol

    async def settled(self) -> Wire:
        return (await self.opened()).wire

    async def exchange(self, request: Request, talk: Talk) -> Reply:
        """Never repeated: a program that runs has one revision, and no session apart from its life."""
        session, request = await self._prepared(request, talk)
        return await session.exchange(session.wire, request, talk)

    def cancel_task(self, task_id: str) -> None:
        if (session := self.host.session) is not None:
            session.run_errand(Request("tasks/cancel", {"taskId": task_id}, task_id), seconds=CANCEL_SECONDS)

    # -- before a request may go

    async def _prepared(self, request: Request, talk: Talk) -> tuple[Session, Request]:
        """Failing here, the request was never sent."""
        try:
            session = await self.opened()
            if talk.log_level and not session.wire.is_modern:
                await self._want_logs(session, talk.log_level)
            if await self._is_task(session, request, talk):
                request = request.as_task()
        except UpstreamFailure as failure:
            raise UpstreamFailure(failure.code, failure.message, reached=False, detail=failure.detail) from failure
        return session, request

    async def _want_logs(self, session: Session, level: str) -> None:
        """A session has one level for all who use it: the most talkative that anybody wanted."""
        is_enough = session.log_level and severity(session.log_level) <= severity(level)
        if is_enough or not session.wire.offers("logging"):
            return
        session.log_level = level
        talk = Talk(seconds=self.host.spec.timeout_seconds)
        await session.exchange(session.wire, Request("logging/setLevel", {"level": level}), talk)

    async def _is_task(self, session: Session, request: Request, talk: Talk) -> bool:
        if request.method != "tools/call" or not session.wire.takes_tasks:
            return False
        if session.needs is None:
            await self.list_tools()
        needs = (session.needs or {}).get(request.name)
        return needs is not None and needs.is_task(talk)

    async def list_tools(self) -> tuple[dict[str, Any], ...]:
        """All of them; which are called as tasks is remembered."""
        catalog = await list_all(self, TOOLS, self.host.spec)
        session = await self.opened()
        if not session.wire.is_modern:
            session.needs = needs_of(catalog.items, session.wire)
        return catalog.items


def _fail(opened: "asyncio.Future[Session]", failure: UpstreamFailure) -> None:
    """Nobody may be waiting for it any more."""
    if not opened.done():
        opened.set_exception(failure)
        opened.exception()


def _now() -> float:
    return asyncio.get_running_loop().time()
