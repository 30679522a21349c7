"""How many requests a process works on at once: bursts wait their turn, what is beyond is sent away at once.

Without it a burst would be all in memory at the same time, each request as large as its sender likes.
"""

from typing import Any

from connectors.bulkhead import Bulkhead, NoRoom, NoTurn
from gateway.mcp.http import STREAM_TYPE, Receive, Scope, Send

WAIT_SECONDS = 5.0
RETRY_AFTER_SECONDS = b"1"
VISIT = "gatehouse.visit"
"""In the scope: the application says whose the request is."""
BODY = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"The gateway is busy. Retry later."}}'


class Gate:
    """ASGI application around another one. A request whose answer has become a stream no longer counts: streams live
    long, cost little, and have bounds of their own. So do calls that go on after their answer, as tasks do."""

    def __init__(self, app: Any, *, max_running: int, max_waiting: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._app = app
        self._wait_seconds = wait_seconds
        self.bulkhead = Bulkhead(max_running=max_running, max_waiting=max_waiting)
        self.shares = Shares(max_running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.bulkhead.enter(wait_seconds=self._wait_seconds)
        except (NoRoom, NoTurn):
            await _send_away(send)
            return
        visit = Visit(self, send)
        scope[VISIT] = visit
        try:
            await self._app(scope, receive, visit.send)
        finally:
            visit.leave()


class Shares:
    """How many of the requests at work are whose. An agent may have as many as are left free: half of all while it is
    alone, a third when another one wants as many. So there is always room for one who has none yet."""

    __slots__ = ("_taken", "_total", "free")

    def __init__(self, total: int) -> None:
        self._total = total
        self.free = total
        self._taken: dict[str, int] = {}

    def take(self, agent_id: str) -> bool:
        """False when the agent has its share; otherwise it must `give_back`."""
        taken = self._taken.get(agent_id, 0)
        if taken >= self.free:
            return False
        self._taken[agent_id] = taken + 1
        self.free -= 1
        return True

    def give_back(self, agent_id: str) -> None:
        self.free += 1
        self._taken[agent_id] -= 1
        if not self._taken[agent_id]:
            del self._taken[agent_id]


class Visit:
    """One request inside."""

    __slots__ = ("_agent_id", "_gate", "_is_inside", "_send")

    def __init__(self, gate: Gate, send: Send) -> None:
        self._gate = gate
        self._send = send
        self._is_inside = True
        self._agent_id = ""

    def belongs_to(self, agent_id: str) -> bool:
        """Said once it is known whose it is. False when that agent has its share of the places already."""
        if not self._gate.shares.take(agent_id):
            return False
        self._agent_id = agent_id
        return True

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and _is_stream(message["headers"]):
            self.leave()
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.leave()

    def leave(self) -> None:
        if self._is_inside:
            self._is_inside = False
            self._gate.bulkhead.leave()
            if self._agent_id:
                self._gate.shares.give_back(self._agent_id)


def _is_stream(headers: Any) -> bool:
    return STREAM_TYPE in headers


async def _send_away(send: Send) -> None:
    """The body is not read, so that the connection cannot be kept."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
        (b"retry-after", RETRY_AFTER_SECONDS),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})
