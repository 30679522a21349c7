"""The keeper of the snapshot: whoever waits for an epoch gets it, once, and nobody waits for ever."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection

from gateway import snapshots
from gateway.commit.entry import EvidenceUnavailable
from gateway.snapshots import SnapshotKeeper, _change_marker
from governance.models import Team
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each build finds the next epoch: 0, 1, 2 ..."""
    count = itertools.count()
    monkeypatch.setattr(snapshots, "build_snapshot", lambda _: SimpleNamespace(epoch=next(count)))
    monkeypatch.setattr(snapshots, "read_epoch", lambda: 1)


@pytest.mark.usefixtures("epochs")
async def test_who_asks_at_the_moment_a_build_ends_starts_the_next_one() -> None:
    """Waiting for a build that has just ended does not yield: it once spun for ever, and all calls with it."""
    swapped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_swap(snapshot: Any) -> None:
        if snapshot.epoch == 1:
            swapped.set_result(None)

    keeper = SnapshotKeeper(on_swap)

    async def late() -> Any:
        await swapped
        return await keeper.at_least(2)

    await keeper.start()
    asking = asyncio.create_task(late())
    assert (await keeper.at_least(1)).epoch == 1
    assert (await asking).epoch == 2
    await keeper.close()


@pytest.mark.usefixtures("epochs")
async def test_who_gives_up_waiting_harms_nobody_else() -> None:
    keeper = SnapshotKeeper(lambda _: None)
    await keeper.start()
    leaving, staying = (asyncio.create_task(keeper.confirmed()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).epoch == 1
    assert (await keeper.confirmed()).epoch == 1
    await keeper.close()


async def test_a_database_that_is_away_is_told_to_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> int:
        raise OperationalError

    monkeypatch.setattr(snapshots, "read_epoch", away)
    keeper = SnapshotKeeper(lambda _: None)
    waiting = await asyncio.gather(*(keeper.confirmed() for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in waiting] == [EvidenceUnavailable] * 3
    await keeper.close()


@pytest.mark.database
@pytest.mark.usefixtures("fresh_database")
def test_each_commit_of_another_connection_changes_the_marker(django_db_blocker: Any) -> None:
    """SQLite counts per connection: asked on a new one each time, it always says the same."""

    async def markers() -> list[int]:
        keeper = SnapshotKeeper(lambda _: None)
        seen = []
        for name in ("one", "two", "three"):
            seen.append(await keeper._in_thread(_change_marker))
            await asyncio.to_thread(_commit, name)
        await keeper.close()
        return seen

    def _commit(name: str) -> None:
        Team.objects.create(name=name)
        connection.close()

    assert len(set(asyncio.run(markers()))) == 3
