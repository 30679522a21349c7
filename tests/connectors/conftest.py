"""What every connector test starts from: an egress that may reach loopback, and the MCP connector over it."""

from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Any

import orjson
import pytest

from connectors.base import SILENCE, Connector, Question, RawResult, Relay, UpstreamAuth, UpstreamSpec
from connectors.egress import Egress
from connectors.mcp_http import McpHttp
from tests.connectors.servers import ScriptedServer, scripted_server

LOOPBACK = (ip_network("127.0.0.0/8"),)

MakeSpec = Callable[..., UpstreamSpec]


def tool_call(name: str = "act", arguments: bytes = b"{}", **changes: Any) -> Question:
    params = {"name": orjson.dumps(name), "arguments": arguments}
    return Question("tools/call", name, params, **changes)


async def call_tool(
    connector: Connector,
    spec: UpstreamSpec,
    auth: UpstreamAuth,
    *,
    name: str = "act",
    arguments: bytes = b"{}",
    relay: Relay = SILENCE,
) -> RawResult:
    return await connector.request(spec, auth, tool_call(name, arguments), relay)


@pytest.fixture
def spec_of() -> MakeSpec:
    def build(*urls: str, **changes: object) -> UpstreamSpec:
        settings = {"timeout_seconds": 5.0, "max_result_bytes": 256 * 1024, **changes}
        return UpstreamSpec(connector_id="c1", name="up", kind="mcp", urls=urls, **settings)  # type: ignore[arg-type]

    return build


@pytest.fixture
def auth() -> UpstreamAuth:
    return UpstreamAuth(headers=(("Authorization", "Bearer up-secret"),), identity="secret-1")


@pytest.fixture
async def connector() -> AsyncIterator[McpHttp]:
    mcp = McpHttp(Egress(allowed_networks=LOOPBACK))
    yield mcp
    await mcp.close()


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        server.be_modern()
        yield server
