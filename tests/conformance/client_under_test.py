"""`python -m tests.conformance.client_under_test URL`: the gateway as the suite's client under test.

Registers the URL as an upstream of a running gateway and does with everything it offers, through the gateway and as an
agent, what the suite's scenarios want done. The environment names the installation (see test_upstream_side.py).
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import METHOD_NOT_FOUND, ElicitResult

from tests.end_to_end.installation import REPOSITORY

OWNER = "owner@example.com"
RELAYS = ["elicitation", "sampling", "roots"]
APPEAR_SECONDS = 30.0
CALL_SECONDS = 20.0
PAUSE_SECONDS = 0.05
NOT_YET = (401, 403, 404)
ECHO, ECHOED = "json_schema_echo", "json_schema_2020_12_tool"
NUMBERS = {"a": 5, "b": 3}
BY_TYPE: dict[str, Any] = {"string": "word", "integer": 1, "number": 1, "boolean": True, "object": {}, "array": []}


def manage(*words: str) -> str:
    command = [sys.executable, str(REPOSITORY / "manage.py"), *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout


def register(url: str) -> tuple[str, str]:
    """The address of an endpoint that shows all of this upstream, and a key for it."""
    name = f"upstream-{uuid.uuid4().hex[:8]}"
    everything = [{"connector": name, "allow": ["*"]}]
    manifest = {
        "apiVersion": "gatehouse/v1",
        "people": [{"email": OWNER, "name": "Owner"}],
        "connectors": [{"name": name, "kind": "mcp", "url": url, "relays": RELAYS}],
        "bundles": [
            {"name": name, "names": "plain", "tools": everything, "resources": everything, "prompts": everything}
        ],
        "roles": [{"name": name, "bundles": [name]}],
        "agents": [{"name": name, "owner": OWNER, "roles": [name]}],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifest.json"
        file.write_text(json.dumps(manifest))
        manage("apply", str(file))
    key = json.loads(manage("issue_key", name, "--json"))["key"]
    return f"{os.environ['CONFORMANCE_GATEWAY']}/mcp/{name}", key


async def confirm(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"confirmed": True})


@asynccontextmanager
async def agent(url: str, key: str) -> AsyncIterator[Client]:
    mode = os.environ["CONFORMANCE_AGENT"]
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {key}"}) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode=mode,
            elicitation_callback=confirm,
            read_timeout_seconds=CALL_SECONDS,
        ) as client,
    ):
        yield client


def argued(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a schema's required properties accept."""
    properties = schema.get("properties", {})
    return {name: BY_TYPE[properties.get(name, {}).get("type", "string")] for name in schema.get("required", ())}


async def call_everything(client: Client) -> None:
    """One of the suite's upstreams lists a tool and does not serve calls."""
    schemas = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
    if ECHO in schemas:
        await client.call_tool(ECHO, {"schema": schemas[ECHOED]})
        return
    wanted = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")).get("toolCalls")
    calls = wanted or [{"name": name, "arguments": arguments_of(name, schema)} for name, schema in schemas.items()]
    for call in calls:
        try:
            await client.call_tool(call["name"], call["arguments"])
        except MCPError as error:
            if error.error.code != METHOD_NOT_FOUND:
                raise


def arguments_of(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return NUMBERS if name == "add_numbers" else argued(schema)


async def read_everything(client: Client) -> None:
    for resource in (await client.list_resources()).resources:
        await client.read_resource(resource.uri)


async def get_everything(client: Client) -> None:
    for prompt in (await client.list_prompts()).prompts:
        await client.get_prompt(prompt.name)


async def drive(url: str, key: str) -> None:
    async with agent(url, key) as client:
        capabilities = client.server_capabilities
        await call_everything(client)
        if capabilities.resources:
            await read_everything(client)
        if capabilities.prompts:
            await get_everything(client)


def await_endpoint(url: str, key: str) -> None:
    """Waits until the gateway has taken up what was registered."""
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json, text/event-stream"}
    deadline = time.monotonic() + APPEAR_SECONDS
    with httpx.Client(headers=headers) as http:
        while http.post(url, json=ping).status_code in NOT_YET:
            assert time.monotonic() < deadline, "the gateway does not know the endpoint"
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    url, key = register(sys.argv[1])
    await_endpoint(url, key)
    asyncio.run(drive(url, key))


if __name__ == "__main__":
    main()
