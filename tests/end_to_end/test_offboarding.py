"""An offboarding beside real gateways: all of them confirm, running calls are cut, a dead one is not waited for."""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

RUNNING = 3


async def never(turn: Turn) -> None:
    await asyncio.sleep(3600)


@dataclass
class Desk:
    """Two gateways before an upstream that never answers."""

    house: Installation
    upstream: ScriptedServer
    url: str
    key: str

    def call(self) -> int:
        with closing(Caller(self.url, self.key, path="/mcp/slow")) as agent:
            return agent.call("wait").status

    def await_calls(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.upstream.sent("tools/call")) < count:
            assert time.monotonic() < deadline, "the calls did not reach the upstream"
            time.sleep(0.02)


@pytest.fixture
def desk(installation: Installation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_modern(tools=[{"name": "wait", "inputSchema": {"type": "object"}}])
        upstream.scripts["tools/call"] = never
        installation.apply(cast.organisation({"slow": upstream.url}, timeout_seconds=60))
        key = installation.issue_key(cast.TRIAGE_BOT)
        yield Desk(installation, upstream, installation.start_gateway(processes=2), key)


def test_every_gateway_confirms_and_running_calls_are_cut(desk: Desk) -> None:
    with ThreadPoolExecutor(RUNNING) as pool:
        running = [pool.submit(desk.call) for _ in range(RUNNING)]
        desk.await_calls(RUNNING)
        text = desk.house.manage("offboard", cast.ANA, "--successor", cast.LEE, "--json").stdout.strip()
        answered = [call.result(20) for call in running]
    receipt = json.loads(text)
    enforcement = receipt["enforcement"]
    assert enforcement["complete"]
    assert (enforcement["gateways"]["live"], enforcement["gateways"]["confirmed"]) == (2, 2)
    assert len(enforcement["calls"]) == RUNNING
    assert not {call["fate"] for call in enforcement["calls"]} & {"open", "ok"}
    assert len(answered) == RUNNING
    assert receipt["check"]["clean"]
    assert desk.call() == 401
    (event,) = desk.house.events("offboarding.completed")
    assert event["details"]["receipt_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert desk.house.answer("verify_audit")["sound"]


def test_a_gateway_that_died_is_not_waited_for_forever(desk: Desk) -> None:
    """It says nothing any more; after its last heartbeat has grown old it counts as dead, and its calls as unknown."""
    desk.house.kill9(0)
    receipt = desk.house.answer("offboard", cast.ANA)
    assert receipt["enforcement"]["complete"]
    assert receipt["enforcement"]["gateways"]["live"] == 1
