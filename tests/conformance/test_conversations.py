"""The official clients, in both eras, in front of upstreams of both: all that is said during and beside a call.

What the suite cannot see, because it has no client of its own: that a real one understands what the gateway says.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests import cast
from tests.conformance.bench import manifest
from tests.conformance.harness import node
from tests.connectors.servers import ScriptedServer, Turn, eventually, scripted_server
from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.upstreams import in_background

pytestmark = [
    pytest.mark.npm,
    pytest.mark.filterwarnings("ignore:.*deprecated:mcp.MCPDeprecationWarning"),
]

NODE_CLIENT = REPOSITORY / "tests" / "node" / "conversation.js"
SOON_SECONDS = 20.0
TOOLS_OF_EACH = 1_000


@dataclass
class Desk:
    house: Installation
    key: str

    @asynccontextmanager
    async def client(self, bundle: str, mode: str, **options: Any) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            asyncio.timeout(SOON_SECONDS * 2),
            create_mcp_http_client(headers=headers) as http,
            Client(
                streamable_http_client(f"{self.house.url}/mcp/{bundle}", http_client=http), mode=mode, **options
            ) as client,
        ):
            yield client

    def outcomes(self) -> list[str]:
        return [event["outcome"] for event in self.house.events("call.outcome")]


@pytest.fixture(scope="module")
def desk(urls: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Two processes behind one port: a client never knows which of them it meets."""
    with Installation(tmp_path_factory.mktemp("gateway"), database="sqlite") as house:
        house.apply(manifest(urls))
        house.start_gateway(2)
        yield Desk(house, house.issue_key(cast.TRIAGE_BOT))
        assert "Traceback" not in house.log()


@dataclass
class Person:
    """Sits at the client and answers what is asked."""

    progress: list[tuple[float, float | None]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    changes: asyncio.Event = field(default_factory=asyncio.Event)

    async def hear_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total))

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(str(params.data))

    async def fill_in(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        return types.ElicitResult(action="accept", content={"username": "ana", "email": "ana@example.com"})

    async def think(self, context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append("sampling")
        said = types.TextContent(type="text", text="Paris")
        return types.CreateMessageResult(role="assistant", content=said, model="m")

    async def hear(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.changes.set()


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


@pytest.mark.parametrize("mode", ["auto", "legacy"], ids=["modern-client", "legacy-client"])
@pytest.mark.parametrize("era", ["modern", "legacy"], ids=["modern-upstream", "legacy-upstream"])
class TestDuringACall:
    async def test_progress(self, desk: Desk, era: str, mode: str) -> None:
        person = Person()
        async with desk.client(era, mode) as client:
            result = await client.call_tool("test_tool_with_progress", {}, progress_callback=person.hear_progress)
        assert person.progress == [(0, 100), (50, 100), (100, 100)]
        assert not result.is_error

    async def test_log_messages(self, desk: Desk, era: str, mode: str) -> None:
        person = Person()
        level: dict[str, Any] = {"log_level": "info"} if mode == "auto" else {}
        async with desk.client(era, mode, logging_callback=person.log, **level) as client:
            await client.call_tool("test_tool_with_logging", {})
        assert person.logs == ["Tool execution started", "Tool processing data", "Tool execution completed"]

    async def test_a_form_to_fill_in(self, desk: Desk, era: str, mode: str) -> None:
        person = Person()
        async with desk.client(era, mode, elicitation_callback=person.fill_in) as client:
            result = await client.call_tool("test_elicitation", {"message": "Who are you?"})
        assert person.asked == ["Who are you?"]
        assert "ana@example.com" in text_of(result)

    async def test_a_model_to_ask(self, desk: Desk, era: str, mode: str) -> None:
        person = Person()
        async with desk.client(era, mode, sampling_callback=person.think) as client:
            result = await client.call_tool("test_sampling", {"prompt": "What is the capital of France?"})
        assert (person.asked, text_of(result)) == (["sampling"], "LLM response: Paris")

    async def test_who_cannot_be_asked_is_not(self, desk: Desk, era: str, mode: str) -> None:
        """An upstream that asks all the same is told so, and makes of it what it wants."""
        async with desk.client(era, mode) as client:
            try:
                why = text_of(await client.call_tool("test_elicitation", {"message": "Who are you?"}))
            except MCPError as error:
                why = error.error.message
        assert "in vain" in why or "cannot be asked" in why or "not offered" in why
        assert "call.asked" not in [event["kind"] for event in desk.house.events()[-3:]]

    async def test_resources_and_prompts(self, desk: Desk, era: str, mode: str) -> None:
        async with desk.client(era, mode) as client:
            assert "test://static-text" in [str(each.uri) for each in (await client.list_resources()).resources]
            read = await client.read_resource("test://static-text")
            assert "static text resource" in str(read.contents[0])
            got = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
            assert "arg1='a'" in str(got.messages[0].content)
            with pytest.raises(MCPError) as missing:
                await client.read_resource("test://nowhere")
        assert missing.value.error.code == (-32602 if mode == "auto" else -32002)


@pytest.mark.parametrize("era", ["modern", "legacy"], ids=["modern-upstream", "legacy-upstream"])
async def test_a_changed_list_is_told_to_a_session(desk: Desk, era: str) -> None:
    person = Person()
    async with desk.client(era, "legacy", message_handler=person.hear) as client:
        await client.list_tools()
        await until_told(client, person.changes)


@pytest.mark.parametrize("era", ["modern", "legacy"], ids=["modern-upstream", "legacy-upstream"])
async def test_a_changed_list_is_told_to_a_subscription(desk: Desk, era: str) -> None:
    async with desk.client(era, "auto") as client, client.listen(tools_list_changed=True) as heard:
        await client.call_tool("test_trigger_tool_change", {})
        async with asyncio.timeout(SOON_SECONDS):
            assert await anext(aiter(heard)) is not None


async def until_told(client: Client, told: asyncio.Event) -> None:
    """The client opens its stream when it likes, so what changed before that is changed again."""
    async with asyncio.timeout(SOON_SECONDS):
        while not told.is_set():
            await client.call_tool("test_trigger_tool_change", {})
            await asyncio.wait((asyncio.ensure_future(told.wait()),), timeout=0.5)


@pytest.mark.parametrize("era", ["modern", "legacy"], ids=["modern-upstream", "legacy-upstream"])
async def test_the_typescript_client_in_a_whole_conversation(desk: Desk, era: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(node()), str(NODE_CLIENT), f"{desk.house.url}/mcp/{era}"),
        env={**os.environ, "AGENT_KEY": desk.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), SOON_SECONDS * 3)
    assert process.returncode == 0, errors.decode()
    heard = json.loads(output)
    assert heard["session"]
    assert heard["progress"] == [0, 50, 100]
    assert heard["asked"] == ["Who are you?"]
    assert "ana@example.com" in heard["form"]
    assert (heard["resumed"], heard["lost"], heard["reached"]) == (True, "progress reported", [0, 50, 100])
    assert (heard["task"][0], heard["task"][-1]) == ("taskCreated", "result")
    assert heard["taskResult"] == "progress reported"
    assert heard["changes"] >= 1
    assert heard["ended"] == 404


# -- with upstreams that tests hold by the hand


@dataclass
class Two:
    desk: Desk
    upstreams: dict[str, ScriptedServer]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Two upstreams whose tools have the same names, behind one endpoint."""
    with ExitStack() as stack:
        upstreams = {name: stack.enter_context(in_background(scripted_server())) for name in ("north", "south")}
        tools = [{"name": f"tool_{number:04}", "inputSchema": {"type": "object"}} for number in range(TOOLS_OF_EACH)]
        upstreams["north"].be_modern(tools=tools)
        upstreams["south"].be_legacy(tools=tools, session_id="s-1")
        house = stack.enter_context(Installation(tmp_path_factory.mktemp("gateway"), database="sqlite"))
        both = [{"connector": name, "allow": ["*"]} for name in upstreams]
        urls = {name: upstream.url for name, upstream in upstreams.items()}
        house.apply(cast.organisation(urls, bundles={"both": both}, timeout_seconds=60))
        house.start_gateway(2)
        yield Two(Desk(house, house.issue_key(cast.TRIAGE_BOT)), upstreams)
        assert "Traceback" not in house.log()


@pytest.mark.parametrize("mode", ["auto", "legacy"], ids=["modern-client", "legacy-client"])
async def test_two_thousand_tools_of_two_upstreams_are_read_page_by_page(two: Two, mode: str) -> None:
    names: list[str] = []
    pages, cursor = 0, None
    async with two.desk.client("both", mode) as client:
        while pages == 0 or cursor is not None:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            pages, cursor = pages + 1, page.next_cursor
    wanted = {f"{name}__tool_{number:04}" for name in two.upstreams for number in range(TOOLS_OF_EACH)}
    assert (pages, len(names), set(names)) == (2, 2 * TOOLS_OF_EACH, wanted)


@pytest.mark.parametrize("mode", ["auto", "legacy"], ids=["modern-client", "legacy-client"])
@pytest.mark.parametrize("name", ["north", "south"], ids=["modern-upstream", "legacy-upstream"])
async def test_a_call_that_its_client_cancels_is_cancelled_at_the_upstream(two: Two, name: str, mode: str) -> None:
    upstream = two.upstreams[name]
    upstream.requests.clear()
    cut_before, outcomes_before = upstream.cut_connections, len(two.desk.outcomes())

    async def never(turn: Turn) -> None:
        await turn.reader.read()
        raise ConnectionResetError

    upstream.scripts["tools/call"] = never
    async with two.desk.client("both", mode) as client:
        calling = asyncio.create_task(client.call_tool(f"{name}__tool_0007", {}))
        await eventually(lambda: bool(upstream.sent("tools/call")), within_seconds=SOON_SECONDS)
        await asyncio.sleep(0.5)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await eventually(lambda: upstream.cut_connections > cut_before, within_seconds=SOON_SECONDS)
        if name == "south":
            await eventually(lambda: bool(upstream.sent("notifications/cancelled")), within_seconds=SOON_SECONDS)
        await eventually(lambda: two.desk.outcomes()[outcomes_before:] == ["cancelled"], within_seconds=SOON_SECONDS)
    assert len(upstream.sent("tools/call")) == 1
