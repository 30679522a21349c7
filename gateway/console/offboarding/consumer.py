"""The progress of one offboarding, pushed while it is under way. Whoever watches also moves it on."""

import asyncio
import time
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from gateway.offboardings import follow
from gateway.receipts.words import live_message
from governance.duties import still_may
from governance.models import Offboarding

PERMISSION = "governance.view_offboarding"
FORBIDDEN = 4403
GONE = 4404
DONE = 1000
LOOK_SECONDS = 0.1
ASK_AGAIN_SECONDS = 2.0


class ProgressConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends what changed as JSON until it is done; asks nothing of the client."""

    _watching: "asyncio.Task[None] | None" = None

    async def connect(self) -> None:
        if not await self._may():
            await self.close(FORBIDDEN)
            return
        await self.accept()
        self._watching = asyncio.create_task(self._watch())

    async def disconnect(self, code: int) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    async def _may(self) -> bool:
        user = self.scope.get("user")
        return user is not None and await database_sync_to_async(still_may)(user.pk, PERMISSION)

    async def _watch(self) -> None:
        told, asked_at = None, time.monotonic()
        while True:
            if time.monotonic() - asked_at > ASK_AGAIN_SECONDS:
                if not await self._may():
                    await self.close(FORBIDDEN)
                    return
                asked_at = time.monotonic()
            message = await self._look()
            if message is None:
                await self.close(GONE)
                return
            if message != told:
                await self.send_json(message)
                told = message
            if message["done"]:
                await self.close(DONE)
                return
            await asyncio.sleep(LOOK_SECONDS)

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _look(self) -> dict[str, Any] | None:
        try:
            return live_message(follow(self.scope["url_route"]["kwargs"]["offboarding_id"]))
        except Offboarding.DoesNotExist:
            return None
