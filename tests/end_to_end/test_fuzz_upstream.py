"""An upstream that may say anything: the agent gets one sound answer, evidence one outcome, and others go on."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import cast
from tests.connectors.servers import Turn, scripted_server
from tests.connectors.test_sse import FRAGMENTS
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.test_fuzz import EXAMPLES, SOAK_EXAMPLES, check, fuzz, json_values
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

ID = "the id of the request"
"""Stands for it in what is generated."""
DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}

ids = st.just(ID) | st.just(ID) | json_values
results = json_values | st.fixed_dictionaries(
    {},
    optional={
        "content": json_values | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": json_values})),
        "structuredContent": json_values,
        "isError": json_values,
        "resultType": st.sampled_from(["complete", "input_required", "task"]) | json_values,
        "inputRequests": json_values,
        "requestState": json_values,
        "taskId": json_values,
        "status": json_values,
        "_meta": json_values,
    },
)
errors = json_values | st.fixed_dictionaries(
    {}, optional={"code": st.integers() | json_values, "message": json_values, "data": json_values}
)
methods = st.sampled_from(
    ["notifications/progress", "notifications/message", "elicitation/create", "ping", "roots/list"]
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | json_values,
        "id": ids,
        "result": results,
        "error": errors,
        "method": methods | json_values,
        "params": json_values,
    },
)
answers = st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "id": st.just(ID), "result": results})
bodies = (answers | messages | json_values).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
events = (
    (answers | messages).map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n")
    | FRAGMENTS
    | st.binary(max_size=40)
)
streams = st.lists(events, max_size=6).map(b"".join)
kinds = st.sampled_from(["application/json", "text/event-stream", "text/html", "", "application/json; charset=utf-16"])
fine = st.just("200 OK")
statuses = fine | fine | st.sampled_from(["202 Accepted", "204 No", "404 Not", "500 Oh", "99 x"])
replies = st.tuples(statuses, kinds, bodies) | st.tuples(fine, st.just("text/event-stream"), streams)


@dataclass
class Script:
    """What the upstream says next; without it, what it should."""

    says: tuple[str, str, bytes] | None = None
    received: list[str] = field(default_factory=list)

    async def act(self, turn: Turn) -> None:
        said, self.says = self.says, None
        self.received.append(turn.seen.message["method"])
        if said is None:
            await turn.result(DONE)
            return
        status, kind, body = said
        own_id = json.dumps(turn.seen.message["id"]).encode()
        body = body.replace(b'"%s"' % ID.encode(), own_id)
        await turn.respond(body, status=status, kind=kind, extra="Connection: close\r\n")
        turn.writer.close()


@dataclass
class Desk:
    house: Installation
    agent: Caller
    script: Script


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
        script = Script()
        upstream.scripts["tools/call"] = script.act
        house = make_installation()
        house.apply(cast.organisation({"upstream": upstream.url}, timeout_seconds=1))
        key = house.issue_key(cast.TRIAGE_BOT)
        agent = stack.enter_context(closing(Caller(house.start_gateway(), key, path="/mcp/upstream")))
        yield Desk(house, agent, script)
        assert "Traceback" not in house.log()
        intents = [event["call_id"] for event in house.events("call.intent")]
        assert sorted(event["call_id"] for event in house.events("call.outcome")) == sorted(intents)
        assert len(script.received) == len(intents), "each was sent once"


def answer_whatever(desk: Desk, reply: tuple[str, str, bytes], is_modern: bool) -> None:
    desk.script.says = reply
    ask = desk.agent.ask_modern if is_modern else desk.agent.ask
    check(ask("tools/call", {"name": "act", "arguments": {}}))
    assert desk.script.says is None, "it was asked"
    assert desk.agent.call("act").text == "done"


@given(reply=replies, is_modern=st.booleans())
@fuzz(EXAMPLES)
def test_whatever_it_says(desk: Desk, reply: Any, is_modern: bool) -> None:
    answer_whatever(desk, reply, is_modern)


@pytest.mark.soak
@given(reply=replies, is_modern=st.booleans())
@fuzz(SOAK_EXAMPLES // 5)
def test_whatever_it_says_for_long(desk: Desk, reply: Any, is_modern: bool) -> None:
    answer_whatever(desk, reply, is_modern)
