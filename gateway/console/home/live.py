"""The home page while somebody looks at it: every few seconds the parts that have changed.

Rights may end while the socket is open, so person, session and permissions are read anew for every round.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from gateway.console.home.page import parts_for
from governance.models import User

EVERY_SECONDS = 4.0
NOT_ALLOWED = 1000
"""An ordinary close: the page does not come back for more."""


class HomeConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Sends `{part: html}`. What a browser sends is ignored."""

    async def connect(self) -> None:
        self._shown: dict[str, str] = {}
        await self.accept()
        self._rounds = asyncio.create_task(self._run())

    async def disconnect(self, code: int) -> None:
        self._rounds.cancel()
        with suppress(asyncio.CancelledError):
            await self._rounds

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """There is nothing to say to us."""

    async def _run(self) -> None:
        while (parts := await self._parts()) is not None:
            changed = {name: html for name, html in parts.items() if self._shown.get(name) != html}
            self._shown = parts
            if changed:
                await self.send(orjson.dumps(changed).decode())
            await asyncio.sleep(EVERY_SECONDS)
        await self.close(NOT_ALLOWED)

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _parts(self) -> dict[str, str] | None:
        person = _signed_in(self.scope)
        return parts_for(person, datetime.now(UTC)) if person else None


def _signed_in(scope: dict[str, Any]) -> User | None:
    """Who holds the session the socket was opened with, read anew, if she may still enter the admin."""
    request = HttpRequest()
    request.session = SessionStore(scope["session"].session_key)
    person = get_user(request)
    return person if isinstance(person, User) and person.is_active and person.is_staff else None
