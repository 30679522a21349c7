"""Gateways that break one promise each, so that the check of histories can be seen to notice."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from connectors.base import UpstreamFailure
from gateway import pipeline
from gateway.commit.entry import Committed, Entry, Verdict
from gateway.commit.group import BOOT_CLOCK, GroupCommitter
from gateway.snapshots import SnapshotKeeper
from governance.snapshot import Snapshot

LATE_SECONDS = 0.5
_sound = GroupCommitter.commit
_late: set["asyncio.Task[None]"] = set()


def take_for_durable(kind: str) -> None:
    """Records of this kind, before they are."""

    async def commit(committer: GroupCommitter, entry: Entry) -> Committed:
        if entry.event.kind != kind:
            return await _sound(committer, entry)
        _late.add(asyncio.create_task(_commit_late(committer, entry)))
        return Committed(Verdict.COMMITTED, 0, time.clock_gettime_ns(BOOT_CLOCK))

    GroupCommitter.commit = commit  # type: ignore[method-assign]


async def _commit_late(committer: GroupCommitter, entry: Entry) -> None:
    await asyncio.sleep(LATE_SECONDS)
    await _sound(committer, entry)


def forget_revocations() -> None:
    """Nothing is heard of what happens after the start, and no fence asked."""

    async def commit(committer: GroupCommitter, entry: Entry) -> Committed:
        return await _sound(committer, replace(entry, read_set=None))

    async def watch(keeper: SnapshotKeeper, database: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def current(keeper: SnapshotKeeper, *_: int) -> Snapshot:
        return keeper.current

    GroupCommitter.commit = commit  # type: ignore[method-assign]
    for name, wrong in {"watch": watch, "at_least": current, "confirmed": current}.items():
        setattr(SnapshotKeeper, name, wrong)


def try_again() -> None:
    """A call whose answer was lost is sent once more."""
    execute = pipeline.execute

    async def twice(*arguments: Any, **options: Any) -> Any:
        outcome = await execute(*arguments, **options)
        return await execute(*arguments, **options) if isinstance(outcome, UpstreamFailure) else outcome

    pipeline.execute = twice


FLAWS: dict[str, Callable[[], None]] = {
    "sends-first": lambda: take_for_durable("call.intent"),
    "answers-first": lambda: take_for_durable("call.outcome"),
    "forgets-revocations": forget_revocations,
    "tries-again": try_again,
}
