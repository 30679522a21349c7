"""Keeps this process's snapshot fresh. Correctness never rests on it: the fence compares epochs in every commit."""

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import psycopg
from django.db import connection
from django.db.utils import Error as DatabaseError
from django.db.utils import InterfaceError, OperationalError

from gateway.commit.entry import EvidenceUnavailable
from gateway.metrics import METRICS
from governance.fence import EPOCH_CHANNEL
from governance.snapshot import Snapshot
from governance.snapshot_builder import EMPTY, build_snapshot, read_epoch

logger = logging.getLogger(__name__)

WAIT_SECONDS = 5.0
SQLITE_POLL_SECONDS = 0.05
POSTGRESQL_POLL_SECONDS = 1.0
FREEZE_EVERY_SECONDS = 60.0
GC_THRESHOLDS = (20_000, 20, 100)
"""A call leaves hardly any cycles behind: looking for them a hundred times a second costs 5 % of its time."""

Result = TypeVar("Result")


class SnapshotKeeper:
    """Reads the database on one thread of its own; `on_swap` hears of each new snapshot, on the event loop."""

    def __init__(self, on_swap: Callable[[Snapshot], None]) -> None:
        self._on_swap = on_swap
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._current: Snapshot | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[int] | None = None
        self._next_reading: asyncio.Future[int] | None = None
        self._frozen_at = 0.0
        self._confirmed_at = time.monotonic()

    @property
    def current(self) -> Snapshot:
        if self._current is None:
            raise EvidenceUnavailable("no snapshot yet")
        return self._current

    @property
    def unconfirmed_seconds(self) -> float:
        """How long ago the database said last that the snapshot is the newest, or which one is."""
        return time.monotonic() - self._confirmed_at

    async def start(self) -> None:
        """Raises django.db.Error when the database is away."""
        await self._refresh()

    async def at_least(self, epoch: int) -> Snapshot:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self.current.epoch < epoch:
                    await self._refresh_shared()
        except (TimeoutError, DatabaseError) as error:
            raise EvidenceUnavailable(type(error).__name__) from error
        return self.current

    async def confirmed(self) -> Snapshot:
        """One read of the epoch, begun after the asking, is shared by all who wait for it."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                epoch = await self._epoch_from_now()
        except (TimeoutError, DatabaseError) as error:
            raise EvidenceUnavailable(type(error).__name__) from error
        return await self.at_least(epoch)

    async def watch(self, database: dict[str, Any]) -> None:
        """Runs until cancelled: refreshes soon after each change, however it hears of it."""
        if connection.vendor == "postgresql":
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(psycopg.conninfo.make_conninfo(**database)))
                group.create_task(self._poll(POSTGRESQL_POLL_SECONDS))
        else:
            await self._poll(SQLITE_POLL_SECONDS)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, _close_connection)
        self._thread.shutdown()

    async def _poll(self, seconds: float) -> None:
        seen = None
        while True:
            await asyncio.sleep(seconds)
            try:
                asked_at = time.monotonic()
                version = await self._in_thread(_change_marker)
                if version != seen:
                    await self.confirmed()
                    seen = version
                self._confirmed_at = asked_at
            except (DatabaseError, EvidenceUnavailable):
                continue
            except Exception:
                logger.exception("the snapshot was not refreshed")

    async def _listen(self, conninfo: str) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as listening:
                    await listening.execute(f"LISTEN {EPOCH_CHANNEL}")
                    async for _ in listening.notifies():
                        with suppress(EvidenceUnavailable):
                            await self.confirmed()
            except (psycopg.Error, OSError):
                await asyncio.sleep(1)
            except Exception:
                logger.exception("the snapshot was not refreshed")
                await asyncio.sleep(1)

    async def _epoch_from_now(self) -> int:
        loop = asyncio.get_running_loop()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            return await asyncio.shield(self._reading)
        if self._next_reading is None:
            self._next_reading = loop.create_future()
        return await asyncio.shield(self._next_reading)

    async def _read(self) -> int:
        try:
            return await self._in_thread(read_epoch)
        finally:
            self._reading = None
            if (waiting := self._next_reading) is not None:
                self._next_reading = None
                self._reading = asyncio.create_task(self._read())
                self._reading.add_done_callback(lambda done: _hand_over(done, waiting))

    async def _refresh_shared(self) -> None:
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        """Steps down before it ends: to wait for an ended task does not yield, so its waiters would spin."""
        try:
            await self._build()
        finally:
            self._refreshing = None

    async def _build(self) -> None:
        began = time.monotonic()
        snapshot = await self._in_thread(partial(build_snapshot, self._current or EMPTY))
        METRICS.builds.of().add(time.monotonic() - began)
        if self._current is None or snapshot.epoch != self._current.epoch:
            self._current = snapshot
            self._keep_out_of_garbage_collection()
            self._on_swap(snapshot)

    def _keep_out_of_garbage_collection(self) -> None:
        """A snapshot lives long and is large: scanning it over and over costs tail latency."""
        now = time.monotonic()
        if now - self._frozen_at > FREEZE_EVERY_SECONDS:
            self._frozen_at = now
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, with_live_connection, work)


def with_live_connection(work: Callable[[], Result]) -> Result:
    """The connection is kept: SQLite counts changes per connection. One that died while idle is replaced."""
    try:
        return work()
    except (OperationalError, InterfaceError):
        connection.close()
        return work()


def _close_connection() -> None:
    """`connection` is another one in each thread, so this runs on the thread whose connection it closes."""
    connection.close()


def _change_marker() -> int:
    """Something that differs after any commit, as cheap as the database allows."""
    if connection.vendor == "postgresql":
        return read_epoch()
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA data_version").fetchone()[0])


def _hand_over(done: asyncio.Task[int], waiting: asyncio.Future[int]) -> None:
    if waiting.cancelled():
        return
    if done.cancelled():
        waiting.cancel()
    elif (error := done.exception()) is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(done.result())
