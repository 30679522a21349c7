"""How the usual MCP clients are told of an endpoint: text to paste, and links that open the client. Pure.

A link never carries the key: links end up in histories, logs and chat previews. Where a client can ask for the key
itself or read it from the environment, its link says so.

Formats as documented by their makers in November 2026: code.claude.com/docs/en/mcp, cursor.com/docs/mcp and
cursor.com/docs/mcp/install-links, code.visualstudio.com/docs/copilot/guides/mcp-developer-guide (URL handler),
developers.openai.com/codex/mcp, geminicli.com/docs/tools/mcp-server, and github.com/geelen/mcp-remote for
Claude Desktop, which starts local programs only. How the same clients sign a person in, without a key:
`client_sign_in`.
"""

import json
import shlex
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

KEY_VARIABLE = "GATEHOUSE_KEY"
KEY_PLACEHOLDER = "YOUR_AGENT_KEY"
INPUT = "gatehouse-key"
BRIDGE_PATH = "/path/to/gatehouse-bridge.pyz"
MCP_REMOTE_HINT = "Or with Node.js instead of Python, by a program of somebody else's:"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`name` is what the client shall call it, e.g. gatehouse-support."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Step:
    """One text to paste: into the file `where`, or into a terminal when `where` is empty."""

    text: str = field(repr=False)
    where: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """`link` opens the client and is free of secrets; empty where the client knows no such link. `needs_bridge`: it
    speaks only stdio."""

    id: str
    title: str
    steps: tuple[Step, ...]
    link: str = ""
    link_hint: str = ""
    needs_bridge: bool = False


def endpoint_of(public_url: str, bundle: str = "") -> Endpoint:
    """Of one bundle; without one the union of all that the caller holds."""
    if bundle:
        return Endpoint(f"gatehouse-{bundle}", f"{public_url}/mcp/{bundle}")
    return Endpoint("gatehouse", f"{public_url}/mcp")


def clients(endpoint: Endpoint, *, key: str = "") -> tuple[Client, ...]:
    """Without a key the texts say YOUR_AGENT_KEY where it belongs."""
    shown = key or KEY_PLACEHOLDER
    return (
        claude_code(endpoint, shown),
        cursor(endpoint, shown),
        vs_code(endpoint),
        codex(endpoint, shown),
        gemini_cli(endpoint, shown),
        claude_desktop(endpoint, shown),
        stdio_client(endpoint, shown),
        curl(endpoint, shown),
    )


def claude_code(endpoint: Endpoint, key: str) -> Client:
    """--header takes several values, so it stands after the name and the address."""
    words = ["claude", "mcp", "add", "--transport", "http", endpoint.name, endpoint.url, "--header", _header(key)]
    shared = {"type": "http", **_remote(endpoint, f"${{{KEY_VARIABLE}}}")}
    return Client(
        "claude-code",
        "Claude Code",
        (
            Step(shell(words), hint="Adds it for the folder you are in. Then type /mcp in Claude Code."),
            Step(
                _json(mcpServers={endpoint.name: shared}),
                where=".mcp.json",
                hint=f"Or for a whole project, without the key in the file: everybody sets {KEY_VARIABLE}.",
            ),
        ),
    )


def cursor(endpoint: Endpoint, key: str) -> Client:
    config = json.dumps(_remote(endpoint, f"${{env:{KEY_VARIABLE}}}"), separators=(",", ":"))
    query = urlencode({"name": endpoint.name, "config": b64encode(config.encode()).decode()})
    return Client(
        "cursor",
        "Cursor",
        (
            Step(
                _json(mcpServers={endpoint.name: _remote(endpoint, key)}),
                where="~/.cursor/mcp.json",
                hint="Or paste this; keep what the file already has under mcpServers.",
            ),
        ),
        link=f"cursor://anysphere.cursor-deeplink/mcp/install?{query}",
        link_hint=f"Cursor then reads the key from the environment variable {KEY_VARIABLE}; set it before.",
    )


def vs_code(endpoint: Endpoint) -> Client:
    """Asks for the key at the first start and keeps it in its own secret store, so no text holds it."""
    server = {"type": "http", **_remote(endpoint, f"${{input:{INPUT}}}")}
    asked = {"type": "promptString", "id": INPUT, "description": "Gatehouse agent key", "password": True}
    whole = json.dumps({"name": endpoint.name, **server, "inputs": [asked]}, separators=(",", ":"))
    return Client(
        "vs-code",
        "VS Code",
        (
            Step(shell(["code", "--add-mcp", whole]), hint="Or from a terminal:"),
            Step(
                _json(inputs=[asked], servers={endpoint.name: server}),
                where=".vscode/mcp.json",
                hint="Or for one project:",
            ),
        ),
        link=f"vscode:mcp/install?{quote(whole, safe='')}",
        link_hint="VS Code asks for the key when it connects first, and keeps it encrypted.",
    )


def codex(endpoint: Endpoint, key: str) -> Client:
    """Refuses a token in its file; it names a variable instead."""
    words = ["codex", "mcp", "add", endpoint.name, "--url", endpoint.url, "--bearer-token-env-var", KEY_VARIABLE]
    table = f"[mcp_servers.{toml_text(endpoint.name)}]"
    values = f"url = {toml_text(endpoint.url)}\nbearer_token_env_var = {toml_text(KEY_VARIABLE)}"
    return Client(
        "codex",
        "Codex",
        (
            Step(exported(key), hint="Codex reads the key from the environment; put this into your shell's profile."),
            Step(shell(words), hint="Then:"),
            Step(f"{table}\n{values}\n", where="~/.codex/config.toml", hint="Or instead of that command:"),
        ),
    )


def gemini_cli(endpoint: Endpoint, key: str) -> Client:
    """`httpUrl` is Streamable HTTP; `url` would be the older transport."""
    words = ["gemini", "mcp", "add", "--scope", "user", "--transport", "http", "--header", _header(key)]
    settings = {"httpUrl": endpoint.url, "headers": {"Authorization": f"Bearer {key}"}}
    return Client(
        "gemini-cli",
        "Gemini CLI",
        (
            Step(shell([*words, endpoint.name, endpoint.url]), hint="Then type /mcp in Gemini CLI."),
            Step(_json(mcpServers={endpoint.name: settings}), where="~/.gemini/settings.json", hint="Or:"),
        ),
    )


def claude_desktop(endpoint: Endpoint, key: str) -> Client:
    """Starts local programs only. It takes no program from us by a link, so the path is the person's to fill in."""
    bridge = {"command": "python3", "args": [BRIDGE_PATH, endpoint.url], "env": {KEY_VARIABLE: key}}
    return Client(
        "claude-desktop",
        "Claude Desktop",
        (
            Step(
                _json(mcpServers={endpoint.name: bridge}),
                where="claude_desktop_config.json",
                hint="Settings, Developer, Edit Config. Write where you keep the bridge. Then restart Claude Desktop.",
            ),
            Step(_mcp_remote(endpoint, key), where="claude_desktop_config.json", hint=MCP_REMOTE_HINT),
        ),
        needs_bridge=True,
    )


def _mcp_remote(endpoint: Endpoint, key: str) -> str:
    """No space after the colon of the header: Claude Desktop on Windows cuts arguments at spaces."""
    plain = ["--allow-http"] if endpoint.url.startswith("http://") else []
    server = {
        "command": "npx",
        "args": ["-y", "mcp-remote", endpoint.url, *plain, "--header", "Authorization:${GATEHOUSE_AUTHORIZATION}"],
        "env": {"GATEHOUSE_AUTHORIZATION": f"Bearer {key}"},
    }
    return _json(mcpServers={endpoint.name: server})


def stdio_client(endpoint: Endpoint, key: str) -> Client:
    """Whatever can start a program and speak with it."""
    command = shell(["python3", BRIDGE_PATH, endpoint.url])
    return Client(
        "stdio",
        "Any client that starts a local program",
        (
            Step(
                exported(key),
                hint="The key is read from the environment, or from a file by --key-file, never from the command:",
            ),
            Step(command, hint="What the client shall start:"),
        ),
        needs_bridge=True,
    )


def curl(endpoint: Endpoint, key: str) -> Client:
    text = curl_command(endpoint, key, {"method": "tools/list"})
    return Client("curl", "curl", (Step(text, hint="Lists the tools, to see that the key works."),))


def curl_command(endpoint: Endpoint, key: str, request: Mapping[str, Any]) -> str:
    """Of one request, its method and params, in lines for a shell."""
    message = json.dumps({"jsonrpc": "2.0", "id": 1, **request}, separators=(",", ":"))
    headers = [_header(key), "Content-Type: application/json", "Accept: application/json, text/event-stream"]
    lines = [shell(["curl", "-sS", endpoint.url]), *(shell(["-H", header]) for header in headers)]
    return " \\\n  ".join([*lines, shell(["-d", message])])


def exported(key: str) -> str:
    return f"export {KEY_VARIABLE}={shlex.quote(key)}"


def shell(words: Iterable[str]) -> str:
    """One command for a POSIX shell; whatever is in a word stays one word."""
    return shlex.join(words)


def _header(key: str) -> str:
    return f"Authorization: Bearer {key}"


def _remote(endpoint: Endpoint, key: str) -> dict[str, Any]:
    return {"url": endpoint.url, "headers": {"Authorization": f"Bearer {key}"}}


def _json(**content: Any) -> str:
    return json.dumps(content, indent=2)


def toml_text(text: str) -> str:
    """A basic string; JSON's escapes are TOML's too, but for the letters beyond U+FFFF that JSON writes as pairs."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
