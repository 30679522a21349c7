"""How the usual clients are told of an endpoint at which a person signs in: the address alone, and no key anywhere.

The client is answered 401, finds our authorization server by it and opens a browser. As documented by their makers in
November 2026 at the places that `client_setup` names; of Codex, developers.openai.com/codex/mcp ("codex mcp login").
"""

import json
from base64 import b64encode
from urllib.parse import quote, urlencode

from gateway.client_setup import BRIDGE_PATH, Client, Endpoint, Step, shell, toml_text


def clients_that_sign_in(endpoint: Endpoint) -> tuple[Client, ...]:
    return (claude_code(endpoint), cursor(endpoint), vs_code(endpoint), codex(endpoint), gemini_cli(endpoint))


def bridge_that_signs_in(endpoint: Endpoint) -> Client:
    """For clients that only start local programs."""
    words = [BRIDGE_PATH, endpoint.url, "--sign-in"]
    file = _json(mcpServers={endpoint.name: {"command": "python3", "args": words}})
    return Client(
        "stdio",
        "Claude Desktop, and any client that starts a local program",
        (
            Step(shell(["python3", *words]), hint="Once in a terminal, to sign in; end it with Ctrl-C afterwards:"),
            Step(
                file, where="claude_desktop_config.json", hint="Then for the client; write where you keep the bridge."
            ),
        ),
        needs_bridge=True,
    )


def claude_code(endpoint: Endpoint) -> Client:
    words = ["claude", "mcp", "add", "--transport", "http", "--scope", "user", endpoint.name, endpoint.url]
    file = _json(mcpServers={endpoint.name: {"type": "http", "url": endpoint.url}})
    return Client(
        "claude-code",
        "Claude Code",
        (
            Step(shell(words), hint="Then type /mcp in Claude Code, choose it, and authenticate."),
            Step(file, where=".mcp.json", hint="Or for a whole project; everybody signs in for herself."),
        ),
    )


def cursor(endpoint: Endpoint) -> Client:
    config = b64encode(json.dumps({"url": endpoint.url}, separators=(",", ":")).encode()).decode()
    return Client(
        "cursor",
        "Cursor",
        (
            Step(
                _json(mcpServers={endpoint.name: {"url": endpoint.url}}),
                where="~/.cursor/mcp.json",
                hint="Or paste this.",
            ),
        ),
        link=f"cursor://anysphere.cursor-deeplink/mcp/install?{urlencode({'name': endpoint.name, 'config': config})}",
        link_hint="Cursor shows that it needs to sign in; follow it.",
    )


def vs_code(endpoint: Endpoint) -> Client:
    server = {"type": "http", "url": endpoint.url}
    whole = json.dumps({"name": endpoint.name, **server}, separators=(",", ":"))
    return Client(
        "vs-code",
        "VS Code",
        (
            Step(shell(["code", "--add-mcp", whole]), hint="Or from a terminal:"),
            Step(_json(servers={endpoint.name: server}), where=".vscode/mcp.json", hint="Or for one project:"),
        ),
        link=f"vscode:mcp/install?{quote(whole, safe='')}",
        link_hint="VS Code asks whether it may sign in when it connects first.",
    )


def codex(endpoint: Endpoint) -> Client:
    table = f"[mcp_servers.{toml_text(endpoint.name)}]\nurl = {toml_text(endpoint.url)}\n"
    return Client(
        "codex",
        "Codex",
        (
            Step(shell(["codex", "mcp", "add", endpoint.name, "--url", endpoint.url])),
            Step(shell(["codex", "mcp", "login", endpoint.name]), hint="Then sign in:"),
            Step(table, where="~/.codex/config.toml", hint="Or instead of the first command:"),
        ),
    )


def gemini_cli(endpoint: Endpoint) -> Client:
    words = ["gemini", "mcp", "add", "--scope", "user", "--transport", "http", endpoint.name, endpoint.url]
    settings = {"httpUrl": endpoint.url}
    return Client(
        "gemini-cli",
        "Gemini CLI",
        (
            Step(shell(words), hint=f"Then type /mcp auth {endpoint.name} in Gemini CLI."),
            Step(_json(mcpServers={endpoint.name: settings}), where="~/.gemini/settings.json", hint="Or:"),
        ),
    )


def _json(**content: object) -> str:
    return json.dumps(content, indent=2)
