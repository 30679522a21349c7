"""Many agents of both eras, an upstream with every bad habit, and faults that come upon all of them at once.

    Storm(house, upstream, keys, seed=1).run(("kill", "freeze"), agents=16, seconds=10)

What happens is in `recorder`, see histories.py. Which call meets which fault is up to chance.
"""

import asyncio
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.connectors.servers import ScriptedServer, Turn
from tests.end_to_end.histories import Recorder
from tests.end_to_end.installation import Installation
from tests.end_to_end.outages import fill, take_away
from tests.end_to_end.storm_agents import Agent
from tests.end_to_end.storm_upstream import HABITS

MOST_PAUSE_SECONDS = 2.0
"""Between two faults."""
FELLED_ONE_IN = 400


class UnluckyInstallation(Installation):
    """Its gateways are those of unlucky_gateway.py, `flaw` is one of flaws.py."""

    one_in = 0
    flaw = ""

    def _start_process(self) -> "subprocess.Popen[bytes]":
        assert self._listener is not None
        descriptor = self._listener.fileno()
        unlucky = {"STRIKE_ONE_IN": str(self.one_in), "FLAW": self.flaw}
        unlucky["DJANGO_SETTINGS_MODULE"] = "config.settings_gateway"
        return self._start(
            "tests.end_to_end.unlucky_gateway", str(descriptor), inherit=(descriptor,), environment=unlucky
        )

    def replace_the_dead(self) -> int:
        """How many processes had ended since the last time."""
        dead = [process for process in self.processes if process.poll() is not None]
        for process in dead:
            self.processes.remove(process)
            self.processes.append(self._start_process())
        return len(dead)

    def declare_silent(self) -> None:
        """As if whoever is not here any more had been silent for longer than it takes to be declared dead."""
        pids = ", ".join(str(process.pid) for process in self.processes) or "0"
        earlier = "beat_at - interval '1 minute'" if self.database == "postgres" else "datetime(beat_at, '-1 minute')"
        self.sql(f"UPDATE gateway_gatewayprocess SET beat_at = {earlier} WHERE pid NOT IN ({pids})")


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    token: str = field(repr=False)


class Storm:
    """`crash` ends the database server without a goodbye and starts it again; None where nobody may."""

    def __init__(
        self,
        house: UnluckyInstallation,
        upstream: ScriptedServer,
        keys: Sequence[Key],
        *,
        seed: int,
        crash: Callable[[], None] | None = None,
        felled_one_in: int = FELLED_ONE_IN,
        known: Mapping[str, Callable[[Any], Awaitable[None]]] | None = None,
    ) -> None:
        self.house = house
        self.keys = list(keys)
        self.seed = seed
        self.crash = crash
        self.felled_one_in = felled_one_in
        self.known = FAULTS if known is None else known
        self.recorder = Recorder()
        self.manners: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.chance = random.Random(seed)
        self._unrevoked = list(keys)
        upstream.scripts["tools/call"] = self._act

    def run(self, faults: Sequence[str], *, agents: int, seconds: float) -> None:
        """Ends with all processes dead, as nobody can tell which of them still had something in mind."""
        asyncio.run(self._run(faults, agents, seconds))
        self.house.kill9()

    async def _run(self, faults: Sequence[str], agents: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        replacing = asyncio.create_task(self._replace_the_dead())
        living = [Agent(self, number) for number in range(agents)]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._strike(faults, until))
            for agent in living:
                group.create_task(agent.live(until))
        replacing.cancel()
        for agent in living:
            await agent.close()

    async def _replace_the_dead(self) -> None:
        while True:
            self.faults["processes replaced"] += self.house.replace_the_dead()
            await asyncio.sleep(0.05)

    async def _strike(self, faults: Sequence[str], until: float) -> None:
        """Each of them, in an order of chance, several at a time, again as often as there is time."""
        pause = min((until - time.monotonic()) / (len(faults) + 1), MOST_PAUSE_SECONDS)
        async with asyncio.TaskGroup() as group:
            while time.monotonic() + pause * len(faults) < until:
                for name in self.chance.sample(list(faults), len(faults)):
                    await asyncio.sleep(pause)
                    self.faults[name] += 1
                    group.create_task(self.known[name](self))
                await self.breathe(until)

    async def breathe(self, until: float) -> None:
        """Between two rounds of faults."""

    def any_process(self) -> "subprocess.Popen[bytes]":
        return self.chance.choice(self.house.processes)

    def fell_perhaps(self) -> None:
        """At the very moment at which an upstream or an agent hears something, what was to be durable must be."""
        if self.felled_one_in and self.chance.randrange(self.felled_one_in) == 0:
            self.faults["felled"] += 1
            for process in list(self.house.processes):
                process.kill()

    def next_to_revoke(self) -> Key | None:
        """One is left: who would call?"""
        return self._unrevoked.pop(0) if len(self._unrevoked) > 1 else None

    def welcome(self, key: Key) -> None:
        """For those that come from now on."""
        self.keys.append(key)
        self._unrevoked.append(key)

    def live_key(self) -> Key:
        return self.chance.choice(self._unrevoked)

    async def _act(self, turn: Turn) -> None:
        params = turn.seen.message["params"]
        self.recorder.receives(params)
        self.fell_perhaps()
        await HABITS[params["arguments"]["habit"]](turn, params["arguments"])


async def kill(storm: Storm) -> None:
    storm.any_process().kill()


async def end(storm: Storm) -> None:
    storm.any_process().terminate()


async def freeze(storm: Storm) -> None:
    """For longer than a committed intent may wait to be sent."""
    process = storm.any_process()
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.3)
    process.send_signal(signal.SIGCONT)


async def lose_the_database(storm: Storm) -> None:
    if storm.crash is not None:
        await asyncio.to_thread(storm.crash)
        return
    restore = await asyncio.to_thread(take_away, storm.house)
    await asyncio.sleep(0.5 + storm.chance.random())
    await asyncio.to_thread(restore)


async def fill_the_disk(storm: Storm) -> None:
    restore = await asyncio.to_thread(fill, storm.house)
    await asyncio.sleep(0.7)
    await asyncio.to_thread(restore)


async def jump(storm: Storm) -> None:
    """The clock of one process, forwards or back."""
    storm.any_process().send_signal(signal.SIGUSR1)


async def revoke(storm: Storm) -> None:
    key = storm.next_to_revoke()
    while key is not None:
        told = await asyncio.to_thread(storm.house.manage, "revoke_key", key.id, expect=None)
        if told.returncode == 0:
            storm.recorder.revokes(key.id)
            return


FAULTS: dict[str, Callable[[Storm], Awaitable[None]]] = {
    "kill": kill,
    "end": end,
    "freeze": freeze,
    "lose-the-database": lose_the_database,
    "fill-the-disk": fill_the_disk,
    "jump": jump,
    "revoke": revoke,
}
