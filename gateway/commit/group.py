"""Groups without a timer: while one group commits, arrivals queue; the next commit takes them all."""

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from uuid import UUID

from gateway.commit.entry import Backend, Committed, CommitUncertain, Entry, EvidenceUnavailable, RecordRefused
from gateway.metrics import METRICS

logger = logging.getLogger(__name__)

GROUP_LIMIT = 256
GROUP_BYTES = 2 * 1024 * 1024
"""Of sealed payloads: large ones must neither make a group too big for the database nor keep others waiting."""
QUEUE_LIMIT = 8192
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Uncertain:
    """An intent whose COMMIT was sent and whose fate is unknown. It was not and will not be sent upstream."""

    call_id: UUID
    event_id: UUID
    since_ns: int


class GroupCommitter:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._queue: deque[tuple[Entry, asyncio.Future[Committed]]] = deque()
        self._draining: asyncio.Task[None] | None = None
        self.uncertain: list[Uncertain] = []

    async def commit(self, entry: Entry) -> Committed:
        """Raises EvidenceUnavailable when the record is not known to be durable, RecordRefused when it cannot be."""
        is_new_work = entry.event.kind != "call.outcome"
        if is_new_work and len(self._queue) >= QUEUE_LIMIT:
            raise EvidenceUnavailable("too many records are waiting")
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._queue.append((entry, future))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="group-commit")
        return await future

    @property
    def waiting(self) -> int:
        """Records that are in no group yet."""
        return len(self._queue)

    async def close(self) -> None:
        if self._draining is not None:
            await self._draining
        await self._backend.close()

    async def resolve_uncertain(self, *, older_than_seconds: float) -> list[UUID]:
        """Calls whose intent did become durable although its commit seemed to fail, for the caller to close.

        They are told again until they are closed.
        """
        limit = time.clock_gettime_ns(BOOT_CLOCK) - int(older_than_seconds * 1e9)
        due = [item for item in self.uncertain if item.since_ns <= limit]
        if not due:
            return []
        found = await self._backend.intents_among([item.call_id for item in due])
        self.uncertain = [i for i in self.uncertain if i.since_ns > limit or i.call_id in found]
        return list(found)

    async def _drain(self) -> None:
        """The event loop turns once before each group: whoever was about to ask gets in. Larger groups cost less."""
        try:
            while self._queue:
                await asyncio.sleep(0)
                await self._commit_group(self._take_group())
        finally:
            self._draining = None

    def _take_group(self) -> list[tuple[Entry, asyncio.Future[Committed]]]:
        """As many as fit, in order; always one."""
        group = [self._queue.popleft()]
        size = _payload_bytes(group[0][0])
        while self._queue and len(group) < GROUP_LIMIT:
            size += _payload_bytes(self._queue[0][0])
            if size > GROUP_BYTES:
                break
            group.append(self._queue.popleft())
        return group

    async def _commit_group(self, group: list[tuple[Entry, asyncio.Future[Committed]]]) -> None:
        began = time.perf_counter()
        try:
            results = await self._backend.commit([entry for entry, _ in group])
        except RecordRefused as error:
            await self._one_by_one(group, error)
        except CommitUncertain as error:
            self._note_uncertain(group)
            _fail(group, error)
        except EvidenceUnavailable as error:
            _fail(group, error)
        except Exception as error:
            logger.exception("group commit failed")
            self._note_uncertain(group)
            _fail(group, EvidenceUnavailable(type(error).__name__))
        else:
            METRICS.groups.of().add(len(group))
            METRICS.commits.of().add(time.perf_counter() - began)
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
                self.uncertain.append(Uncertain(entry.event.call_id, entry.event.id, now))


def _payload_bytes(entry: Entry) -> int:
    return len(entry.payload.sealed) if entry.payload is not None else 0


def _fail(group: list[tuple[Entry, asyncio.Future[Committed]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
