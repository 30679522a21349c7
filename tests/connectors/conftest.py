"""What every connector test starts from: an egress that may reach loopback, and the MCP connector over it."""

from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network

import pytest

from connectors.base import UpstreamAuth, UpstreamSpec
from connectors.egress import Egress
from connectors.mcp_http import McpHttp
from tests.connectors.servers import ScriptedServer, scripted_server

LOOPBACK = (ip_network("127.0.0.0/8"),)

MakeSpec = Callable[..., UpstreamSpec]


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
