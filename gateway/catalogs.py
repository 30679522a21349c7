"""What upstreams list: asked once for all who want to know, kept for a while.

Filtering for an agent comes after: what is kept here is what the gateway itself sees with the connector's secret.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from connectors.base import Catalog, UpstreamFailure
from gateway.offered_items import Kept, Withheld, looked_at
from governance.snapshot import Connector

logger = logging.getLogger(__name__)

KEPT_SECONDS = 60.0
KEPT_TOOLS_SECONDS = 15.0
"""Of tools nothing is kept but that the upstream answered: what we list of them are pinned definitions."""
FAILED_SECONDS = 5.0
"""A broken upstream is not asked again by every list, and not forgotten for long."""
PATIENCE_SECONDS = 10.0
"""How long a list waits for one upstream; the answer is still kept when it comes later."""
TOOLS = "tools/list"
DOWN = frozenset(("connect_failed", "broken_off", "timeout", "reset", "upstream_status", "upstream_auth"))
"""Problems of an upstream that no call would get through to now."""

Fetch = Callable[[Connector, str], Awaitable[Catalog]]
Turned = Callable[[str], None]
"""Told the id of a connector whose upstream went down, or is there again."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """One upstream's list, or why there is none now."""

    connector: Connector
    items: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    problem: str = ""
    withheld: tuple[Withheld, ...] = ()
    """Items in whose texts inspection finds something serious."""


@dataclass(slots=True)
class _Kept:
    footing: tuple[str, str]
    """Whatever changes in connector or secret, the old list says nothing any more."""
    fetching: asyncio.Task[Kept]
    until: float = float("inf")


class Catalogs:
    """One instance a process; all methods run on the event loop."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._down: set[str] = set()
        self._turned: list[Turned] = []

    def on_turn(self, turned: Turned) -> None:
        self._turned.append(turned)

    def look_after(self, connectors: Iterable[Connector]) -> None:
        """Asks in the background, where what is kept is too old, whether these upstreams are there."""
        for connector in connectors:
            self._current(connector, TOOLS)

    async def of_all(
        self, connectors: Iterable[Connector], method: str, *, patience_seconds: float | None = None
    ) -> list[Shelf]:
        """All at once; one that is broken or slow harms none of the others."""
        patience = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
        return await asyncio.gather(*(self._shelf(connector, method, patience) for connector in connectors))

    def forget(self, connector_id: str) -> None:
        """The upstream said that its lists changed; one that is being fetched may be of before."""
        for key in [key for key in self._kept if key[0] == connector_id]:
            del self._kept[key]

    def keep_only(self, connector_ids: Collection[str]) -> None:
        for key in [key for key in self._kept if key[0] not in connector_ids]:
            del self._kept[key]
        self._down.intersection_update(connector_ids)

    async def _shelf(self, connector: Connector, method: str, patience_seconds: float) -> Shelf:
        try:
            async with asyncio.timeout(patience_seconds):
                kept = await asyncio.shield(self._current(connector, method).fetching)
        except UpstreamFailure as failure:
            return Shelf(connector, problem=failure.code)
        except TimeoutError:
            return Shelf(connector, problem="slow")
        return Shelf(connector, kept.items, withheld=kept.withheld)

    def _current(self, connector: Connector, method: str) -> _Kept:
        key, footing = (connector.id, method), connector.footing
        kept = self._kept.get(key)
        if kept is None or kept.footing != footing or time.monotonic() > kept.until:
            kept = self._kept[key] = _Kept(footing, asyncio.create_task(self._fetched(connector, method)))
            kept.fetching.add_done_callback(lambda done: _date(kept, done))
        return kept

    async def _fetched(self, connector: Connector, method: str) -> Kept:
        try:
            catalog = await self._fetch(connector, method)
            self._note(connector, method)
            return await looked_at(catalog) if method != TOOLS else Kept((), (), KEPT_TOOLS_SECONDS)
        except UpstreamFailure as failure:
            self._note(connector, method, problem=failure.code)
            raise
        except Exception as error:
            logger.exception("unforeseen failure of connector kind %s", connector.kind)
            raise UpstreamFailure(
                "unforeseen", "The gateway failed while it talked to this system.", reached=True
            ) from error

    def _note(self, connector: Connector, method: str, *, problem: str = "") -> None:
        is_down = problem in DOWN
        if method != TOOLS or is_down == (connector.id in self._down):
            return
        (self._down.add if is_down else self._down.discard)(connector.id)
        for turned in self._turned:
            turned(connector.id)


def _date(kept: _Kept, done: asyncio.Task[Kept]) -> None:
    """From when it is there: how long it may be used, never longer than the upstream allows."""
    if done.cancelled() or done.exception() is not None:
        kept.until = time.monotonic() + FAILED_SECONDS
        return
    said = done.result().ttl_seconds
    kept.until = time.monotonic() + (KEPT_SECONDS if said is None else max(0.0, min(said, KEPT_SECONDS)))
