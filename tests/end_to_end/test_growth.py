"""Whatever agents, upstreams and people do all day: a gateway process holds afterwards what it held before.

Sound calls, sessions, tasks, streams, questions, cancellations, bad requests, bad upstreams, lost clients, ended keys.
Blocks of memory after a collection, tasks, threads and descriptors are counted at rest, which does not depend on how
fast the machine is.
"""

import asyncio
import json
import os
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests import cast
from tests.end_to_end.histories import check
from tests.end_to_end.storm import Key, Storm, UnluckyInstallation, revoke
from tests.end_to_end.storm_agents import Agent
from tests.end_to_end.storm_world import World, told
from tests.end_to_end.test_histories import world
from tests.end_to_end.test_processes import resident_megabytes

__all__ = ["world"]

SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
AGENTS = 16
WARM_UP = 2
"""Rounds in which caches fill."""
RESTING_SECONDS = 30.0
BLOCKS_A_ROUND = 1_500
"""A context that stays behind with every tenth request of a round is more than that."""
SOAK_BLOCKS, SOAK_MEGABYTES = 5_000, 6.0


@dataclass(frozen=True, slots=True)
class Weight:
    """Of a gateway process at rest."""

    blocks: int
    tasks: list[str]
    """What they run."""
    threads: int
    descriptors: int
    megabytes: float

    def __str__(self) -> str:
        return (
            f"{self.blocks} blocks, {self.megabytes:.1f} MB, {len(self.tasks)} tasks, {self.threads} threads,"
            f" {self.descriptors} descriptors"
        )


def weigh(house: UnluckyInstallation) -> Weight:
    [process] = house.processes
    before = len(_told_by(house))
    process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + RESTING_SECONDS
    while len(told := _told_by(house)) == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))
    return Weight(**told[-1], descriptors=descriptors, megabytes=resident_megabytes(process.pid))


def _told_by(house: UnluckyInstallation) -> list[dict[str, Any]]:
    lines = house.log().splitlines()
    return [json.loads(line.removeprefix("holds ")) for line in lines if line.startswith("holds ")]


def lasting_tasks(house: UnluckyInstallation) -> list[str]:
    """What a process that has started runs for all its life: the same at three looks."""
    seen = [weigh(house).tasks]
    while seen[-3:] != [seen[-1]] * 3:
        time.sleep(0.3)
        seen.append(weigh(house).tasks)
    return seen[-1]


def at_rest(house: UnluckyInstallation, *, tasks: list[str]) -> Weight:
    """As soon as only these tasks are left and no descriptor is closed any more, or after a while."""
    deadline = time.monotonic() + RESTING_SECONDS
    last, quiet = weigh(house), 0
    while quiet < 2 and time.monotonic() < deadline:
        time.sleep(0.3)
        now = weigh(house)
        quiet = quiet + 1 if now.tasks == tasks and now.descriptors == last.descriptors else 0
        last = now
    return last


class Day:
    """Rounds of work at one process, each by agents of its own, one of which loses its key."""

    def __init__(self, world: World, *, seed: int) -> None:
        self._house = world.house
        self._rounds = 0
        self.storm = Storm(world.house, world.upstream, world.keys, seed=seed, felled_one_in=0)
        world.house.start_gateway()
        self.tasks = lasting_tasks(world.house)

    def round(self, *, acts: int, pause_seconds: float) -> Weight:
        asyncio.run(self._round(acts, pause_seconds))
        self._rounds += 1
        return at_rest(self._house, tasks=self.tasks)

    async def _round(self, acts: int, pause_seconds: float) -> None:
        first = self._rounds * AGENTS
        async with asyncio.TaskGroup() as group:
            group.create_task(self._replace_a_key())
            for number in range(first, first + AGENTS):
                group.create_task(_work(Agent(self.storm, number), acts, pause_seconds))

    async def _replace_a_key(self) -> None:
        issued = await asyncio.to_thread(self._house.issue, cast.TRIAGE_BOT)
        self.storm.welcome(Key(str(issued["key_id"]).replace("-", ""), issued["key"]))
        await revoke(self.storm)


async def _work(agent: Agent, acts: int, pause_seconds: float) -> None:
    for _ in range(acts):
        await agent.act()
        await asyncio.sleep(pause_seconds)
    await agent.close()


def finish(world: World, day: Day, weights: Sequence[Weight]) -> None:
    """Tells what was, and holds the calls to what every history is held to."""
    world.house.kill9()
    evidence = world.recovered()
    print(told(day.storm, evidence), *weights, sep="\n  ")
    assert check(day.storm.recorder, evidence) == []
    assert "Traceback" not in world.house.log()


def test_nothing_stays_behind(world: World) -> None:
    day = Day(world, seed=1)
    weights = [day.round(acts=6, pause_seconds=0) for _ in range(WARM_UP + 2)]
    finish(world, day, weights)
    before, after = weights[WARM_UP - 1], weights[-1]
    assert after.tasks == day.tasks
    assert after.threads <= before.threads + 1
    assert after.descriptors <= before.descriptors + AGENTS, "those that upstreams keep open for the next call"
    assert after.blocks - before.blocks < 2 * BLOCKS_A_ROUND


@pytest.mark.soak
def test_nothing_grows_for_long(world: World) -> None:
    """About fifty requests a second; the growth between the first and the last quarter of the time."""
    day = Day(world, seed=int(os.environ.get("SOAK_SEED", time.time_ns())))
    until = time.monotonic() + SOAK_MINUTES * 60
    weights = [day.round(acts=6, pause_seconds=0) for _ in range(WARM_UP)]
    while time.monotonic() < until or len(weights) < WARM_UP + 4:
        weights.append(day.round(acts=100, pause_seconds=0.2))
        print(f"{world.house.database}, {len(day.storm.recorder.requests)} requests: {weights[-1]}", flush=True)
    finish(world, day, weights)
    quarter = (len(weights) - WARM_UP) // 4
    first, last = weights[WARM_UP : WARM_UP + quarter], weights[-quarter:]
    assert _median(last, "blocks") - _median(first, "blocks") < SOAK_BLOCKS
    assert _median(last, "megabytes") - _median(first, "megabytes") < SOAK_MEGABYTES
    assert all(weight.tasks == day.tasks for weight in last)
    assert max(weight.descriptors for weight in last) <= max(weight.descriptors for weight in first) + AGENTS


def _median(weights: Sequence[Weight], what: str) -> float:
    return statistics.median(getattr(weight, what) for weight in weights)
