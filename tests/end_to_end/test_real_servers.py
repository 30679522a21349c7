"""Upstreams nobody here wrote, governed: what agents of each era see of them and get from them."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer

from tests import cast, services
from tests.connectors.servers import asgi_server, legacy_only
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

pytestmark = pytest.mark.npm

START_SECONDS = 60
MONGODB_READS = [
    "aggregate", "collection-indexes", "collection-schema", "count", "db-stats", "explain", "find",
    "list-collections", "list-databases",
]  # fmt: skip
MONGODB_WRITES = {"delete-many", "drop-collection", "drop-database", "insert-many", "update-many"}


@dataclass
class Desk:
    house: Installation
    key: str
    stack: ExitStack

    def at(self, bundle: str) -> Caller:
        return self.stack.enter_context(closing(Caller(self.house.url, self.key, path=f"/mcp/{bundle}")))

    def pinned(self, connector: str) -> set[str]:
        query = (
            "SELECT tool.name FROM governance_tool tool JOIN governance_connector connector"
            " ON connector.id = tool.connector_id WHERE connector.name = %s"
        )
        return {name for (name,) in self.house.sql(query, connector)}


def sdk_server() -> Any:
    server = MCPServer("ledger")

    @server.tool()
    def add(first: int, second: int) -> int:
        """Adds two numbers."""
        return first + second

    @server.tool()
    def breaks() -> str:
        raise RuntimeError("inside")

    return server.streamable_http_app()


@contextmanager
def node_server(script: Path, *words: str, port: int, **environment: str) -> Iterator[str]:
    process = subprocess.Popen(
        [os.environ.get("GATEHOUSE_NODE", "node"), str(script), *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not services.answers(("127.0.0.1", port)):
            assert process.poll() is None, f"{script.name} ended"
            assert time.monotonic() < deadline, f"{script.name} did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def everything_url(node_packages: Path) -> Iterator[str]:
    script = node_packages / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    port = services.free_port()
    with node_server(script, "streamableHttp", port=port, PORT=str(port)) as url:
        yield url


@pytest.fixture(scope="module")
def mongodb_url(node_packages: Path) -> Iterator[str]:
    """It lists its tools without a database; only calling one needs a connection."""
    script = node_packages / "mongodb-mcp-server" / "dist" / "index.js"
    port = services.free_port()
    words = ("--transport", "http", "--httpHost", "127.0.0.1", "--httpPort", str(port), "--telemetry", "disabled")
    with node_server(script, *words, port=port) as url:
        yield url


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, everything_url: str, mongodb_url: str) -> Iterator[Desk]:
    with ExitStack() as stack:
        modern = stack.enter_context(in_background(asgi_server(sdk_server())))
        legacy = stack.enter_context(in_background(asgi_server(legacy_only(sdk_server()))))
        connectors = {
            "sdk-modern": f"{modern}/mcp",
            "sdk-legacy": f"{legacy}/mcp",
            "everything": everything_url,
            "mongodb": mongodb_url,
        }
        bundles = {name: [{"connector": name, "allow": ["*"]}] for name in connectors}
        bundles["mongodb-reading"] = [{"connector": "mongodb", "allow": MONGODB_READS}]
        house = make_installation()
        house.apply(cast.organisation(connectors, bundles=bundles))
        key = house.issue_key(cast.TRIAGE_BOT)
        house.start_gateway()
        yield Desk(house, key, stack)
        assert "Traceback" not in house.log()


@pytest.mark.parametrize("ask", [Caller.ask, Caller.ask_modern], ids=["legacy-client", "modern-client"])
@pytest.mark.parametrize("upstream", ["sdk-modern", "sdk-legacy"])
def test_the_python_sdk_server_in_each_pair_of_eras(desk: Desk, upstream: str, ask: Any):
    agent = desk.at(upstream)
    listed = {tool["name"]: tool for tool in ask(agent, "tools/list").result["tools"]}
    assert set(listed) == {"add", "breaks"}
    assert listed["add"]["outputSchema"]["properties"]["result"]["type"] == "integer"
    result = ask(agent, "tools/call", {"name": "add", "arguments": {"first": 2, "second": 40}}).result
    assert result["structuredContent"] == {"result": 42}
    assert ("resultType" in result) == (ask is Caller.ask_modern)
    assert ask(agent, "tools/call", {"name": "breaks", "arguments": {}}).result["isError"] is True
    assert desk.house.events("call.outcome")[-1]["outcome"] == "tool_error"


def test_server_everything_with_its_session(desk: Desk):
    agent = desk.at("everything")
    assert {"echo", "get-sum"} <= set(agent.tools())
    answers = [agent.call("echo", message=f"number {number}").text for number in range(5)]
    assert all(f"number {number}" in answer for number, answer in enumerate(answers))
    assert agent.ask_modern("tools/call", {"name": "get-sum", "arguments": {"a": 2, "b": 40}}).text.count("42")


def test_nothing_of_a_definition_is_lost(desk: Desk, everything_url: str):
    """The upstream's own list, member for member, under the same names. Only tasks are ours: any call may be one."""
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    with closing(Caller(everything_url.removesuffix("/mcp"), None)) as direct:
        session = direct.ask("initialize", initialize).headers["mcp-session-id"]
        direct.post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}', {"Mcp-Session-Id": session})
        listed = direct.ask("tools/list", **{"Mcp-Session-Id": session}).body
    event = next(line for line in listed.splitlines() if line.startswith(b"data: {"))
    theirs = json.loads(event.removeprefix(b"data: "))["result"]["tools"]
    ours = desk.at("everything").ask("tools/list").result["tools"]
    expected = {tool["name"]: tool | {"execution": {"taskSupport": "optional"}} for tool in theirs}
    assert {tool["name"]: tool for tool in ours} == expected


def test_a_bundle_of_a_database_that_only_reads(desk: Desk):
    """The documented example: mongodb-mcp-server, of which agents get the reading tools and no other."""
    agent = desk.at("mongodb-reading")
    assert desk.pinned("mongodb") >= MONGODB_WRITES | set(MONGODB_READS)
    assert agent.tools() == MONGODB_READS
    unknown = agent.call("no-such-tool").body
    assert {agent.call(tool, database="shop", collection="orders").body for tool in MONGODB_WRITES} == {unknown}
    answer = agent.call("list-databases").result
    assert answer["isError"] is True, "there is no MongoDB behind it"
    assert desk.house.events("call.outcome")[-1]["tool"] == "list-databases"
