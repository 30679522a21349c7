"""Rate limits over real processes: together they let no more pass than one would."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller, Reply

pytestmark = pytest.mark.databases("postgres")

MAXIMUM = 40
CALLERS = 8
CALLS_EACH = 15
DAY_SECONDS = 86_400
DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}


async def done(turn: Turn) -> None:
    await turn.result(DONE)


@pytest.fixture
def limited(make_installation: MakeInstallation) -> Iterator[tuple[Installation, ScriptedServer, str]]:
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
        upstream.scripts["tools/call"] = done
        house = make_installation()
        few = {"name": "few", "per": "agent", "window_seconds": DAY_SECONDS, "requests": MAXIMUM}
        house.apply(cast.organisation({"upstream": upstream.url}) | {"limits": [few]})
        stack.callback(house.kill9)
        yield house, upstream, house.issue_key(cast.TRIAGE_BOT)
        assert "Traceback" not in house.log()


def test_two_processes_let_no_more_pass_together(limited: tuple[Installation, ScriptedServer, str]) -> None:
    house, upstream, key = limited
    house.start_gateway(2)

    def calls(_: int) -> list[Reply]:
        replies = []
        for _ in range(CALLS_EACH):
            with closing(Caller(house.url, key, path="/mcp/upstream")) as caller:
                replies.append(caller.call("act"))
        return replies

    with ThreadPoolExecutor(CALLERS) as pool:
        replies = [reply for found in pool.map(calls, range(CALLERS)) for reply in found]
    told = Counter(reply.status for reply in replies)
    assert MAXIMUM / 2 < told[200] <= MAXIMUM
    assert told[200] + told[429] == CALLERS * CALLS_EACH
    assert len(upstream.sent("tools/call")) == len(house.events("call.intent")) == told[200]
    refused = next(reply for reply in replies if reply.status == 429)
    assert 0 < int(refused.headers["retry-after"]) <= DAY_SECONDS
    assert refused.message["error"]["data"]["com.gatehouse/decision"]["code"] == "rate_limited"
    assert len(house.events("call.refused")) < told[429] / 4, "a flood is recorded in sums"
    house.stop_gateway()
    sums = [event["details"]["total"] for event in house.events("calls.refused_again")]
    assert len(house.events("call.refused")) + sum(sums) == told[429]
