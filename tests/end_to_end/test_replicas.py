"""An upstream with two addresses: when one dies, calls go on at the other, and nothing is done twice."""

from collections import Counter
from contextlib import ExitStack, closing

import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

pytestmark = pytest.mark.databases("postgres")

CALLS = 12


def offering(server: ScriptedServer, name: str) -> ScriptedServer:
    async def act(turn: Turn) -> None:
        await turn.result({"content": [{"type": "text", "text": name}], "resultType": "complete"})

    server.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
    server.scripts["tools/call"] = act
    return server


def test_calls_go_on_at_the_other_address(make_installation: MakeInstallation) -> None:
    with ExitStack() as stack:
        second = offering(stack.enter_context(in_background(scripted_server())), "second")
        with in_background(scripted_server()) as server:
            first = offering(server, "first")
            house = make_installation()
            manifest = cast.organisation({"upstream": first.url})
            manifest["connectors"] = [{"name": "upstream", "kind": "mcp", "urls": [first.url, second.url]}]
            house.apply(manifest)
            stack.callback(house.kill9)
            agent = Caller(house.start_gateway(), house.issue_key(cast.TRIAGE_BOT), path="/mcp/upstream")
            stack.enter_context(closing(agent))
            assert agent.call("act").text == "first"
        told = Counter(agent.call("act").result["content"][0]["text"].partition(":")[0] for _ in range(CALLS))
        assert told["second"] >= CALLS - 1, "at most the connection that broke off under a call was felt"
        outcomes = Counter(event["outcome"] for event in house.events("call.outcome"))
        assert outcomes.total() == len(house.events("call.intent")) == CALLS + 1
        assert len(second.sent("tools/call")) == told["second"]
        assert "Traceback" not in house.log()
