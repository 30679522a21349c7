"""The list of checks that ticks in live while a connector is tried. Closing the page ends the trial."""

import asyncio
import logging
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from gateway.asked import PERMISSION, AlreadyRunning
from gateway.console.acting import person_named
from gateway.console.connecting.examine import try_out
from gateway.trial_checks import Check
from governance.duties import still_may
from governance.models import Connector

logger = logging.getLogger(__name__)

FORBIDDEN = 4403
GONE = 4404
DONE = 1000
BROKEN = 1011
BUSY = "Somebody is testing this connector, or many others, right now. Try again when that is done."


class TrialConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends one JSON object per check, then {"done": true, "ok": ...}; asks nothing of the client."""

    _trial: "asyncio.Task[None] | None" = None

    async def connect(self) -> None:
        user = self.scope.get("user")
        if user is None or not await database_sync_to_async(still_may)(user.pk, PERMISSION):
            await self.close(FORBIDDEN)
            return
        connector = await self._connector()
        if connector is None:
            await self.close(GONE)
            return
        await self.accept()
        self._trial = asyncio.create_task(self._try_out(connector, user))

    async def disconnect(self, code: int) -> None:
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.wait([self._trial])

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _connector(self) -> Connector | None:
        wanted = self.scope["url_route"]["kwargs"]["connector_id"]
        return Connector.objects.select_related("secret").filter(pk=wanted).first()

    async def _try_out(self, connector: Connector, user: Any) -> None:
        try:
            is_good = await try_out(connector, self._tell, by=person_named(user), person_id=user.pk)
        except AlreadyRunning:
            await self._tell(Check("address", "warn", BUSY))
            is_good = False
        except Exception:
            logger.exception("the trial of %s broke off", connector.name)
            await self.close(BROKEN)
            return
        await self.send_json({"done": True, "ok": is_good})
        await self.close(DONE)

    async def _tell(self, check: Check) -> None:
        await self.send_json(check.as_json())
