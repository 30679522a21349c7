"""Our connector against npm's server-everything: legacy, on the TypeScript SDK, over both its HTTP transports."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.base import Interest, Question, RawResult, UpstreamAuth, UpstreamSpec
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec, tool_call
from tests.connectors.relays import URL, RecordingRelay
from tests.connectors.servers import eventually

EVERYTHING = Path("tests/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js")
ANYONE = UpstreamAuth()
POWERS = {**URL, "sampling": {}, "roots": {}}
ANSWERS: dict[str, dict[str, Any]] = {
    "elicitation/create": {"action": "accept", "content": {"name": "Ana", "check": True}},
    "sampling/createMessage": {"role": "assistant", "model": "m", "content": {"type": "text", "text": "sampled"}},
}
Ask = Callable[..., Awaitable[RawResult]]

pytestmark = pytest.mark.npm


def answer(key: str, question: dict[str, Any]) -> dict[str, Any]:
    return ANSWERS[question["method"]]


def _await_listener(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    pytest.fail("server-everything did not start")


@pytest.fixture(scope="module", params=["streamableHttp", "sse"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def everything_url(transport: str) -> Iterator[str]:
    node = os.environ.get("GATEHOUSE_NODE") or shutil.which("node")
    if node is None or not EVERYTHING.exists():
        missing = "missing service: Node with tests/node installed"
        pytest.fail(missing) if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip(missing)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [node, str(EVERYTHING), transport],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_listener(port)
        yield f"http://127.0.0.1:{port}/{'mcp' if transport == 'streamableHttp' else 'sse'}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def spec(everything_url: str, spec_of: MakeSpec) -> UpstreamSpec:
    return spec_of(everything_url, relays=frozenset(("elicitation", "sampling")))


@pytest.fixture
def ask(connector: McpHttp, spec: UpstreamSpec) -> Ask:
    async def perform(tool: str, relay: RecordingRelay | None = None, **arguments: Any) -> RawResult:
        question = tool_call(tool, orjson.dumps(arguments))
        return await connector.request(spec, ANYONE, question, relay or RecordingRelay())

    return perform


def said(raw: RawResult) -> str:
    assert raw.result is not None, raw.error
    return "\n".join(block.get("text", "") for block in raw.result["content"])


async def test_its_tools_are_found_and_called(connector: McpHttp, spec: UpstreamSpec, ask: Ask) -> None:
    """Also those that it offers only to a client that can be asked."""
    discovery = await connector.discover(spec, ANYONE)
    assert discovery.protocol_version == "2025-11-25"
    assert {"echo", "trigger-elicitation-request"} <= {tool["name"] for tool in discovery.tools}
    results = await asyncio.gather(*(ask("echo", message="hi") for _ in range(10)))
    assert all("hi" in said(raw) for raw in results)


async def test_it_asks_the_caller(ask: Ask) -> None:
    relay = RecordingRelay(POWERS, answer=answer)
    assert "sampled" in said(await ask("trigger-sampling-request", relay, prompt="p", maxTokens=5))
    assert "Ana" in said(await ask("trigger-elicitation-request", relay))
    methods = [question["method"] for asked in relay.asked for question in asked.values()]
    assert methods == ["sampling/createMessage", "elicitation/create"]


async def test_it_has_an_address_opened_first(ask: Ask) -> None:
    relay = RecordingRelay(POWERS, answer=answer)
    raw = await ask("trigger-url-elicitation", relay, url="https://example.com/x", message="Open", errorPath=True)
    assert "completed" in said(raw)
    addresses = [question["params"]["url"] for asked in relay.asked for question in asked.values()]
    assert addresses == ["https://modelcontextprotocol.io", "https://example.com/x"]


async def test_its_progress_is_told(ask: Ask) -> None:
    relay = RecordingRelay(wants_progress=True)
    assert "completed" in said(await ask("trigger-long-running-operation", relay, duration=0.3, steps=3))
    assert [params["progress"] for _, params in relay.told] == [1, 2, 3]


async def test_a_tool_that_must_be_a_task_is_waited_for_and_asks(ask: Ask) -> None:
    relay = RecordingRelay(
        POWERS, answer=lambda key, question: {"action": "accept", "content": {"interpretation": "technical"}}
    )
    raw = await ask("simulate-research-query", relay, topic="python", ambiguous=True)
    assert "Research Report" in said(raw)
    assert relay.tasks == 1
    assert len(relay.asked) == 1


async def test_its_lists_and_resources(connector: McpHttp, spec: UpstreamSpec) -> None:
    prompts = await connector.catalog(spec, ANYONE, "prompts/list")
    resources = await connector.catalog(spec, ANYONE, "resources/list")
    templates = await connector.catalog(spec, ANYONE, "resources/templates/list")
    assert prompts.items
    assert templates.items
    uri = resources.items[0]["uri"]
    raw = await connector.request(spec, ANYONE, Question("resources/read", uri, {"uri": orjson.dumps(uri)}))
    assert raw.result is not None
    assert raw.result["contents"][0]["uri"] == uri


async def test_its_news_are_heard(connector: McpHttp, spec: UpstreamSpec, ask: Ask) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []

    async def hear(method: str, params: dict[str, Any]) -> None:
        heard.append((method, params))

    uri = (await connector.catalog(spec, ANYONE, "resources/list")).items[0]["uri"]
    interest = Interest(uris=frozenset((uri,)))
    stands = asyncio.Event()
    listening = asyncio.create_task(connector.listen(spec, ANYONE, interest, hear, stands.set))
    async with asyncio.timeout(10):
        await stands.wait()
    await ask("toggle-subscriber-updates")
    await eventually(lambda: ("notifications/resources/updated", {"uri": uri}) in heard)
    await ask("toggle-subscriber-updates")
    listening.cancel()
