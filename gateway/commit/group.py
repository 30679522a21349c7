"""Groups without a timer: while one group commits, arrivals queue; the next commit takes them all."""

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from uuid import UUID

from gateway.commit.entry import Backend, Committed, Entry, EvidenceUnavailable, RecordRefused

logger = logging.getLogger(__name__)

GROUP_LIMIT = 256
QUEUE_LIMIT = 8192
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Uncertain:
    """An intent whose COMMIT was sent and whose fate is unknown. It was not and will not be sent upstream."""

    call_id: UUID
    since_ns: int


class GroupCommitter:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._queue: deque[tuple[Entry, asyncio.Future[Committed]]] = deque()
        self._draining: asyncio.Task[None] | None = None
        self.uncertain: list[Uncertain] = []

    async def commit(self, entry: Entry) -> Committed:
        """Raises EvidenceUnavailable when the record is not known to be durable, RecordRefused when it cannot be."""
        if len(self._queue) >= QUEUE_LIMIT:
            raise EvidenceUnavailable("too many records are waiting")
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._queue.append((entry, future))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="group-commit")
        return await future

    async def close(self) -> None:
        if self._draining is not None:
            await self._draining
        await self._backend.close()

    async def resolve_uncertain(self, *, older_than_seconds: float) -> list[UUID]:
        """Calls whose intent did become durable although its commit seemed to fail; the caller closes them."""
        limit = time.clock_gettime_ns(BOOT_CLOCK) - int(older_than_seconds * 1e9)
        due = [item for item in self.uncertain if item.since_ns <= limit]
        if not due:
            return []
        found = await self._backend.intents_among([item.call_id for item in due])
        self.uncertain = [item for item in self.uncertain if item.since_ns > limit]
        return list(found)

    async def _drain(self) -> None:
        try:
            while self._queue:
                size = min(len(self._queue), GROUP_LIMIT)
                await self._commit_group([self._queue.popleft() for _ in range(size)])
        finally:
            self._draining = None

    async def _commit_group(self, group: list[tuple[Entry, asyncio.Future[Committed]]]) -> None:
        try:
            results = await self._backend.commit([entry for entry, _ in group])
        except RecordRefused as error:
            await self._one_by_one(group, error)
        except EvidenceUnavailable as error:
            self._note_uncertain(group)
            _fail(group, error)
        except Exception as error:
            logger.exception("group commit failed")
            self._note_uncertain(group)
            _fail(group, EvidenceUnavailable(type(error).__name__))
        else:
            for (_, future), committed in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(committed)

    async def _one_by_one(self, group: list[tuple[Entry, asyncio.Future[Committed]]], error: RecordRefused) -> None:
        """A record the database refuses must not harm the calls that share its group."""
        if len(group) == 1:
            _fail(group, error)
            return
        for member in group:
            await self._commit_group([member])

    def _note_uncertain(self, group: list[tuple[Entry, asyncio.Future[Committed]]]) -> None:
        now = time.clock_gettime_ns(BOOT_CLOCK)
        for entry, _ in group:
            if entry.event.kind == "call.intent" and entry.event.call_id is not None:
                self.uncertain.append(Uncertain(entry.event.call_id, now))


def _fail(group: list[tuple[Entry, asyncio.Future[Committed]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
