"""SIGTERM in the middle of work: every call that was begun is answered and has its outcome, streams end properly."""

import asyncio
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import httpx
import pytest

from gateway.draining import DRAIN_SECONDS
from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import BOTH_KINDS, MODERN, Caller, modern_headers, modern_message

pytestmark = pytest.mark.databases("postgres")

DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
CALLERS = 12
LATEST_SECONDS = 40.0


NAPS = {"act": 0.0, "slow": 1.0, "never": 3600.0}


async def act(turn: Turn) -> None:
    await asyncio.sleep(NAPS[turn.seen.message["params"]["name"]])
    await turn.result(DONE)


@dataclass
class Desk:
    house: Installation
    upstream: ScriptedServer
    key: str

    def caller(self) -> Caller:
        return Caller(self.house.url, self.key, path="/mcp/upstream")

    def intents(self) -> list[str]:
        return [event["call_id"] for event in self.house.events("call.intent")]

    def outcomes(self) -> dict[str, str]:
        return {event["call_id"]: event["outcome"] for event in self.house.events("call.outcome")}

    def until_sent(self, count: int) -> None:
        deadline = time.monotonic() + LATEST_SECONDS
        while len(self.upstream.sent("tools/call")) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop_one(self, *, within_seconds: float = LATEST_SECONDS) -> int:
        """SIGTERM to the first process; its exit status."""
        process = self.house.processes.pop(0)
        process.terminate()
        return process.wait(within_seconds)


@pytest.fixture
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in NAPS]
        upstream.be_modern(tools=tools)
        upstream.scripts["tools/call"] = act
        house = make_installation()
        house.apply(cast.organisation({"upstream": upstream.url}, timeout_seconds=120))
        stack.callback(house.kill9)
        yield Desk(house, upstream, house.issue_key(cast.TRIAGE_BOT))
        assert "Traceback" not in house.log()


@dataclass
class Load:
    """Agents that call without pause, each again after a refused or cut connection, until told to stop."""

    desk: Desk
    answered: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_answered(self, count: int) -> None:
        deadline = time.monotonic() + LATEST_SECONDS
        while self.answered.total() < count:
            assert time.monotonic() < deadline, self.answered
            time.sleep(0.01)

    def _call(self, number: int) -> None:
        tool = "slow" if number % 3 == 0 else "act"
        while not self._stop.is_set():
            with closing(self.desk.caller()) as caller:
                try:
                    while not self._stop.is_set():
                        self.answered[caller.call(tool).text] += 1
                except httpx.TransportError:
                    continue


def test_no_call_is_lost_while_one_of_two_processes_ends(desk: Desk) -> None:
    desk.house.start_gateway(2)
    with Load(desk) as load:
        load.until_answered(50)
        assert desk.stop_one() == -signal.SIGTERM
        load.until_answered(load.answered.total() + 50)
    assert set(load.answered) == {"done"}
    outcomes = desk.outcomes()
    assert sorted(outcomes) == sorted(desk.intents())
    assert set(outcomes.values()) == {"ok"}, "what was begun came to its end"
    assert load.answered.total() == len(outcomes) == len(desk.upstream.sent("tools/call"))


def test_a_call_that_runs_is_answered_before_the_process_ends(desk: Desk) -> None:
    desk.house.start_gateway(1)
    with closing(desk.caller()) as caller:
        told: list[str] = []
        calling = threading.Thread(target=lambda: told.append(caller.call("slow").text))
        calling.start()
        desk.until_sent(1)
        desk.stop_one()
        calling.join()
    assert told == ["done"]
    assert list(desk.outcomes().values()) == ["ok"]


@pytest.mark.soak
def test_a_call_that_never_ends_does_not_keep_the_process_and_has_an_outcome(desk: Desk) -> None:
    """It is cut off shortly before the time is over, and its agent is told not to repeat it blindly."""
    desk.house.start_gateway(1)
    with closing(desk.caller()) as caller:
        told: list[str] = []
        calling = threading.Thread(target=lambda: told.append(caller.call("never").body.decode()))
        calling.start()
        desk.until_sent(1)
        started = time.monotonic()
        desk.stop_one(within_seconds=DRAIN_SECONDS + 5)
        assert DRAIN_SECONDS - 5 < time.monotonic() - started < DRAIN_SECONDS
        calling.join()
    (outcome,) = desk.house.events("call.outcome")
    assert (outcome["outcome"], outcome["details"]["code"]) == ("failed", "ending")
    assert "do not repeat it blindly" in told[0]


def test_a_stream_that_idles_ends_properly_and_holds_nobody_up(desk: Desk) -> None:
    url = desk.house.start_gateway(1)
    message = modern_message("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=7)
    headers = {**modern_headers(message), "Authorization": f"Bearer {desk.key}", "Accept": BOTH_KINDS}
    headers["Content-Type"] = "application/json"
    address = f"{url}/mcp/upstream"
    with httpx.stream("POST", address, content=json.dumps(message), headers=headers, timeout=LATEST_SECONDS) as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines()
        first = next(line for line in lines if line.startswith("data:"))
        assert "acknowledged" in first
        started = time.monotonic()
        desk.stop_one()
        rest = [line for line in lines if line.startswith("data:")]
    assert time.monotonic() - started < LATEST_SECONDS / 2, "nobody waited for the stream to time out"
    last = json.loads(rest[-1].removeprefix("data:"))
    assert (last["id"], last["result"]["resultType"]) == (7, "complete")
    assert MODERN in headers["MCP-Protocol-Version"]
