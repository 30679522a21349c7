"""Our connector against servers nobody here wrote: the Python SDK and fastmcp."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from connectors.base import UpstreamAuth
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec, call_tool
from tests.connectors.servers import asgi_server, legacy_only

ANYONE = UpstreamAuth()


class Answer(BaseModel):
    text: str


def sdk_server() -> MCPServer:
    server = MCPServer("sdk")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    async def talkative(steps: int, ctx: Context) -> str:
        for step in range(steps):
            await ctx.report_progress(step, steps)
        return "done"

    @server.tool()
    async def asks(ctx: Context) -> str:
        return str(await ctx.elicit("Your password, please", Answer))

    @server.tool()
    def breaks() -> str:
        raise RuntimeError("inside")

    return server


async def called(connector: McpHttp, spec: Any, name: str, arguments: bytes = b"{}") -> dict[str, Any]:
    raw = await call_tool(connector, spec, ANYONE, name=name, arguments=arguments)
    assert raw.result is not None, raw.error
    return raw.result


@pytest.fixture(params=["modern", "legacy", "legacy-json", "legacy-stateless"])
async def sdk_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    app = sdk_server().streamable_http_app(
        json_response=request.param == "legacy-json", stateless_http=request.param == "legacy-stateless"
    )
    async with asgi_server(app if request.param == "modern" else legacy_only(app)) as origin:
        yield f"{origin}/mcp"


async def test_the_python_sdk_server_in_both_eras(
    request: pytest.FixtureRequest, connector: McpHttp, sdk_url: str, spec_of: MakeSpec
) -> None:
    spec = spec_of(sdk_url)
    discovery = await connector.discover(spec, ANYONE)
    is_modern = "modern" in request.node.callspec.id
    assert discovery.protocol_version == ("2026-07-28" if is_modern else "2025-11-25")
    assert [tool["name"] for tool in discovery.tools] == ["add", "talkative", "asks", "breaks"]
    results = await asyncio.gather(
        *(called(connector, spec, "add", b'{"a":%d,"b":1}' % number) for number in range(20))
    )
    assert [result["structuredContent"]["result"] for result in results] == list(range(1, 21))
    assert (await called(connector, spec, "talkative", b'{"steps":5}'))["content"][0]["text"] == "done"
    assert (await called(connector, spec, "breaks"))["isError"]
    assert (await called(connector, spec, "add", b'{"a":"x"}'))["isError"]


async def test_a_question_of_the_upstream_ends_the_tool_not_us(
    connector: McpHttp, sdk_url: str, spec_of: MakeSpec
) -> None:
    raw = await call_tool(connector, spec_of(sdk_url), ANYONE, name="asks")
    assert raw.error is not None or (raw.result is not None and raw.result["isError"])


async def test_a_fastmcp_server(connector: McpHttp, spec_of: MakeSpec) -> None:
    server = FastMCP("fast")

    @server.tool
    def shout(text: str) -> dict[str, str]:
        return {"loud": text.upper()}

    async with asgi_server(server.http_app(path="/mcp")) as origin:
        spec = spec_of(f"{origin}/mcp")
        discovery = await connector.discover(spec, ANYONE)
        assert discovery.tools[0]["name"] == "shout"
        result = await called(connector, spec, "shout", '{"text":"grüße"}'.encode())
        assert result["structuredContent"] == {"loud": "GRÜSSE"}


async def test_a_restarted_server_is_found_again_without_a_repeated_call(connector: McpHttp, spec_of: MakeSpec) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    spec = spec_of(f"http://127.0.0.1:{port}/mcp")
    for _ in range(2):
        async with asgi_server(legacy_only(sdk_server().streamable_http_app()), port=port):
            result = await called(connector, spec, "add", b'{"a":1,"b":2}')
            assert result["structuredContent"] == {"result": 3}
