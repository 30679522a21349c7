"""What stands before the pages in their process: turns for requests, and who may open a WebSocket."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from gateway.mcp.guards import is_our_host
from gateway.mcp.http import Receive, Scope, Send

App = Callable[[Scope, Receive, Send], Awaitable[None]]

TURNS = 16


class InTurns:
    """Lets a bounded number of requests into Django at once: each takes a thread and a database connection.

    A turn lasts from the end of the request's body to the beginning of the answer, so that a client which sends
    or reads slowly keeps nobody else waiting.
    """

    def __init__(self, app: App, turns: int = TURNS) -> None:
        self._app = app
        self._turns = asyncio.Semaphore(turns)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        turn = Turn(self._turns)

        async def receive_in_turn() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                await turn.take()
            return message

        async def send_and_pass_on(message: MutableMapping[str, Any]) -> None:
            turn.give_back()
            await send(message)

        try:
            await self._app(scope, receive_in_turn, send_and_pass_on)
        finally:
            turn.give_back()


class Turn:
    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns = turns
        self._is_held = False

    async def take(self) -> None:
        await self._turns.acquire()
        self._is_held = True

    def give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._turns.release()


class OurScreensOnly:
    """WebSockets only from a page of this very origin (cross-site WebSocket hijacking), for somebody signed in.

    Browsers send cookies along with any site's WebSocket, and of `localhost` with any port's: hence same origin.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_same_origin(scope) and scope["user"].is_authenticated:
            await self._app(scope, receive, send)
        else:
            await refuse(scope, receive, send)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Before it was accepted, closing a WebSocket answers 403."""
    await receive()
    await send({"type": "websocket.close"})


def is_same_origin(scope: Scope) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin, host = headers.get(b"origin", ""), headers.get(b"host", "")
    scheme = "https" if scope["scheme"] == "wss" else "http"
    return is_our_host(host) and origin in (settings.PUBLIC_URL, f"{scheme}://{host}")
