"""What waits for clients in this process: so much at once, not all of it for one agent, and never past the process."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from django.conf import settings

from gateway.mcp.attendance import Attendants
from gateway.mcp.errors import INTERNAL_ERROR, ProtocolError

CALLS, CALLS_OF_ONE = 256, 64
"""Calls that go on without the POST they came with; each holds an upstream and memory."""
ANSWERS, ANSWERS_OF_ONE = 2_000, 100
"""Requests that wait for what happens elsewhere: a task's result, a stream that is read again, a call's answer."""
HELD, HELD_OF_ONE = 2_000, 100
"""Calls that wait for humans; what they wait for is in the database and goes on without them."""
ENDING = "The gateway process that waited for this is about to end."


class Crowded(ProtocolError):
    """No place is free."""

    def __init__(self) -> None:
        text = "Too much waits here already; repeat this later."
        super().__init__(INTERNAL_ERROR, text, status=429, headers=((b"retry-after", b"5"),))


class Places:
    def __init__(self, total: int, of_one: int) -> None:
        self._total = total
        self._of_one = of_one
        self._taken: Counter[str] = Counter()
        self.count = 0
        self.is_closed = False

    @contextmanager
    def taken(self, agent_id: str) -> Iterator[None]:
        """Raises Crowded."""
        if self.is_closed or self.count >= self._total or self._taken[agent_id] >= self._of_one:
            raise Crowded
        self.count += 1
        self._taken[agent_id] += 1
        try:
            yield
        finally:
            self.count -= 1
            self._taken[agent_id] -= 1
            if not self._taken[agent_id]:
                del self._taken[agent_id]


class Waiting:
    """One of each process; all methods run on the event loop."""

    def __init__(self) -> None:
        running: int = settings.GATEWAY_MAX_RUNNING
        self.bodies = Places(running, max(1, running // 8))
        """Requests whose body is still to come; each keeps another request from being worked on."""
        self.calls = Places(CALLS, CALLS_OF_ONE)
        self.answers = Places(ANSWERS, ANSWERS_OF_ONE)
        self.held = Places(HELD, HELD_OF_ONE)
        self.attendants = Attendants()
        self.is_ending = False
        self._scopes: set[asyncio.Timeout] = set()
        self._beside: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def at_most(self, seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
        """Raises TimeoutError after so long, and as soon as the process begins to end."""
        async with asyncio.timeout(0 if self.is_ending else seconds) as scope:
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """Beside the request that began it, which is answered meanwhile."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def why(self, usually: str) -> str:
        """What to say when the time was up."""
        return ENDING if self.is_ending else usually

    def end(self) -> None:
        """Nobody is waited for any more, and nothing new begins to wait."""
        self.is_ending = self.calls.is_closed = self.held.is_closed = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)
