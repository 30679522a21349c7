"""The official clients over stdio, through the bridge, to a real gateway in front of upstreams of both eras."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client

from gateway.bridge_file import bridge_file
from tests import cast
from tests.conformance.bench import manifest
from tests.conformance.harness import node
from tests.conformance.test_conversations import Person, text_of, until_told
from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.wire import modern_message

pytestmark = [
    pytest.mark.npm,
    pytest.mark.filterwarnings("ignore:.*deprecated:mcp.MCPDeprecationWarning"),
]

NODE_CLIENT = REPOSITORY / "tests" / "node" / "stdio.js"
SOON_SECONDS = 40.0
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"], ids=["modern-client", "legacy-client"])
ERAS = pytest.mark.parametrize("era", ["modern", "legacy"], ids=["modern-upstream", "legacy-upstream"])


@dataclass
class Desk:
    house: Installation
    key: str
    program: Path

    def command(self, bundle: str) -> list[str]:
        """As on a machine that has only the one file: nothing of ours can be imported."""
        return [sys.executable, "-I", "-W", "error", str(self.program), f"{self.house.url}/mcp/{bundle}"]

    def said(self, lines: list[Any]) -> list[Any]:
        """What comes for these lines, sent at once and then ended."""
        heard, errors = self.heard(lines, key=self.key)
        assert errors == ""
        return heard

    def heard(self, lines: list[Any], *, key: str) -> tuple[list[Any], str]:
        done = subprocess.run(
            self.command("modern"),
            input="".join(json.dumps(line) + "\n" for line in lines),
            env={"GATEHOUSE_KEY": key},
            capture_output=True,
            text=True,
            timeout=SOON_SECONDS,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    @asynccontextmanager
    async def client(self, bundle: str, mode: str, **options: Any) -> AsyncIterator[Client]:
        command, *words = self.command(bundle)
        server = StdioServerParameters(command=command, args=words, env={"GATEHOUSE_KEY": self.key}, cwd="/")
        async with asyncio.timeout(SOON_SECONDS), Client(stdio_client(server), mode=mode, **options) as client:
            yield client


@pytest.fixture(scope="module")
def desk(urls: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Two processes behind one port, of which the bridge may meet any at any time."""
    program = tmp_path_factory.mktemp("downloads") / "gatehouse-bridge.pyz"
    program.write_bytes(bridge_file())
    with Installation(tmp_path_factory.mktemp("gateway"), database="sqlite") as house:
        house.apply(manifest(urls))
        house.start_gateway(2)
        yield Desk(house, house.issue_key(cast.TRIAGE_BOT), program)
        assert "Traceback" not in house.log()


@MODES
@ERAS
async def test_all_that_is_said_during_a_call(desk: Desk, era: str, mode: str) -> None:
    person = Person()
    asked = {"elicitation_callback": person.fill_in, "sampling_callback": person.think}
    async with desk.client(era, mode, **asked) as client:
        await client.call_tool("test_tool_with_progress", {}, progress_callback=person.hear_progress)
        assert person.progress == [(0, 100), (50, 100), (100, 100)]
        filled = await client.call_tool("test_elicitation", {"message": "Who are you?"})
        assert "ana@example.com" in text_of(filled)
        thought = await client.call_tool("test_sampling", {"prompt": "What is the capital of France?"})
        assert text_of(thought) == "LLM response: Paris"
    assert person.asked == ["Who are you?", "sampling"]


@MODES
async def test_lists_reads_and_refusals(desk: Desk, mode: str) -> None:
    async with desk.client("modern", mode) as client:
        assert "test_simple_text" in [tool.name for tool in (await client.list_tools()).tools]
        assert "static text resource" in str((await client.read_resource("test://static-text")).contents[0])
        prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        assert "arg1='a'" in str(prompt.messages[0].content)
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("no_such_tool", {})


def test_headers_of_a_tool_that_was_never_listed(desk: Desk) -> None:
    """The client of a stdio server sends no headers, so the bridge finds out which the tool wants."""
    call = {"name": "test_header_parameter", "arguments": {"region": "us-east-1"}}
    (answer,) = desk.said([modern_message("tools/call", call, id=4)])
    assert answer["id"] == 4
    assert not answer["result"].get("isError")


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_whole_conversation_of_each_earlier_revision(desk: Desk, revision: str) -> None:
    hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}}
    begin = [
        {"jsonrpc": "2.0", "id": "a", "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
    ]
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "test_simple_text", "arguments": {}}}
    ping = {"jsonrpc": "2.0", "id": 3, "method": "ping"}
    lines = [*begin, [call, ping]] if revision == "2025-03-26" else [*begin, call, ping]
    heard = desk.said(lines)
    answers = {each["id"]: each for one in heard for each in (one if isinstance(one, list) else [one])}
    assert answers["a"]["result"]["protocolVersion"] == revision
    assert "simple text" in answers[2]["result"]["content"][0]["text"]
    assert answers[3]["result"] == {}


@MODES
async def test_a_changed_list_is_told(desk: Desk, mode: str) -> None:
    person = Person()
    if mode == "legacy":
        async with desk.client("modern", mode, message_handler=person.hear) as client:
            await client.list_tools()
            await until_told(client, person.changes)
        return
    async with desk.client("modern", mode) as client, client.listen(tools_list_changed=True) as heard:
        await client.call_tool("test_trigger_tool_change", {})
        assert await anext(aiter(heard)) is not None


@ERAS
async def test_the_typescript_client(desk: Desk, era: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(node()), str(NODE_CLIENT), *desk.command(era)),
        env={**os.environ, "GATEHOUSE_KEY": desk.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), SOON_SECONDS)
    assert (process.returncode, errors.decode()) == (0, "")
    heard = json.loads(output)
    assert "test_simple_text" in heard["tools"]
    assert heard["progress"] == [0, 50, 100]
    assert (heard["asked"], heard["exit"]) == (["Who are you?"], 0)
    assert "ana@example.com" in heard["form"]


def test_a_key_that_is_not_taken(desk: Desk) -> None:
    wrong = "gate_ak_" + "x" * 40
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    (answer,), errors = desk.heard([message], key=wrong)
    assert (answer["id"], answer["error"]["message"]) == (1, "This key is unknown, expired or revoked.")
    assert "did not take the key" in errors
    assert wrong not in errors
