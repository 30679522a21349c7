"""How much of a rate limit this process has taken, in memory; `limits.py` says what may be expected of it."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from gateway.commit.entry import EvidenceUnavailable
from gateway.limit_table import SHARES, Subject, Table
from governance.snapshot import RateLimit

logger = logging.getLogger(__name__)

SURE_FOR_SECONDS: Final = 1.0
"""How long "nothing is left" is believed: a flood must not ask the database each time."""
WAIT_SECONDS: Final = 1.0
LOOK_AGAIN_SECONDS: Final = 0.05
WAITERS: Final = 64
DATABASE_SECONDS: Final = 5.0
BYTES, REQUESTS, AT_ONCE = "bytes", "requests", "calls at once"

Result = TypeVar("Result")


class Run(Protocol):
    """Does database work off the event loop, perhaps twice. Raises EvidenceUnavailable."""

    async def __call__(self, work: Callable[[], Result], /) -> Result: ...


class Once:
    """Work that many wait for and that runs once at a time. Whoever comes while it runs shares it."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._running is not None

    async def do(self, work: Callable[[], Awaitable[None]]) -> None:
        """Raises what the work raises."""
        await asyncio.shield(self.start(work))

    def start(self, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        if self._running is None:
            self._running = asyncio.create_task(self._run(work))
            self._running.add_done_callback(_heed)
        return self._running

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await work()
        except TimeoutError as error:
            raise EvidenceUnavailable("the limits' database is slow") from error
        finally:
            self._running = None


def _heed(done: "asyncio.Task[None]") -> None:
    """Who waited has given up, or nobody did."""
    if not done.cancelled() and (error := done.exception()) and not isinstance(error, EvidenceUnavailable):
        logger.error("unforeseen failure of a limit", exc_info=error)


class Requests:
    """This process's share of the requests of one subject's present window."""

    __slots__ = (
        "_clock",
        "_is_used",
        "_none_until",
        "_refill",
        "_run",
        "_share",
        "_subject",
        "_table",
        "_window",
        "left",
    )

    def __init__(self, subject: Subject, table: Table, run: Run, clock: Callable[[], float]) -> None:
        self._subject = subject
        self._table = table
        self._run = run
        self._clock = clock
        self._refill = Once()
        self._window = 0
        self._share = 0
        self._none_until = 0.0
        self._is_used = False
        self.left = 0

    async def take(self, window: int, *, maximum: int) -> int | None:
        """The window it was taken of, a later one if that has begun meanwhile; None when nothing is left. Raises
        EvidenceUnavailable."""
        self._turn_to(window)
        while not self.left:
            if self._clock() < self._none_until:
                return None
            await self._refill.do(partial(self._take_share, maximum))
        self.left -= 1
        self._is_used = True
        if self._share >= SHARES and self.left < self._share // 4:
            self._refill.start(partial(self._take_share, maximum))
        return self._window

    def put_back(self, window: int) -> None:
        if window == self._window:
            self.left += 1

    async def beat(self) -> None:
        """Gives back what nobody used since the last beat. Raises EvidenceUnavailable."""
        is_used, self._is_used = self._is_used, False
        if is_used or not self.left or self._refill.is_running:
            return
        count, self.left = self.left, 0
        give_back = partial(self._table.give_back_requests, self._subject, self._window, count=count)
        await self._run(_at_most_once(give_back))

    def _turn_to(self, window: int) -> None:
        if window != self._window:
            self._window, self.left, self._none_until = window, 0, 0.0

    async def _take_share(self, maximum: int) -> None:
        window = self._window
        share = await self._run(partial(self._table.take_requests, self._subject, window, maximum=maximum))
        if window != self._window:
            return
        self._share = share
        self.left += share
        if not share:
            self._none_until = self._clock() + SURE_FOR_SECONDS


class Volume:
    """The bytes of one subject's present window: what all have told, and what this process has still to tell."""

    __slots__ = ("_flush", "_run", "_subject", "_table", "_total", "_untold", "_window")

    def __init__(self, subject: Subject, table: Table, run: Run) -> None:
        self._subject = subject
        self._table = table
        self._run = run
        self._flush = Once()
        self._window = 0
        self._total: int | None = None
        self._untold = 0

    async def has_room(self, window: int, *, maximum: int) -> bool:
        """Raises EvidenceUnavailable."""
        self._turn_to(window)
        while self._total is None:
            await self._flush.do(self._tell)
        return self._total + self._untold < maximum

    def add(self, window: int, count: int, *, maximum: int) -> None:
        self._turn_to(window)
        self._untold += count
        if self._total is not None and self._untold * SHARES > maximum - self._total:
            self._flush.start(self._tell)

    async def beat(self) -> None:
        if self._untold:
            await self._flush.do(self._tell)

    def _turn_to(self, window: int) -> None:
        if window != self._window:
            self._window, self._total, self._untold = window, None, 0

    async def _tell(self) -> None:
        window, untold = self._window, self._untold
        total = await self._run(partial(self._table.add_bytes, self._subject, window, count=untold))
        if window == self._window:
            self._total = total
            self._untold -= untold


class Places:
    """The calls that this process may run at once for one subject. `_told` is what the database has of `held`; None
    while nobody knows."""

    __slots__ = (
        "_clock",
        "_free",
        "_peak",
        "_refill",
        "_run",
        "_subject",
        "_table",
        "_told",
        "_waiting",
        "held",
        "running",
    )

    def __init__(self, subject: Subject, table: Table, run: Run, clock: Callable[[], float]) -> None:
        self._subject = subject
        self._table = table
        self._run = run
        self._clock = clock
        self._refill = Once()
        self._free = asyncio.Event()
        self._told: int | None = 0
        self._waiting = 0
        self._peak = 0
        self.held = 0
        self.running = 0

    @property
    def is_idle(self) -> bool:
        return not self.running and self._told == 0

    async def take(self, *, maximum: int) -> bool:
        """Waits for a place where there is none. Raises EvidenceUnavailable."""
        if not self._has_free(maximum) and not await self._wait(maximum):
            return False
        self.running += 1
        self._peak = max(self._peak, self.running)
        return True

    def leave(self, *, maximum: int) -> None:
        """Where there are few, nobody keeps an idle one: another process may be waiting for it."""
        self.running -= 1
        self._free.set()
        if maximum <= SHARES and not self._waiting:
            self._peak = self.running
            self._refill.start(self._shrink)

    async def beat(self) -> None:
        """Gives back what nobody used since the last beat. Raises EvidenceUnavailable."""
        await self._refill.do(self._shrink)
        self._peak = self.running

    def _has_free(self, maximum: int) -> bool:
        return self.running < min(self.held, maximum)

    async def _wait(self, maximum: int) -> bool:
        """A place that is free when this returns is the caller's if it does not yield before it takes it."""
        if self._waiting >= WAITERS:
            return False
        self._waiting += 1
        try:
            until = self._clock() + WAIT_SECONDS
            while not self._has_free(maximum):
                await self._refill.do(partial(self._take_share, maximum))
                if self._has_free(maximum):
                    break
                if self._clock() >= until:
                    return False
                await self._look_again()
            return True
        finally:
            self._waiting -= 1

    async def _look_again(self) -> None:
        """Soon: other processes do not tell when they give a place back."""
        self._free.clear()
        try:
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                await self._free.wait()
        except TimeoutError:
            return

    async def _take_share(self, maximum: int) -> None:
        if self._has_free(maximum):
            return
        self._told = None
        self.held += await self._run(partial(self._table.take_places, self._subject, held=self.held, maximum=maximum))
        self._told = self.held

    async def _shrink(self) -> None:
        """Given up here before anybody else may have it."""
        self.held = min(self.held, max(self._peak, self.running))
        if self._told != self.held:
            self._told, held = None, self.held
            await self._run(partial(self._table.keep_places, self._subject, held=held))
            self._told = held


@dataclass(frozen=True, slots=True)
class Taken:
    """What one call has taken of one meter. `window` is that of its request, None where those are not limited."""

    meter: "Meter"
    window: int | None
    has_place: bool

    def leave(self) -> None:
        """The call is over."""
        if self.has_place:
            self.meter.places.leave(maximum=self.meter.limit.max_running or 0)

    def undo(self) -> None:
        """The call does not take place."""
        if self.window is not None:
            self.meter.requests.put_back(self.window)
        self.leave()


class Meter:
    """One limit as it counts for one subject in this process."""

    __slots__ = ("_clock", "_used_at", "limit", "places", "requests", "volume")

    def __init__(self, limit: RateLimit, subject: str, table: Table, run: Run, clock: Callable[[], float]) -> None:
        key = Subject(limit.id, subject)
        self.limit = limit
        self._clock = clock
        self._used_at = clock()
        self.requests = Requests(key, table, run, clock)
        self.volume = Volume(key, table, run)
        self.places = Places(key, table, run, clock)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost by forgetting it."""
        return self.places.is_idle and self._clock() - self._used_at > 2 * self.limit.window_seconds

    async def take(self) -> Taken | str:
        """Or what is used up: bytes, requests, calls at once. Raises EvidenceUnavailable."""
        limit, self._used_at = self.limit, self._clock()
        if limit.max_bytes is not None and not await self.volume.has_room(self._window, maximum=limit.max_bytes):
            return BYTES
        window = None
        if limit.max_requests is not None:
            window = await self.requests.take(self._window, maximum=limit.max_requests)
            if window is None:
                return REQUESTS
        has_place = limit.max_running is not None and await self.places.take(maximum=limit.max_running)
        taken = Taken(self, window, has_place)
        if limit.max_running is not None and not has_place:
            taken.undo()
            return AT_ONCE
        return taken

    def spend(self, count: int) -> None:
        if self.limit.max_bytes is not None:
            self.volume.add(self._window, count, maximum=self.limit.max_bytes)

    def seconds_to_wait(self, used_up: str) -> int:
        if used_up == AT_ONCE:
            return 1
        return max(1, math.ceil((self._window + 1) * self.limit.window_seconds - self._clock()))

    async def beat(self) -> None:
        """Raises EvidenceUnavailable."""
        await self.requests.beat()
        await self.volume.beat()
        await self.places.beat()

    @property
    def _window(self) -> int:
        return int(self._clock() // self.limit.window_seconds)


def _at_most_once(work: Callable[[], None]) -> Callable[[], None]:
    """For what must not be done again when the connection broke in the middle: then it is rather not done."""
    begun: list[bool] = []

    def do() -> None:
        if not begun:
            begun.append(True)
            work()

    return do
