"""Whatever strikes at whatever moment: what agents heard, what the upstream got and what evidence holds agree."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.end_to_end.histories import Evidence, Heard, Intent, Outcome, Recorder, check, digest_of
from tests.end_to_end.storm import FAULTS, Storm, UnluckyInstallation
from tests.end_to_end.storm_world import RECOVERY_SECONDS, World, made, private_server, told
from tests.end_to_end.wire import Caller

SAMPLE_SECONDS = 10.0
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))

House = UnluckyInstallation


@pytest.fixture
def world(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[World[House]]:
    postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    with made(tmp_path, database, postgres_url, of=House) as world:
        yield world


def weather(
    world: World[House], *, seed: int, processes: int, seconds: float, agents: int, one_in: int
) -> tuple[Storm, str]:
    """A storm, its check, and what was in it."""
    world.house.one_in = one_in
    world.house.start_gateway(processes)
    storm = Storm(world.house, world.upstream, world.keys, seed=seed, crash=world.crash)
    storm.run(list(FAULTS), agents=agents, seconds=seconds)
    evidence = world.recovered()
    story = told(storm, evidence)
    print(story)
    assert check(storm.recorder, evidence) == []
    return storm, story


@pytest.mark.databases("sqlite", "postgres")
def test_a_storm_over_two_processes(world: World[House]) -> None:
    storm, story = weather(world, seed=1, processes=2, seconds=SAMPLE_SECONDS, agents=12, one_in=3000)
    assert set(FAULTS) <= set(storm.faults), story
    assert len(storm.recorder.requests) > 50, story
    assert "Traceback" not in world.house.log()


def test_a_clock_that_was_set_back_hides_no_open_call(world: World[House]) -> None:
    """Ids of records begin with the time: the call that a dead process left open is older than its last heartbeat."""
    world.house.start_gateway()
    [process] = world.house.processes
    process.send_signal(signal.SIGUSR1)
    ahead = time.time() + 1_000
    wait_until(lambda: max(map(moment_of, world.oldest_in_flight())) > ahead)
    process.send_signal(signal.SIGUSR1)
    with (
        ThreadPoolExecutor(1) as pool,
        closing(Caller(world.house.url, world.keys[0].token, path="/mcp/upstream")) as agent,
    ):
        Storm(world.house, world.upstream, world.keys, seed=0)
        calling = pool.submit(agent.call, "act", nonce="1", habit="goes-half")
        wait_until(lambda: bool(world.upstream.sent("tools/call")))
        world.house.kill9()
        with pytest.raises(httpx.TransportError):
            calling.result(20)
    evidence = world.recovered()
    assert [outcome.outcome for found in evidence.outcomes.values() for outcome in found] == ["unknown"]
    assert not evidence.open_intents()


def moment_of(record_id: Any) -> float:
    return (UUID(str(record_id)).int >> 80) / 1000


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.soak
@pytest.mark.parametrize("processes", [1, 2])
def test_long_storms(world: World[House], processes: int) -> None:
    seed = int(os.environ.get("SOAK_SEED", time.time_ns()))
    storm, story = weather(world, seed=seed, processes=processes, seconds=SOAK_SECONDS, agents=24, one_in=2000)
    assert set(FAULTS) <= set(storm.faults), story
    assert len(storm.recorder.requests) > SOAK_SECONDS, story


FLAWS = {
    "sends-first": "upstream call without an intent",
    "answers-first": "without such an outcome",
    "forgets-revocations": "a call by a revoked caller",
    "tries-again": "executed 2 times",
}


@pytest.mark.soak
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_gateway_that_breaks_a_promise_is_noticed(world: World[House], flaw: str) -> None:
    """Each moment at which somebody hears something may be the last of all processes."""
    world.house.flaw = flaw
    world.house.start_gateway(2)
    storm = Storm(world.house, world.upstream, world.keys, seed=1, felled_one_in=5 if "first" in flaw else 0)
    storm.run(["revoke", "revoke"], agents=12, seconds=SAMPLE_SECONDS)
    world.house.flaw = ""
    evidence = world.recovered()
    objections = check(storm.recorder, evidence)
    print(told(storm, evidence), *objections[:3], sep="\n  ")
    assert any(FLAWS[flaw] in objection for objection in objections), objections


@pytest.mark.soak
def test_a_long_storm_over_a_server_that_crashes(tmp_path: Path) -> None:
    with private_server() as server, made(tmp_path, "postgres", server.url, of=House) as world:
        world.server = server
        seed = int(os.environ.get("SOAK_SEED", time.time_ns()))
        storm, story = weather(world, seed=seed, processes=2, seconds=SOAK_SECONDS, agents=24, one_in=3000)
        assert storm.faults["lose-the-database"], story


class TestTheCheck:
    """It objects to each thing that must not be, and to nothing else."""

    ARGUMENTS = {"name": "act", "arguments": {"nonce": "1-1"}}

    def recorder(self, *, received: int = 1, heard: Heard | None = Heard.DONE) -> Recorder:
        recorder = Recorder()
        digest = recorder.sends("k1", self.ARGUMENTS)
        recorder.received += [digest] * received
        if heard is not None:
            recorder.hears(digest, heard)
        return recorder

    def evidence(self, *outcomes: str, epoch: int = 5, **revoked: int) -> Evidence:
        digest = digest_of(self.ARGUMENTS)
        intents = {digest: [Intent("c1", digest, "k1", epoch)]}
        return Evidence(intents, {"c1": [Outcome(outcome, "") for outcome in outcomes]}, revoked)

    @pytest.mark.parametrize("heard", [Heard.DONE, None])
    def test_a_sound_call_is_sound(self, heard: Heard | None):
        assert check(self.recorder(heard=heard), self.evidence("ok")) == []

    def test_a_call_that_was_not_sent_may_be_refused(self):
        assert check(self.recorder(received=0, heard=Heard.REFUSED), self.evidence("not_sent")) == []

    def test_an_answer_may_be_withheld(self):
        assert check(self.recorder(heard=Heard.REFUSED), self.evidence("withheld")) == []

    @pytest.mark.parametrize(
        ("changes", "outcomes", "revoked", "objection"),
        [
            ({"received": 2}, ["ok"], {}, "executed 2 times"),
            ({}, ["not_sent"], {}, "evidence says was not sent"),
            ({}, ["unknown"], {}, "without such an outcome"),
            ({}, [], {}, "without an outcome"),
            ({}, ["ok", "unknown"], {}, "several outcomes"),
            ({}, ["ok"], {"k1": 5}, "after its caller was revoked"),
            ({"heard": Heard.REFUSED}, ["ok"], {}, "nothing was done, but it was"),
            ({"heard": Heard.STRANGE}, ["ok"], {}, "a strange answer"),
        ],
    )
    def test_what_must_not_be_is_named(
        self, changes: dict[str, Any], outcomes: list[str], revoked: dict[str, int], objection: str
    ):
        found = check(self.recorder(**changes), self.evidence(*outcomes, **revoked))
        assert any(objection in said for said in found), found

    def test_a_call_without_an_intent_is_named(self):
        found = check(self.recorder(heard=None), Evidence({}, {}, {}))
        assert any("without an intent" in said for said in found)

    def test_a_call_that_was_sent_after_a_revocation_is_named(self):
        recorder = self.recorder()
        recorder.revoked["k1"] = recorder.requests[digest_of(self.ARGUMENTS)].sent_at - 1
        found = check(recorder, self.evidence("ok", k1=9))
        assert any("a call by a revoked caller" in said for said in found)
