"""What is remembered of upstreams over HTTP between calls."""

import asyncio
import itertools
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.base import UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.egress import Egress
from connectors.mcp_lists import ToolNeeds
from connectors.mcp_news import TOOLS_CHANGED, News
from connectors.mcp_old_sse import OldSse
from connectors.mcp_peer import Wire
from connectors.mcp_settle import Powers

CANCEL_SECONDS: Final = 2.0


class Errands:
    """What is still said to upstreams while nobody waits for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, errand: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(_within(errand, CANCEL_SECONDS))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _within(errand: Coroutine[Any, Any, object], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await errand
    except (TimeoutError, UpstreamFailure):
        return


@dataclass(frozen=True, slots=True)
class Shared:
    """What all lines of a process share. `legacy_urls` are addresses that were found to be of the legacy era."""

    egress: Egress
    request_ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    legacy_urls: set[str] = field(default_factory=set)
    errands: Errands = field(default_factory=Errands)


class Line:
    """What is remembered of one upstream URL for one identity: sessions are never shared across secrets, nor among
    callers who can be asked different things (`powers`). `kin` are the lines that differ only in this.

    `needs` is what calling a tool takes, of those that need anything; None while it is not known. `log_level` is what a
    legacy session was asked for. `listening` is held by whoever hears the one stream on which a legacy session tells
    news. `users` are the requests and listeners that use it now, and `auth` is what its session began with, to end it.
    """

    __slots__ = (
        "_left",
        "auth",
        "kin",
        "listening",
        "lock",
        "log_level",
        "needs",
        "needs_lock",
        "news",
        "old",
        "powers",
        "spec",
        "url",
        "users",
        "wire",
    )

    def __init__(self, spec: UpstreamSpec, url: str, powers: Powers, kin: "dict[Powers, Line]") -> None:
        self.spec = spec
        self.url = url
        self.powers = powers
        self.kin = kin
        self.lock = asyncio.Lock()
        self.needs_lock = asyncio.Lock()
        self.listening = asyncio.Lock()
        self.news = News()
        self.wire: Wire | None = None
        self.old: OldSse | None = None
        self.needs: dict[str, ToolNeeds] | None = None
        self.log_level = ""
        self.users = 0
        self.auth = UpstreamAuth()
        self._left: asyncio.Future[None] | None = None

    def leave(self) -> None:
        """One user less."""
        self.users -= 1
        if not self.users and self._left is not None and not self._left.done():
            self._left.set_result(None)

    async def unused(self) -> None:
        """Waits until nobody uses it; only who has seen to it that nobody new comes."""
        if self.users:
            self._left = asyncio.get_running_loop().create_future()
            await self._left

    def settle(self, wire: Wire, auth: UpstreamAuth) -> Wire:
        self.wire, self.auth = wire, auth
        self.forget_needs()
        return wire

    def forget_needs(self) -> None:
        """They are asked for again, where there can be any."""
        if self.wire is not None:
            self.needs = None if self.wire.is_modern or self.wire.takes_tasks else {}

    async def hear(self, method: str, params: dict[str, Any]) -> None:
        """News that are not about a request of ours."""
        if method == TOOLS_CHANGED:
            for line in self.kin.values():
                line.forget_needs()
        await self.news.spread(method, params)

    def hang_up(self, wire: Wire) -> None:
        """Forgets the wire unless another call has settled a newer one meanwhile."""
        if self.wire is wire:
            self.wire = None
            self.log_level = ""
            self.news.forget_subscriptions()
            if self.old is not None:
                self.old.close()
                self.old = None
