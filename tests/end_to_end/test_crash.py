"""Whatever dies at whatever moment: nothing is sent without an intent, nothing is answered without an outcome."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.outages import fill, take_away
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller, Reply

DEAD_SECONDS = 10
RECOVERY_SECONDS = 40.0
DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}

MOMENTS = {
    "before:admit": [],
    "after:admit": ["unknown"],
    "after:execute": ["unknown"],
    "after:screen_result": ["unknown"],
    "after:commit_outcome": ["ok"],
}
"""Between which stages a process is killed, and the outcomes that evidence holds after recovery."""


class FaultyInstallation(Installation):
    """Its gateways obey `fault`, see faulty_gateway.py; those started while it is empty are sound."""

    fault = ""

    def _start_process(self) -> "subprocess.Popen[bytes]":
        if not self.fault:
            return super()._start_process()
        assert self._listener is not None
        descriptor = self._listener.fileno()
        with (self.folder / f"gateway-{time.monotonic_ns()}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.end_to_end.faulty_gateway", str(descriptor)],
                env=self.environment | {"PYTHONPATH": str(REPOSITORY), "FAULT": self.fault},
                cwd=self.folder,
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def declare_silent(self) -> None:
        """As if the dead had been silent for longer: nobody wants to wait ten seconds in every test."""
        if self.database == "postgres":
            self.sql("UPDATE gateway_gatewayprocess SET beat_at = beat_at - interval '1 minute'")
        else:
            self.sql("UPDATE gateway_gatewayprocess SET beat_at = datetime(beat_at, '-1 minute')")


@dataclass
class Scene:
    house: FaultyInstallation
    upstream: ScriptedServer
    key: str
    pool: ThreadPoolExecutor

    def start(self, fault: str = "") -> None:
        self.house.fault = fault
        self.house.start_gateway()

    def call(self, tool: str = "act") -> Reply:
        with closing(Caller(self.house.url, self.key, path="/mcp/upstream")) as caller:
            return caller.call(tool, marker="m-1")

    def begin(self, tool: str = "act") -> "Future[Reply]":
        return self.pool.submit(self.call, tool)

    def sent(self) -> int:
        """What the upstream received."""
        return len(self.upstream.sent("tools/call"))

    def intents(self) -> list[str]:
        return [event["call_id"] for event in self.house.events("call.intent")]

    def outcomes(self) -> dict[str, str]:
        return {event["call_id"]: event["outcome"] for event in self.house.events("call.outcome")}

    def freeze_is_over(self) -> None:
        for process in self.house.processes:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def scene(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Scene]:
    postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
        upstream.scripts["tools/call"] = done
        house = stack.enter_context(FaultyInstallation(tmp_path, database=database, postgres_url=postgres_url))
        house.apply(cast.organisation({"upstream": upstream.url}, timeout_seconds=30))
        pool = stack.enter_context(ThreadPoolExecutor(4))
        yield Scene(house, upstream, house.issue_key(cast.TRIAGE_BOT), pool)
        house.kill9()


async def done(turn: Turn) -> None:
    await turn.result(DONE)


async def never(turn: Turn) -> None:
    await asyncio.sleep(3600)


def eventually(condition: Callable[[], bool], *, within_seconds: float = 30.0) -> None:
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def wait_for_death(house: Installation) -> None:
    for process in list(house.processes):
        process.wait(40)
        house.processes.remove(process)


# -- kill -9 between any two stages


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.databases("sqlite", "postgres")
def test_killed_between_any_two_stages(scene: Scene, moment: str) -> None:
    scene.start(f"kill:{moment}")
    calling = scene.begin()
    wait_for_death(scene.house)
    assert scene.sent() <= len(scene.intents()), "sent without an intent"
    with pytest.raises(httpx.TransportError):
        calling.result(20)
    scene.house.declare_silent()
    scene.start()
    eventually(lambda: set(scene.outcomes()) == set(scene.intents()), within_seconds=RECOVERY_SECONDS)
    assert list(scene.outcomes().values()) == MOMENTS[moment]
    assert scene.sent() == (0 if moment in ("before:admit", "after:admit") else 1)
    assert scene.call().text == "done"


def test_recovery_closes_what_a_killed_process_was_running_within_its_bound(scene: Scene) -> None:
    scene.upstream.scripts["tools/call"] = never
    scene.start()
    calling = scene.begin()
    eventually(lambda: scene.sent() == 1)
    scene.house.kill9()
    killed = time.monotonic()
    with pytest.raises(httpx.TransportError):
        calling.result(20)
    scene.start()
    assert scene.outcomes() == {}, "nobody may say what became of it before its process is known to be dead"
    eventually(lambda: list(scene.outcomes().values()) == ["unknown"], within_seconds=RECOVERY_SECONDS)
    assert time.monotonic() - killed > DEAD_SECONDS - 2
    assert scene.sent() == 1, "recovery repeats nothing"
    assert set(scene.outcomes()) == set(scene.intents())


def test_a_process_that_lives_is_not_declared_dead(scene: Scene) -> None:
    scene.upstream.scripts["tools/call"] = never
    scene.start()
    scene.begin()
    eventually(lambda: scene.sent() == 1)
    first = scene.house.processes[0].pid
    scene.start()
    time.sleep(3)
    assert scene.outcomes() == {}
    [(ended,)] = scene.house.sql("SELECT ended_at FROM gateway_gatewayprocess WHERE pid = %s", first)
    assert ended is None


# -- frozen processes


def test_frozen_after_the_commit_it_does_not_send_late(scene: Scene) -> None:
    scene.start("freeze:before:execute")
    calling = scene.begin()
    eventually(lambda: len(scene.intents()) == 1)
    time.sleep(1.3)
    assert scene.sent() == 0
    scene.freeze_is_over()
    assert calling.result(20).text == "done"
    first, second = scene.intents()
    assert scene.outcomes() == {first: "not_sent", second: "ok"}
    assert scene.sent() == 1


def test_frozen_after_the_commit_and_revoked_meanwhile_it_sends_nothing(scene: Scene) -> None:
    scene.start("freeze:before:execute")
    calling = scene.begin()
    eventually(lambda: len(scene.intents()) == 1)
    scene.house.manage("retire_agent", cast.TRIAGE_BOT)
    time.sleep(1.1)
    scene.freeze_is_over()
    assert calling.result(20).status == 401
    assert scene.sent() == 0
    assert list(scene.outcomes().values()) == ["not_sent"]


def test_a_frozen_process_that_was_declared_dead_answers_unknown_and_ends(scene: Scene) -> None:
    """Recovery closed its call; what it knows of the outcome comes too late, and it may not go on serving."""
    scene.start("freeze:before:commit_outcome")
    calling = scene.begin()
    eventually(lambda: scene.sent() == 1)
    time.sleep(0.3)
    [frozen] = scene.house.processes
    scene.house.processes.clear()
    scene.house.declare_silent()
    scene.start()
    eventually(lambda: list(scene.outcomes().values()) == ["unknown"], within_seconds=RECOVERY_SECONDS)
    frozen.send_signal(signal.SIGCONT)
    answer = calling.result(20)
    assert "Do not repeat it" in answer.text
    assert list(scene.outcomes().values()) == ["unknown"]
    frozen.wait(40)


# -- the database away, or without room


@pytest.fixture(params=[take_away, fill], ids=["away", "full"])
def away(request: pytest.FixtureRequest, scene: Scene) -> Iterator[Callable[[], Callable[[], None]]]:
    """Takes the database away; what it returns brings it back."""
    back: list[Callable[[], None]] = []

    def take() -> Callable[[], None]:
        back.append(request.param(scene.house))
        return back[-1]

    yield take
    for restore in back:
        restore()


def test_without_the_database_nothing_is_sent(scene: Scene, away: Callable[[], Callable[[], None]]) -> None:
    scene.start()
    assert scene.call().text == "done"
    restore = away()
    started = time.monotonic()
    refused = scene.call()
    assert refused.status == 503
    assert refused.headers["retry-after"]
    assert time.monotonic() - started < 20
    assert scene.sent() == 1
    restore()
    eventually(lambda: scene.call().status == 200)


def test_an_outcome_that_cannot_be_recorded_is_told_as_unknown(
    scene: Scene, away: Callable[[], Callable[[], None]]
) -> None:
    restore: list[Callable[[], None]] = []

    async def lose_the_database(turn: Turn) -> None:
        restore.append(await asyncio.to_thread(away))
        await turn.result(DONE)

    scene.start()
    scene.upstream.scripts["tools/call"] = lose_the_database
    answer = scene.call()
    [call_id] = [event["call_id"] for event in scene_events_later(scene, restore)]
    assert answer.status == 200
    assert answer.result["isError"] is True
    assert "Do not repeat it" in answer.text
    assert "done" not in answer.text
    assert answer.result["_meta"]["com.gatehouse/decision"] == {"code": "outcome_unknown", "call_id": call_id}
    assert "retry-after" not in answer.headers
    eventually(lambda: scene.outcomes() == {call_id: "unknown"}, within_seconds=RECOVERY_SECONDS)
    assert scene.sent() == 1


def scene_events_later(scene: Scene, restore: list[Callable[[], None]]) -> list[dict[str, Any]]:
    """The intents, once the database is back."""
    restore.pop()()
    return scene.house.events("call.intent")
