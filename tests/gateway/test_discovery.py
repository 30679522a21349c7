"""Asking upstreams for their tools: over a real connection, and when they misbehave."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from connectors.base import Discovery, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.demo.helpdesk import Helpdesk
from connectors.demo.server import DemoServer
from connectors.demo.tools import TOOLS
from connectors.egress import Egress
from connectors.fake import FakeConnector
from connectors.mcp_http import McpHttp
from gateway import discovery
from gateway.discovery import Question, ask_all
from governance.vault import VaultError
from tests.connectors.conftest import LOOPBACK

TOKEN = "tok-helpdesk-0123456789"


def question(
    name: str = "helpdesk", *, kind: str = "mcp", url: str = "http://127.0.0.1:9/mcp", **more: Any
) -> Question:
    return Question(UpstreamSpec(connector_id=name, name=name, kind=kind, urls=(url,), timeout_seconds=5), **more)


def refuse_to_open() -> UpstreamAuth:
    raise VaultError("The sealed value does not belong here or was altered.")


@pytest.fixture
async def helpdesk_url(tmp_path: Path) -> AsyncIterator[str]:
    """The demo helpdesk, served on a free port."""
    helpdesk = Helpdesk(tmp_path / "helpdesk.sqlite3")
    app = DemoServer(helpdesk, token=TOKEN)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="critical"))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    server.should_exit = True
    await serving
    helpdesk.close()


async def test_the_demo_helpdesk_lists_its_tools_to_who_has_its_token(helpdesk_url: str) -> None:
    auth = UpstreamAuth((("authorization", f"Bearer {TOKEN}"),), "helpdesk-token")
    asked = [
        question("open", url=helpdesk_url, open_auth=lambda: auth),
        question("closed", url=helpdesk_url),
    ]
    mcp = McpHttp(Egress(allowed_networks=LOOPBACK))
    found = await ask_all(asked, {"mcp": mcp})
    await mcp.close()
    assert [tool.name for tool in found["open"].tools] == [tool["name"] for tool in TOOLS]
    assert found["open"].protocol_version == "2026-07-28"
    assert found["closed"].error.startswith("upstream_auth: ")


class Broken(FakeConnector):
    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        if spec.name == "slow":
            await asyncio.Event().wait()
        raise UpstreamFailure("bad_answer", "The upstream did not list its tools.", reached=True)


class Echo(FakeConnector):
    """An upstream that repeats what it was shown."""

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        shown = auth.headers[0][1].rpartition(" ")[2]
        password = base64.b64decode(shown).decode().rpartition(":")[2] if spec.name == "basic" else shown
        tools = ({"name": "loud", "description": f"You sent {password}"}, {"name": password}, {"name": "quiet"})
        return Discovery(tools, {}, "2025-11-25")


@pytest.mark.parametrize(("name", "scheme"), [("bearer", "Bearer "), ("header", ""), ("basic", "Basic ")])
async def test_a_definition_that_repeats_our_secret_is_left_out(name: str, scheme: str) -> None:
    shown = base64.b64encode(f"gate:{TOKEN}".encode()).decode() if name == "basic" else TOKEN
    auth = UpstreamAuth((("authorization", f"{scheme}{shown}"),), "1")

    found = (await ask_all([question(name, kind="fake", open_auth=lambda: auth)], {"fake": Echo()}))[name]

    assert [tool.name for tool in found.tools] == ["quiet"]
    assert TOKEN not in str(found)
    assert "loud" in found.unusable


async def test_one_that_breaks_or_hangs_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "LONGEST_DISCOVERY_SECONDS", 0.5)
    kinds: Mapping[str, Any] = {"fake": FakeConnector(), "broken": Broken()}
    asked = [
        question("good", kind="fake"),
        question("slow", kind="broken"),
        question("bad", kind="broken"),
        question("odd", kind="sql"),
        question("sealed", kind="fake", open_auth=refuse_to_open),
    ]
    found = await ask_all(asked, kinds)
    assert [tool.name for tool in found.pop("good").tools] == ["echo"]
    assert {name: catalogue.error.partition(":")[0] for name, catalogue in found.items()} == {
        "slow": "timeout",
        "bad": "bad_answer",
        "odd": "This version does not know connectors of kind sql.",
        "sealed": "vault",
    }


def test_private_addresses_are_not_asked_unless_allowed() -> None:
    found = discovery.discover([question()])
    assert found["helpdesk"].error.startswith("address_refused")
