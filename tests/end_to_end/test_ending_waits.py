"""SIGTERM while a client is waited for: nobody holds the process up, nothing is sent again, no outcome is lost."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, eventually, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import META, Caller, Reply, modern_headers, modern_message

DONE = {"content": [{"type": "text", "text": "done"}]}
SOON_SECONDS = 20.0
ELICITATION: dict[str, Any] = {"elicitation": {"form": {}}}
QUESTION = {"method": "elicitation/create", "params": {"message": "Sure?", "requestedSchema": {"type": "object"}}}


@dataclass
class Desk:
    house: Installation
    upstream: ScriptedServer
    key: str

    def caller(self, url: str) -> Caller:
        return Caller(url, self.key, path="/mcp/upstream")

    def end(self) -> float:
        """SIGTERM; how long the process took to end."""
        process = self.house.processes.pop(0)
        started = time.monotonic()
        process.terminate()
        process.wait(SOON_SECONDS)
        return time.monotonic() - started

    def outcomes(self) -> list[str]:
        return [event["outcome"] for event in self.house.events("call.outcome")]


@pytest.fixture
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_legacy(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
        house = make_installation()
        manifest = cast.organisation({"upstream": upstream.url}, timeout_seconds=120)
        manifest["connectors"][0]["relays"] = ["elicitation"]
        house.apply(manifest)
        stack.callback(house.kill9)
        yield Desk(house, upstream, house.issue_key(cast.TRIAGE_BOT))
        assert "Traceback" not in house.log()


def call(caller: Caller, **params: Any) -> Reply:
    message = modern_message("tools/call", {"name": "act", "arguments": {}, **params})
    message["params"]["_meta"][f"{META}clientCapabilities"] = ELICITATION
    return caller.post(json.dumps(message).encode(), modern_headers(message))


def test_a_call_that_waits_for_its_client_ends_at_once_and_its_outcome_is_kept(desk: Desk) -> None:
    async def ask(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "id": "q", **QUESTION})
        await eventually(lambda: any(seen.body and "method" not in seen.message for seen in desk.upstream.requests))
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    desk.upstream.scripts["tools/call"] = ask
    with closing(desk.caller(desk.house.start_gateway(1))) as caller:
        asked = call(caller).result
        assert asked["resultType"] == "input_required"
        assert desk.end() < SOON_SECONDS
    answers = [seen.message for seen in desk.upstream.requests if seen.body and "method" not in seen.message]
    assert "about to end" in answers[0]["error"]["message"]
    assert desk.outcomes() == ["ok"]
    given = {key: {"action": "accept", "content": {}} for key in asked["inputRequests"]}
    with closing(desk.caller(desk.house.start_gateway(1))) as caller:
        told = call(caller, requestState=asked["requestState"], inputResponses=given).result
    assert told["content"] == DONE["content"]
    assert len(desk.upstream.sent("tools/call")) == 1


def test_a_task_comes_to_its_end_before_its_process_does(desk: Desk) -> None:
    begun: list[float] = []

    async def slow(turn: Turn) -> None:
        begun.append(time.monotonic())
        await eventually(lambda: time.monotonic() > begun[0] + 2)
        await turn.result(DONE)

    desk.upstream.scripts["tools/call"] = slow
    with closing(desk.caller(desk.house.start_gateway(1))) as caller:
        task = caller.ask("tools/call", {"name": "act", "arguments": {}, "task": {}}).result["task"]
        assert task["status"] == "working"
        desk.end()
    with closing(desk.caller(desk.house.start_gateway(1))) as caller:
        assert caller.ask("tasks/get", {"taskId": task["taskId"]}).result["status"] == "completed"
        assert caller.ask("tasks/result", {"taskId": task["taskId"]}).result["content"] == DONE["content"]
    assert desk.outcomes() == ["ok"]
