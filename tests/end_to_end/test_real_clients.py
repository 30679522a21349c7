"""Clients nobody here wrote, against both kinds of endpoint: what they list, call and are told."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fastmcp
import pytest
from fastmcp.exceptions import McpError as FastMcpError
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests import cast
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.installation import REPOSITORY, Installation

NODE_CLIENT = REPOSITORY / "tests" / "node" / "client.js"


@dataclass
class Desk:
    house: Installation
    key: str

    def url(self, bundle: str) -> str:
        return f"{self.house.url}/mcp/{bundle}" if bundle else f"{self.house.url}/mcp"


@dataclass
class Heard:
    """What a client made of the answers, in the terms all clients share."""

    tools: list[str]
    text: str = ""
    is_error: bool = False
    error: str = ""


Visit = Callable[[str, str, str, dict[str, Any]], Awaitable[Heard]]


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[Desk]:
    house = make_installation()
    house.apply(cast.support_desk(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    key = house.issue_key(cast.TRIAGE_BOT)
    house.start_gateway()
    yield Desk(house, key)
    assert "Traceback" not in house.log()


def python_sdk(mode: str) -> Visit:
    async def visit(url: str, key: str, tool: str, arguments: dict[str, Any]) -> Heard:
        async with (
            create_mcp_http_client(headers={"Authorization": f"Bearer {key}"}) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            tools = [found.name for found in (await client.list_tools()).tools]
            try:
                result = await client.call_tool(tool, arguments)
            except MCPError as error:
                return Heard(tools, error=error.error.message)
            return Heard(tools, result.content[0].text, bool(result.is_error))

    return visit


async def with_fastmcp(url: str, key: str, tool: str, arguments: dict[str, Any]) -> Heard:
    async with fastmcp.Client(url, auth=key) as client:
        tools = [found.name for found in await client.list_tools()]
        try:
            result = await client.call_tool(tool, arguments, raise_on_error=False)
        except FastMcpError as error:
            return Heard(tools, error=str(error))
        return Heard(tools, result.content[0].text, bool(result.is_error))


async def with_typescript(url: str, key: str, tool: str, arguments: dict[str, Any]) -> Heard:
    process = await asyncio.create_subprocess_exec(
        *(os.environ.get("GATEHOUSE_NODE", "node"), str(NODE_CLIENT), url, tool, json.dumps(arguments)),
        env={**os.environ, "AGENT_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    said = json.loads(output)
    if "error" in said:
        return Heard(said["tools"], error=said["error"]["message"])
    return Heard(said["tools"], said["result"]["content"][0]["text"], said["result"].get("isError", False))


CLIENTS = [
    pytest.param(python_sdk("auto"), "2026-07-28", id="python-sdk"),
    pytest.param(python_sdk("legacy"), "2025-11-25", id="python-sdk-legacy"),
    pytest.param(with_fastmcp, "2026-07-28", id="fastmcp"),
    pytest.param(with_typescript, "2025-11-25", id="typescript-sdk", marks=pytest.mark.npm),
]


@pytest.fixture
def _node(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("npm"):
        request.getfixturevalue("node_packages")


@pytest.mark.usefixtures("_node")
@pytest.mark.parametrize(("visit", "revision"), CLIENTS)
@pytest.mark.parametrize("bundle", ["", "support"])
class TestEachClient:
    async def test_lists_and_calls(self, desk: Desk, visit: Visit, revision: str, bundle: str):
        prefix = "" if bundle else "helpdesk__"
        heard = await visit(desk.url(bundle), desk.key, f"{prefix}kb_search", {"query": "refund"})
        assert f"{prefix}ticket_get" in heard.tools
        assert f"{prefix}ticket_delete" not in heard.tools
        assert "Return and refund policy" in heard.text
        assert not heard.is_error
        intent = desk.house.events("call.intent")[-1]
        assert (intent["tool"], intent["details"]["revision"]) == ("kb_search", revision)

    async def test_hears_why_it_was_refused(self, desk: Desk, visit: Visit, revision: str, bundle: str):
        tool = "billing_refund" if bundle else "helpdesk__billing_refund"
        arguments = {"order_id": "O-5004", "amount": 950, "reason": "as asked"}
        heard = await visit(desk.url(bundle), desk.key, tool, arguments)
        assert heard.is_error
        assert "Refunds over 100 need a lead" in heard.text
        assert desk.house.events("call.refused")[-1]["details"]["revision"] == revision

    async def test_is_told_of_no_tool_it_may_not_see(self, desk: Desk, visit: Visit, revision: str, bundle: str):
        heard = await visit(desk.url(bundle), desk.key, "ticket_delete", {"ticket_id": "T-1001"})
        assert "Unknown tool" in heard.error
        assert desk.house.events("call.refused")[-1]["details"]["reason"] == "unknown_tool"
