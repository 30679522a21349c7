"""Tasks of upstreams, polled to their end: the modern extension and those of 2025-11-25."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from connectors import mcp_tasks
from connectors.base import RawResult, UpstreamAuth, UpstreamFailure
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec, tool_call
from tests.connectors.relays import FORM, RecordingRelay, refuse
from tests.connectors.servers import ScriptedServer, Turn, eventually

DONE = {"content": [{"type": "text", "text": "done"}], "isError": False}
ASK_FORM = {"method": "elicitation/create", "params": {"message": "Sure?"}}
EXTENSION = "io.modelcontextprotocol/tasks"
Ask = Callable[..., Awaitable[RawResult]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_tasks, "SHORTEST_POLL_SECONDS", 0.01)


@pytest.fixture
def ask(connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth) -> Ask:
    async def perform(relay: RecordingRelay | None = None, **changes: Any) -> RawResult:
        spec = spec_of(upstream.url, relays=frozenset(("elicitation",)), **changes)
        return await connector.request(spec, auth, tool_call(), relay or RecordingRelay())

    return perform


def state(status: str, **more: Any) -> dict[str, Any]:
    return {"taskId": "t-1", "status": status, "ttlMs": None, "pollIntervalMs": 10, **more}


class Tasks:
    """An upstream that answers tools/call with a task, and goes through the states at each poll."""

    def __init__(self, upstream: ScriptedServer, *states: dict[str, Any], modern: bool = True) -> None:
        self.states = list(states)
        self.modern = modern
        upstream.scripts |= {"tools/call": self.create, "tasks/get": self.poll, "tasks/update": self.ack}

    async def create(self, turn: Turn) -> None:
        task = state("working")
        await turn.result({"resultType": "task", **task} if self.modern else {"task": {**task, "pollInterval": 10}})

    async def poll(self, turn: Turn) -> None:
        following = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        await turn.result({"resultType": "complete", **following})

    async def ack(self, turn: Turn) -> None:
        await turn.result({"resultType": "complete"})


# -- modern


async def test_a_task_is_polled_until_its_result(ask: Ask, upstream: ScriptedServer) -> None:
    Tasks(upstream, state("working"), state("working"), state("completed", result=DONE))
    relay = RecordingRelay()
    raw = await ask(relay)
    assert (raw.result, raw.error) == (DONE, None)
    assert relay.tasks == 1
    assert len(upstream.sent("tasks/get")) == 3
    poll = upstream.sent("tasks/get")[0]
    assert poll.headers["mcp-name"] == "t-1"
    assert poll.message["params"]["taskId"] == "t-1"
    capabilities = poll.message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert EXTENSION in capabilities["extensions"]
    assert "tasks/cancel" not in upstream.methods()


async def test_only_tool_calls_may_become_tasks(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    await connector.discover(spec_of(upstream.url), auth)
    meta = upstream.sent("tools/list")[0].message["params"]["_meta"]
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}


@pytest.mark.parametrize(
    ("final", "error"),
    [
        (state("failed", error={"code": -32000, "message": "boom"}), {"code": -32000, "message": "boom"}),
        (state("cancelled"), {"code": -32603, "message": "The upstream cancelled its task."}),
    ],
)
async def test_a_task_that_did_not_succeed_is_an_error(
    ask: Ask, upstream: ScriptedServer, final: dict[str, Any], error: dict[str, Any]
) -> None:
    Tasks(upstream, final)
    assert (await ask()).error == error


@pytest.mark.parametrize(
    "final",
    [
        state("completed"),
        state("completed", result=[]),
        state("failed"),
        state("failed", error="boom"),
        state("input_required"),
        state("sleeping"),
        {**state("working"), "status": []},
        {},
    ],
)
async def test_a_task_without_sense_is_a_failure_and_cancelled(
    ask: Ask, upstream: ScriptedServer, final: dict[str, Any]
) -> None:
    Tasks(upstream, final)
    with pytest.raises(UpstreamFailure) as caught:
        await ask()
    assert (caught.value.code, caught.value.reached) == ("bad_answer", True)
    await eventually(lambda: "tasks/cancel" in upstream.methods())


async def test_what_a_task_asks_is_asked_once_and_answered(ask: Ask, upstream: ScriptedServer) -> None:
    asking = state("input_required", inputRequests={"k": ASK_FORM})
    both = state("input_required", inputRequests={"k": ASK_FORM, "l": ASK_FORM})
    Tasks(upstream, asking, asking, both, state("completed", result=DONE))
    relay = RecordingRelay(FORM)
    assert (await ask(relay)).result == DONE
    assert [list(asked) for asked in relay.asked] == [["k"], ["l"]]
    updates = [seen.message["params"]["inputResponses"] for seen in upstream.sent("tasks/update")]
    assert [list(update) for update in updates] == [["k"], ["l"]]


async def test_a_task_nobody_answers_is_cancelled(ask: Ask, upstream: ScriptedServer) -> None:
    Tasks(upstream, state("input_required", inputRequests={"k": ASK_FORM}))
    with pytest.raises(UpstreamFailure) as caught:
        await ask(RecordingRelay(FORM, answer=refuse))
    assert (caught.value.code, caught.value.reached) == ("not_answered", True)
    await eventually(lambda: "tasks/cancel" in upstream.methods())


@pytest.mark.parametrize("modern", [True, False])
async def test_cancelling_the_call_cancels_the_task(ask: Ask, upstream: ScriptedServer, modern: bool) -> None:
    if not modern:
        be_tasking(upstream)
    Tasks(upstream, state("working"), modern=modern)
    call = asyncio.create_task(ask())  # type: ignore[arg-type]
    await eventually(lambda: len(upstream.sent("tasks/get")) > 2)
    call.cancel()
    await eventually(lambda: "tasks/cancel" in upstream.methods())
    assert upstream.sent("tasks/cancel")[0].message["params"]["taskId"] == "t-1"


async def test_a_lost_poll_is_repeated_but_not_for_ever(ask: Ask, upstream: ScriptedServer) -> None:
    tasks = Tasks(upstream, state("completed", result=DONE))
    losses = 2

    async def lossy(turn: Turn) -> None:
        nonlocal losses
        losses -= 1
        if losses >= 0:
            turn.reset()
        else:
            await tasks.poll(turn)

    upstream.scripts["tasks/get"] = lossy
    assert (await ask()).result == DONE
    losses = 1_000
    with pytest.raises(UpstreamFailure) as caught:
        await ask()
    assert (caught.value.code, caught.value.reached) == ("reset", True)


async def test_a_task_outlives_the_usual_time(ask: Ask, upstream: ScriptedServer) -> None:
    Tasks(upstream, *[state("working")] * 60, state("completed", result=DONE))
    assert (await ask(timeout_seconds=0.4)).result == DONE


@pytest.mark.parametrize("task_id", [None, "", 5, "x" * 2000])
async def test_a_task_needs_a_name(ask: Ask, upstream: ScriptedServer, task_id: object) -> None:
    async def create(turn: Turn) -> None:
        await turn.result({"resultType": "task", "taskId": task_id, "status": "working"})

    upstream.scripts["tools/call"] = create
    with pytest.raises(UpstreamFailure) as caught:
        await ask()
    assert caught.value.code == "bad_answer"


@pytest.mark.parametrize("polls_tasks", [True, False])
async def test_tasks_are_declared_only_for_who_may_get_one(
    ask: Ask, upstream: ScriptedServer, polls_tasks: bool
) -> None:
    """An agent that could have said that it takes tasks hears what the upstream says to such agents."""

    async def demanding(turn: Turn) -> None:
        declared = turn.seen.message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        if EXTENSION in declared.get("extensions", {}):
            await turn.result({"resultType": "complete", **DONE})
        else:
            await turn.error(-32021, requiredCapabilities={"extensions": {EXTENSION: {}}})

    upstream.scripts["tools/call"] = demanding
    answer = await ask(RecordingRelay(polls_tasks=polls_tasks))
    assert (answer.error or {}).get("code") == (None if polls_tasks else -32021)


# -- legacy


def be_tasking(upstream: ScriptedServer, *, support: str = "required") -> None:
    upstream.be_legacy(
        version="2025-11-25",
        session_id="s-1",
        capabilities={"tools": {}, "tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}},
        tools=[{"name": "act", "execution": {"taskSupport": support}}],
    )


async def test_a_tool_that_requires_a_task_is_called_as_one(ask: Ask, upstream: ScriptedServer) -> None:
    be_tasking(upstream)
    Tasks(upstream, state("working"), state("completed"), modern=False)

    async def result(turn: Turn) -> None:
        related = {"io.modelcontextprotocol/related-task": {"taskId": "t-1"}}
        await turn.result({**DONE, "_meta": {**related, "kept": 1}})

    upstream.scripts["tasks/result"] = result
    relay = RecordingRelay()
    assert (await ask(relay)).result == {**DONE, "_meta": {"kept": 1}}, "the upstream's own task is not told"
    assert relay.tasks == 1
    assert upstream.sent("tools/call")[0].message["params"]["task"]["ttl"] > 0
    assert upstream.methods().index("tasks/result") > upstream.methods().index("tasks/get")


@pytest.mark.parametrize("takes_tasks", [True, False])
async def test_a_tool_that_may_be_a_task_is_one_for_who_takes_tasks(
    ask: Ask, upstream: ScriptedServer, takes_tasks: bool
) -> None:
    be_tasking(upstream, support="optional")

    async def done(turn: Turn) -> None:
        await turn.result(DONE)

    if takes_tasks:
        Tasks(upstream, state("completed"), modern=False)
        upstream.scripts["tasks/result"] = done
    else:
        upstream.scripts["tools/call"] = done
    relay = RecordingRelay(takes_tasks=takes_tasks)
    assert (await ask(relay)).result == DONE
    assert ("task" in upstream.sent("tools/call")[0].message["params"], relay.tasks) == (takes_tasks, int(takes_tasks))


@pytest.mark.parametrize("support", ["optional", "forbidden"])
async def test_a_tool_that_can_do_without_a_task_is_called_plainly(
    ask: Ask, upstream: ScriptedServer, support: str
) -> None:
    be_tasking(upstream, support=support)

    async def plain(turn: Turn) -> None:
        await turn.result(DONE)

    upstream.scripts["tools/call"] = plain
    assert (await ask()).result == DONE
    assert "task" not in upstream.sent("tools/call")[0].message["params"]


async def test_a_legacy_task_asks_on_the_stream_of_its_result(ask: Ask, upstream: ScriptedServer) -> None:
    be_tasking(upstream)
    Tasks(upstream, state("input_required"), modern=False)

    async def result(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "id": "q", **ASK_FORM})
        await eventually(lambda: any("method" not in seen.message for seen in upstream.requests))
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    upstream.scripts["tasks/result"] = result
    relay = RecordingRelay(FORM)
    assert (await ask(relay)).result == DONE
    assert relay.asked == [{"q": ASK_FORM}]
