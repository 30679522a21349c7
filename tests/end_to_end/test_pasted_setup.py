"""What the set-up page shows is pasted, and works against a real gateway."""

import json
import shlex
import subprocess
import tomllib
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from gateway.client_setup import Client as Told
from gateway.client_setup import clients, endpoint_of
from tests import cast
from tests.end_to_end.conftest import Helpdesk, MakeInstallation


@pytest.fixture(scope="module", params=["support", ""], ids=["one bundle", "all bundles"])
def told(request: pytest.FixtureRequest, make_installation: MakeInstallation, helpdesk: Helpdesk) -> dict[str, Told]:
    house = make_installation()
    house.apply(cast.support_desk(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    key = house.issue_key(cast.TRIAGE_BOT)
    url = house.start_gateway()
    return {client.id: client for client in clients(endpoint_of(url, request.param), key=key)}


def file_of(client: Told) -> Any:
    return json.loads(next(step.text for step in client.steps if step.where))


async def tools_at(url: str, headers: dict[str, str]) -> list[str]:
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return [tool.name for tool in (await client.list_tools()).tools]


def test_the_curl_command_lists_the_tools(told: dict[str, Told]) -> None:
    command = told["curl"].steps[0].text
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    names = [tool["name"] for tool in json.loads(done.stdout)["result"]["tools"]]
    assert any(name.endswith("kb_search") for name in names)


@pytest.mark.parametrize(("client", "address"), [("cursor", "url"), ("gemini-cli", "httpUrl")])
async def test_a_pasted_file_leads_there(told: dict[str, Told], client: str, address: str) -> None:
    (server,) = file_of(told[client])["mcpServers"].values()
    assert any(name.endswith("kb_search") for name in await tools_at(server[address], server["headers"]))


async def test_codex_finds_its_key_in_the_environment(told: dict[str, Told]) -> None:
    export, _, file = told["codex"].steps
    (server,) = tomllib.loads(file.text)["mcp_servers"].values()
    variable, _, key = shlex.split(export.text)[1].partition("=")
    assert variable == server["bearer_token_env_var"]
    assert await tools_at(server["url"], {"Authorization": f"Bearer {key}"})


async def test_claude_code_is_given_address_and_header(told: dict[str, Told]) -> None:
    words = shlex.split(told["claude-code"].steps[0].text)
    name, _, value = words[words.index("--header") + 1].partition(": ")
    assert await tools_at(words[6], {name: value})
