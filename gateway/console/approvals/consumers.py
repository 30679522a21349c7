"""The approver's screens while somebody looks at them. What a browser sends is ignored.

Rights may end while a socket is open, so person, session and request are read anew for every look.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from gateway.console.approvals import live
from governance.models import User

LOOK_SECONDS = 1.0
DONE = 1000
GONE = 4404


class Watching(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Says how things are whenever `mark` differs from what it was; ends when there is none any more."""

    _looking: "asyncio.Task[None] | None" = None
    _told: Any = None

    async def connect(self) -> None:
        await self.accept()
        self._looking = asyncio.create_task(self._look())

    async def disconnect(self, code: int) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """There is nothing to say to us."""

    async def _look(self) -> None:
        is_there, message = await self._news()
        while is_there:
            if message is not None:
                await self.send(orjson.dumps(message).decode())
                if message.get("is_settled"):
                    await self.close(DONE)
                    return
            await asyncio.sleep(LOOK_SECONDS)
            is_there, message = await self._news()
        await self.close(GONE)

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _news(self) -> tuple[bool, dict[str, Any] | None]:
        """Whether it is still there for her, and what to say if it has changed."""
        person, now = _signed_in(self.scope), datetime.now(UTC)
        mark = self.mark(person, now) if person is not None else None
        if person is None or mark is None or mark == self._told:
            return mark is not None, None
        self._told = mark
        return True, self.message(person, now)

    def mark(self, person: User, now: datetime) -> Any:
        raise AssertionError("each screen has its own")

    def message(self, person: User, now: datetime) -> dict[str, Any] | None:
        raise AssertionError("each screen has its own")


class RequestConsumer(Watching):
    @property
    def key(self) -> UUID:
        return UUID(str(self.scope["url_route"]["kwargs"]["key"]))

    def mark(self, person: User, now: datetime) -> Any:
        return live.mark_of_request(person, self.key, now)

    def message(self, person: User, now: datetime) -> dict[str, Any] | None:
        return live.of_request(person, self.key, now)


class InboxConsumer(Watching):
    def mark(self, person: User, now: datetime) -> Any:
        return live.of_inbox(person, now)["keys"]

    def message(self, person: User, now: datetime) -> dict[str, Any] | None:
        return live.of_inbox(person, now)


def _signed_in(scope: dict[str, Any]) -> User | None:
    """Who holds the session the socket was opened with, read anew."""
    request = HttpRequest()
    request.session = SessionStore(scope["session"].session_key)
    person = get_user(request)
    return person if isinstance(person, User) and person.is_active else None
