"""Sessions with upstreams up to 2025-11-25 end as the specification wants it, and not before their last request."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from connectors.base import Interest, Question, UpstreamAuth, UpstreamSpec
from connectors.egress import Egress
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import LOOPBACK, MakeSpec, call_tool, tool_call
from tests.connectors.relays import FORM, RecordingRelay
from tests.connectors.servers import ScriptedServer, Seen, Turn, eventually

DONE: dict[str, Any] = {"content": []}


@pytest.fixture
def legacy(upstream: ScriptedServer) -> ScriptedServer:
    async def call(turn: Turn) -> None:
        await turn.result(DONE)

    upstream.be_legacy(session_id="s-1")
    upstream.scripts["tools/call"] = call
    return upstream


@pytest.fixture
def spec(legacy: ScriptedServer, spec_of: MakeSpec) -> UpstreamSpec:
    return spec_of(legacy.url, relays=frozenset(("elicitation",)))


def ended(upstream: ScriptedServer) -> list[Seen]:
    return [seen for seen in upstream.requests if seen.method == "DELETE"]


async def test_all_end_before_the_process_does(legacy: ScriptedServer, spec: UpstreamSpec, auth: UpstreamAuth) -> None:
    connector = McpHttp(Egress(allowed_networks=LOOPBACK))
    await call_tool(connector, spec, auth)
    await call_tool(connector, spec, auth, relay=RecordingRelay(FORM))
    assert ended(legacy) == []
    await connector.close()
    assert [seen.headers["mcp-session-id"] for seen in ended(legacy)] == ["s-1", "s-1"]
    assert {seen.headers["authorization"] for seen in ended(legacy)} == {"Bearer up-secret"}
    assert {seen.headers["mcp-protocol-version"] for seen in ended(legacy)} == {"2025-06-18"}


@pytest.mark.parametrize("change", ["revision", "forgotten"])
async def test_one_of_before_a_change_ends_with_its_last_request(
    connector: McpHttp, legacy: ScriptedServer, spec: UpstreamSpec, auth: UpstreamAuth, change: str
) -> None:
    go_on = asyncio.Event()

    async def slow(turn: Turn) -> None:
        await go_on.wait()
        await turn.result(DONE)

    legacy.scripts["tools/call"] = slow
    running = asyncio.create_task(call_tool(connector, spec, auth))
    await eventually(lambda: bool(legacy.sent("tools/call")))
    if change == "revision":
        newer = asyncio.create_task(call_tool(connector, replace(spec, revision="2"), auth))
        await eventually(lambda: len(legacy.sent("tools/call")) == 2)
    else:
        await connector.forget(["c1"])
        newer = asyncio.create_task(call_tool(connector, spec, auth))
        await eventually(lambda: len(legacy.sent("tools/call")) == 2)
    assert ended(legacy) == []
    assert len(legacy.sent("initialize")) == 2
    go_on.set()
    assert [(await each).result for each in (running, newer)] == [DONE, DONE]
    await eventually(lambda: len(ended(legacy)) == 1)


async def test_other_connectors_are_left_alone(
    connector: McpHttp, legacy: ScriptedServer, spec: UpstreamSpec, auth: UpstreamAuth
) -> None:
    other = replace(spec, connector_id="c2")
    await call_tool(connector, spec, auth)
    await call_tool(connector, other, auth)
    await connector.forget(["c1"])
    await eventually(lambda: len(ended(legacy)) == 1)
    await call_tool(connector, other, auth)
    assert len(legacy.sent("initialize")) == 2


async def test_one_that_is_listened_to_is_in_use(
    connector: McpHttp, legacy: ScriptedServer, spec: UpstreamSpec, auth: UpstreamAuth
) -> None:
    async def stream(turn: Turn) -> None:
        await turn.stream_head()

    async def heard(method: str, params: dict[str, object]) -> None:
        return

    legacy.be_legacy(session_id="s-1", capabilities={"tools": {"listChanged": True}})
    legacy.scripts["GET"] = stream
    listening = asyncio.create_task(connector.listen(spec, auth, Interest(tools=True), heard))
    await eventually(lambda: "GET" in [seen.method for seen in legacy.requests])
    await connector.forget(["c1"])
    await call_tool(connector, spec, auth)
    assert ended(legacy) == []
    listening.cancel()
    await eventually(lambda: len(ended(legacy)) == 1)


@pytest.mark.parametrize("answer", ["405 Method Not Allowed", "500 Oops"])
async def test_one_that_cannot_be_ended_harms_nobody(
    legacy: ScriptedServer, spec: UpstreamSpec, auth: UpstreamAuth, answer: str
) -> None:
    async def refuse(turn: Turn) -> None:
        await turn.respond(b"", status=answer)

    legacy.scripts["DELETE"] = refuse
    connector = McpHttp(Egress(allowed_networks=LOOPBACK))
    await call_tool(connector, spec, auth)
    await connector.close()
    assert len(ended(legacy)) == 1


async def test_an_upstream_that_never_answers_does_not_hold_up_the_end(
    legacy: ScriptedServer, spec: UpstreamSpec, auth: UpstreamAuth
) -> None:
    async def never(turn: Turn) -> None:
        await asyncio.sleep(60)

    legacy.scripts["DELETE"] = never
    connector = McpHttp(Egress(allowed_networks=LOOPBACK))
    await call_tool(connector, spec, auth)
    async with asyncio.timeout(30):
        await connector.close()


async def test_a_modern_upstream_has_none(connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec) -> None:
    async def call(turn: Turn) -> None:
        await turn.result({**DONE, "resultType": "complete"})

    upstream.scripts["tools/call"] = call
    await connector.request(spec_of(upstream.url), UpstreamAuth(), tool_call())
    await connector.close()
    assert ended(upstream) == []


@pytest.mark.parametrize(
    ("era", "method", "told"),
    [
        ("modern", "resources/read", -32002),
        ("modern", "prompts/get", -32602),
        ("legacy", "resources/read", -32602),
    ],
)
async def test_a_resource_that_is_not_there_has_one_code_whoever_says_so(  # noqa: PLR0917
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, era: str, method: str, told: int
) -> None:
    """In 2026-07-28 it is that of all invalid parameters; our callers of earlier revisions know one of its own."""

    async def missing(turn: Turn) -> None:
        await turn.error(-32602, uri="x://y")

    if era == "legacy":
        upstream.be_legacy(capabilities={"resources": {}, "prompts": {}})
    upstream.scripts[method] = missing
    question = Question(method, "x://y", {"uri": b'"x://y"'})
    error = (await connector.request(spec_of(upstream.url), UpstreamAuth(), question)).error
    assert error is not None
    assert (error["code"], error["data"]) == (told, {"uri": "x://y"})
