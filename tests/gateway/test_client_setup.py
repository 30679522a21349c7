"""What people paste into their clients parses there, means what it should, and links hold no secret."""

import json
import shlex
import subprocess
import tomllib
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client_setup import Client, Endpoint, clients, endpoint_of
from gateway.client_sign_in import clients_that_sign_in
from tests.factories import KEY

ENDPOINT = endpoint_of("https://gate.example.com", "support")
BEARER = f"Bearer {KEY}"


def by_id(endpoint: Endpoint = ENDPOINT, key: str = KEY) -> dict[str, Client]:
    return {client.id: client for client in clients(endpoint, key=key)}


def file_of(client: Client) -> Any:
    text = next(step.text for step in client.steps if step.where)
    return tomllib.loads(text) if ".toml" in client.steps[-1].where else json.loads(text)


def test_endpoints_are_named_after_their_bundle() -> None:
    assert endpoint_of("http://127.0.0.1:8000") == Endpoint("gatehouse", "http://127.0.0.1:8000/mcp")
    assert Endpoint("gatehouse-support", "https://gate.example.com/mcp/support") == ENDPOINT


def test_commands_are_single_words_where_a_client_wants_one() -> None:
    found = by_id()
    assert shlex.split(found["claude-code"].steps[0].text) == [
        *("claude", "mcp", "add", "--transport", "http", "gatehouse-support", ENDPOINT.url),
        *("--header", f"Authorization: {BEARER}"),
    ]
    assert shlex.split(found["codex"].steps[1].text)[-4:] == [
        *("--url", ENDPOINT.url, "--bearer-token-env-var", "GATEHOUSE_KEY"),
    ]
    assert shlex.split(found["gemini-cli"].steps[0].text)[-4:] == [
        *("--header", f"Authorization: {BEARER}", "gatehouse-support", ENDPOINT.url),
    ]
    name, flag, server = shlex.split(found["vs-code"].steps[0].text)
    assert (name, flag, json.loads(server)["name"]) == ("code", "--add-mcp", "gatehouse-support")


def test_files_parse_and_name_endpoint_and_key() -> None:
    found = by_id()
    cursor = file_of(found["cursor"])["mcpServers"]["gatehouse-support"]
    assert cursor == {"url": ENDPOINT.url, "headers": {"Authorization": BEARER}}
    gemini = file_of(found["gemini-cli"])["mcpServers"]["gatehouse-support"]
    assert gemini == {"httpUrl": ENDPOINT.url, "headers": {"Authorization": BEARER}}
    codex = file_of(found["codex"])["mcp_servers"]["gatehouse-support"]
    assert codex == {"url": ENDPOINT.url, "bearer_token_env_var": "GATEHOUSE_KEY"}
    bridge = file_of(found["claude-desktop"])["mcpServers"]["gatehouse-support"]
    assert (bridge["args"][-1], bridge["env"]) == (ENDPOINT.url, {"GATEHOUSE_KEY": KEY})
    desktop = json.loads(found["claude-desktop"].steps[1].text)["mcpServers"]["gatehouse-support"]
    assert desktop["args"][:3] == ["-y", "mcp-remote", ENDPOINT.url]
    assert desktop["env"] == {"GATEHOUSE_AUTHORIZATION": BEARER}
    assert "--allow-http" not in desktop["args"]


def test_what_is_started_locally_is_not_told_its_key_by_the_command() -> None:
    export, command = by_id()["stdio"].steps
    assert KEY in export.text
    assert shlex.split(command.text)[-1] == ENDPOINT.url
    assert KEY not in command.text


def test_a_client_that_signs_in_is_told_the_address_and_nothing_else() -> None:
    found = {client.id: client for client in clients_that_sign_in(ENDPOINT)}
    told = {name: file_of(client) for name, client in found.items()}
    assert told["claude-code"]["mcpServers"] == {"gatehouse-support": {"type": "http", "url": ENDPOINT.url}}
    assert told["cursor"]["mcpServers"] == {"gatehouse-support": {"url": ENDPOINT.url}}
    assert told["vs-code"]["servers"] == {"gatehouse-support": {"type": "http", "url": ENDPOINT.url}}
    assert told["codex"]["mcp_servers"] == {"gatehouse-support": {"url": ENDPOINT.url}}
    assert told["gemini-cli"]["mcpServers"] == {"gatehouse-support": {"httpUrl": ENDPOINT.url}}
    query = parse_qs(urlsplit(found["cursor"].link).query)
    assert json.loads(b64decode(query["config"][0])) == {"url": ENDPOINT.url}
    server = json.loads(unquote(found["vs-code"].link.partition("?")[2]))
    assert server == {"name": "gatehouse-support", "type": "http", "url": ENDPOINT.url}
    assert "KEY" not in repr([step.text for client in found.values() for step in client.steps])


def test_links_open_the_client_and_hold_no_key() -> None:
    found = by_id()
    query = parse_qs(urlsplit(found["cursor"].link).query)
    config = json.loads(b64decode(query["config"][0]))
    assert (query["name"], config["url"]) == (["gatehouse-support"], ENDPOINT.url)
    assert config["headers"] == {"Authorization": "Bearer ${env:GATEHOUSE_KEY}"}
    scheme, _, payload = found["vs-code"].link.partition("?")
    server = json.loads(unquote(payload))
    assert scheme == "vscode:mcp/install"
    assert server["headers"] == {"Authorization": "Bearer ${input:gatehouse-key}"}
    assert server["inputs"][0]["password"] is True


def test_what_many_people_share_holds_no_key() -> None:
    shared = [step.text for step in by_id()["vs-code"].steps]
    shared += [step.text for step in by_id()["claude-code"].steps if step.where == ".mcp.json"]
    assert len(shared) == 3
    assert not any(KEY in text for text in shared)


def test_without_a_key_the_place_for_it_is_plain_to_see() -> None:
    texts = [step.text for client in clients(ENDPOINT) for step in client.steps]
    assert any("YOUR_AGENT_KEY" in text for text in texts)
    assert not any("gate_ak_" in text for text in texts)


def test_a_step_does_not_show_its_key_in_a_traceback() -> None:
    assert KEY not in repr(clients(ENDPOINT, key=KEY))


words = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1)


@given(name=words, url=words, key=words)
def test_nothing_escapes_its_quotes(name: str, url: str, key: str) -> None:
    found = by_id(Endpoint(name, url), key)
    assert shlex.split(found["claude-code"].steps[0].text)[5:7] == [name, url]
    assert shlex.split(found["codex"].steps[0].text) == ["export", f"GATEHOUSE_KEY={key}"]
    assert list(file_of(found["cursor"])["mcpServers"]) == [name]
    assert json.loads(unquote(found["vs-code"].link.partition("?")[2]))["url"] == url


@given(name=words, url=words)
def test_the_toml_is_what_it_says(name: str, url: str) -> None:
    servers = file_of(by_id(Endpoint(name, url))["codex"])["mcp_servers"]
    assert servers == {name: {"url": url, "bearer_token_env_var": "GATEHOUSE_KEY"}}


@pytest.mark.parametrize("key", [KEY, 'it\'s $(touch /tmp/x) `id` "quoted"'])
def test_a_real_shell_sees_what_was_meant(key: str) -> None:
    script = by_id(key=key)["curl"].steps[0].text.replace("curl", "printf '%s\\0'", 1)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=10)
    assert f"Authorization: Bearer {key}" in done.stdout.split("\0")
