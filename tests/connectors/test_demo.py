"""The demo helpdesk as `make up` starts it: its own process, spoken to by our connector and by the SDK."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from connectors.base import UpstreamAuth, UpstreamFailure
from connectors.demo.helpdesk import Helpdesk
from connectors.demo.server import DemoServer
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec, call_tool
from tests.connectors.servers import asgi_server, legacy_only

TOKEN = "demo-upstream-token-4711"
AUTH = UpstreamAuth(headers=(("Authorization", f"Bearer {TOKEN}"),), identity="demo-1")


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "token").write_text(TOKEN + "\n")
    ready = folder / "ready"
    options = [f"--data-dir={folder / 'data'}", f"--token-file={folder / 'token'}", f"--ready-file={ready}"]
    process = subprocess.Popen([sys.executable, "-m", "connectors.demo", *options])
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline, "the demo did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{ready.read_text()}/mcp"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(params=["modern", "legacy"])
async def either_url(request: pytest.FixtureRequest, demo_url: str, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "modern":
        yield demo_url
        return
    helpdesk = Helpdesk(tmp_path / "helpdesk.sqlite3")
    async with asgi_server(legacy_only(DemoServer(helpdesk, token=TOKEN))) as origin:
        yield f"{origin}/mcp"
    helpdesk.close()


async def call(connector: McpHttp, url: str, spec_of: MakeSpec, name: str, arguments: bytes) -> dict[str, Any]:
    raw = await call_tool(connector, spec_of(url), AUTH, name=name, arguments=arguments)
    assert raw.result is not None, raw.error
    return raw.result


async def test_it_offers_its_tools_in_both_eras(connector: McpHttp, either_url: str, spec_of: MakeSpec) -> None:
    discovery = await connector.discover(spec_of(either_url), AUTH)
    assert {tool["name"] for tool in discovery.tools} == {
        "ticket_search", "ticket_get", "ticket_create", "ticket_reply", "ticket_delete", "kb_search",
        "order_get", "billing_refund", "customer_get", "session_info",
    }  # fmt: skip
    assert all(tool["description"] and tool["inputSchema"]["type"] == "object" for tool in discovery.tools)
    assert discovery.server["serverInfo"]["name"] == "gatehouse-demo-helpdesk"


async def test_tickets_are_found_read_written_and_deleted(
    connector: McpHttp, either_url: str, spec_of: MakeSpec
) -> None:
    found = await call(connector, either_url, spec_of, "ticket_search", b'{"query":"chair","status":"open"}')
    assert [ticket["id"] for ticket in found["structuredContent"]["tickets"]] == ["T-1002"]
    opened = await call(
        connector,
        either_url,
        spec_of,
        "ticket_create",
        b'{"customer_id":"C-100","subject":"S","body":"B \xc3\xbc"}',
    )
    ticket = opened["structuredContent"]["id"].encode()
    await call(
        connector,
        either_url,
        spec_of,
        "ticket_reply",
        b'{"ticket_id":"%s","body":"hi","close":true}' % ticket,
    )
    read = (await call(connector, either_url, spec_of, "ticket_get", b'{"ticket_id":"%s"}' % ticket))[
        "structuredContent"
    ]
    assert (read["body"], read["status"], read["replies"][0]["body"]) == ("B ü", "closed", "hi")
    await call(connector, either_url, spec_of, "ticket_delete", b'{"ticket_id":"%s"}' % ticket)
    gone = await call(connector, either_url, spec_of, "ticket_get", b'{"ticket_id":"%s"}' % ticket)
    assert gone["isError"]


async def test_refunds_end_at_what_was_paid(connector: McpHttp, demo_url: str, spec_of: MakeSpec) -> None:
    refund = b'{"order_id":"O-5001","amount":700.5,"reason":"damaged"}'
    paid = await call(connector, demo_url, spec_of, "billing_refund", refund)
    assert paid["structuredContent"]["amount"] == 700.5
    again = await call(connector, demo_url, spec_of, "billing_refund", refund)
    assert again["isError"]
    assert "48.50" in again["content"][0]["text"]
    order = await call(connector, demo_url, spec_of, "order_get", b'{"order_id":"O-5001"}')
    assert "damaged" in order["content"][0]["text"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("ticket_get", b"{}"),
        ("ticket_get", b'{"ticket_id":"T-1\' OR 1=1"}'),
        ("ticket_get", b'{"ticket_id":5}'),
        ("ticket_get", b'{"ticket_id":"T-9999"}'),
        ("ticket_search", b'{"limit":0}'),
        ("ticket_search", b'{"limit":true}'),
        ("ticket_search", b'{"status":"lost"}'),
        ("ticket_search", b'{"surprise":1}'),
        ("billing_refund", b'{"order_id":"O-5002","amount":0,"reason":"x"}'),
        ("billing_refund", b'{"order_id":"O-5002","amount":-5,"reason":"x"}'),
        ("billing_refund", b'{"order_id":"O-5002","amount":1,"reason":""}'),
    ],
)
async def test_bad_arguments_are_explained_not_executed(
    connector: McpHttp, demo_url: str, spec_of: MakeSpec, tool: str, arguments: bytes
) -> None:
    result = await call(connector, demo_url, spec_of, tool, arguments)
    assert result["isError"]
    assert result["content"][0]["text"]


async def test_what_a_gateway_has_to_deal_with_is_in_there(
    connector: McpHttp, demo_url: str, spec_of: MakeSpec
) -> None:
    injected = await call(connector, demo_url, spec_of, "ticket_get", b'{"ticket_id":"T-1007"}')
    assert "Ignore previous instructions" in injected["structuredContent"]["body"]
    card = await call(connector, demo_url, spec_of, "ticket_get", b'{"ticket_id":"T-1008"}')
    assert "4111 1111 1111 1111" in card["structuredContent"]["body"]
    careless = await call(connector, demo_url, spec_of, "session_info", b"{}")
    assert TOKEN in careless["content"][0]["text"]


@pytest.mark.parametrize("header", [(), (("Authorization", "Bearer wrong"),), (("Authorization", f"bearer {TOKEN}x"),)])
async def test_without_its_token_it_refuses(
    connector: McpHttp, demo_url: str, spec_of: MakeSpec, header: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        await connector.discover(spec_of(demo_url), UpstreamAuth(headers=header))
    assert caught.value.code == "upstream_auth"


async def test_unknown_tools_and_methods_are_protocol_errors(
    connector: McpHttp, either_url: str, spec_of: MakeSpec
) -> None:
    raw = await call_tool(connector, spec_of(either_url), AUTH, name="nope")
    assert raw.error is not None
    assert raw.error["code"] == -32602


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_reference_client_gets_along_with_it(demo_url: str, mode: str) -> None:
    async with httpx2.AsyncClient(headers=dict(AUTH.headers)) as http:
        transport = streamable_http_client(demo_url, http_client=http)
        async with Client(transport, mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "billing_refund" in names
            result = await client.call_tool("kb_search", {"query": "refund policy"})
            assert result.structured_content["articles"][0]["id"] == "KB-1"


async def test_the_token_is_not_in_the_process_list(demo_url: str) -> None:
    listing = await asyncio.to_thread(subprocess.check_output, ["ps", "-eo", "args"], text=True)
    assert "connectors.demo" in listing
    assert TOKEN not in listing
