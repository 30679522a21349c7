"""A local server as an upstream: allowed by the installation, applied by a manifest, called under governance."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import cast
from tests.connectors.test_stdio import is_alive
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import CommandFailed, Installation
from tests.end_to_end.wire import Caller

SERVER = str(Path(__file__).parents[1] / "connectors" / "local_server.py")
TOKEN = "up-s3cret-9f8e7d"


def organisation(*, era: str = "legacy", **changes: Any) -> dict[str, Any]:
    made = cast.organisation({"local": "http://127.0.0.1:1/mcp"}, secrets={"local": "LOCAL_TOKEN"})
    [connector] = made["connectors"]
    del connector["url"]
    made["connectors"] = [
        {
            **connector,
            "kind": "stdio",
            "command": [sys.executable, "-u", SERVER, era],
            "environment": {"MODE": "fast"},
            "secret_variable": "TOKEN",
            "per_agent": True,
            **changes,
        }
    ]
    return made


@dataclass
class Desk:
    house: Installation
    keys: dict[str, str]

    def call(self, tool: str, agent: str = cast.TRIAGE_BOT, **arguments: Any) -> dict[str, Any]:
        with closing(Caller(self.house.url, self.keys[agent], path="/mcp/local")) as caller:
            result: dict[str, Any] = caller.ask_modern("tools/call", {"name": tool, "arguments": arguments}).result
            return result

    def said(self, tool: str, agent: str = cast.TRIAGE_BOT, **arguments: Any) -> str:
        return str(self.call(tool, agent, **arguments)["content"][0]["text"])


def a_desk(house: Installation) -> Iterator[Desk]:
    house.configure(STDIO_ALLOWED_COMMANDS=sys.executable)
    house.apply(organisation(), LOCAL_TOKEN=TOKEN)
    keys = {agent: house.issue_key(agent) for agent in (cast.TRIAGE_BOT, cast.NIGHT_BOT)}
    house.start_gateway()
    yield Desk(house, keys)
    assert "Traceback" not in house.log()


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    yield from a_desk(make_installation())


@pytest.fixture
def own_desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    """For a test that leaves nothing behind to be called."""
    yield from a_desk(make_installation())


def test_without_the_setting_it_is_refused_and_the_setting_is_named(make_installation: MakeInstallation) -> None:
    house = make_installation()
    with pytest.raises(CommandFailed, match=r"(?s)ended with 3.*STDIO_ALLOWED_COMMANDS"):
        house.apply(organisation(), LOCAL_TOKEN=TOKEN)
    house.configure(STDIO_ALLOWED_COMMANDS="/usr/bin/true")
    with pytest.raises(CommandFailed, match="STDIO_ALLOWED_COMMANDS allows /usr/bin/true"):
        house.apply(organisation(), LOCAL_TOKEN=TOKEN)
    house.configure(STDIO_ALLOWED_COMMANDS=sys.executable)
    with pytest.raises(CommandFailed, match="LD_PRELOAD would run code"):
        house.apply(organisation(environment={"LD_PRELOAD": "/tmp/x.so"}), LOCAL_TOKEN=TOKEN)
    house.configure(STDIO_ALLOWED_COMMANDS="node")
    assert "STDIO_ALLOWED_COMMANDS: 'node' is no absolute path" in house.manage("export", expect=None).stderr


def test_applying_it_again_changes_nothing(desk: Desk) -> None:
    assert "Nothing to do" in desk.house.apply(organisation(), LOCAL_TOKEN=TOKEN)
    exported = json.loads(desk.house.manage("export", "--json").stdout)
    assert TOKEN not in json.dumps(exported)


def test_its_tools_are_governed_and_it_sees_only_what_it_is_given(desk: Desk) -> None:
    assert desk.said("echo", n=1) == str({"n": 1})
    outcome = desk.house.events("call.outcome")[-1]
    assert (outcome["tool"], outcome["outcome"]) == ("echo", "ok")
    masked = desk.said("environment")
    assert TOKEN not in masked
    assert '"MODE": "fast"' in masked
    for ours in ("GATEHOUSE_KEK", "SECRET_KEY", "DATABASE_URL", "DATA_DIR"):
        assert ours not in masked


def test_each_agent_has_its_own_program_and_they_end_with_the_gateway(desk: Desk) -> None:
    mine, other = desk.said("pid"), desk.said("pid", cast.NIGHT_BOT)
    assert mine != other
    daemon = desk.said("detach")
    desk.house.stop_gateway()
    assert not any(is_alive(int(pid)) for pid in (mine, other, daemon))
    desk.house.start_gateway()
    assert desk.said("pid") not in (mine, other)


def test_one_that_dies_during_a_call_fails_it_and_comes_back(desk: Desk) -> None:
    first = desk.said("pid")
    assert desk.call("die")["isError"] is True
    assert desk.house.events("call.outcome")[-1]["outcome"] in ("failed", "unknown")
    assert desk.said("pid") != first
    assert TOKEN not in desk.house.log()
    assert "last words" in desk.house.log()


DELETE = """
from governance.models import BundleTool, Connector
BundleTool.objects.all().delete()
Connector.objects.get(name="local").delete()
"""


def test_its_program_ends_soon_after_the_connector_is_changed_or_deleted(own_desk: Desk) -> None:
    """Nobody calls it afterwards, so it is the change itself that ends it."""
    first = own_desk.said("pid")
    own_desk.house.apply(organisation(environment={"MODE": "slow"}), LOCAL_TOKEN=TOKEN)
    await_end_of(first)
    second = own_desk.said("pid")
    own_desk.house.manage("shell", "-c", DELETE)
    await_end_of(second)


def await_end_of(pid: str) -> None:
    deadline = time.monotonic() + 30
    while is_alive(int(pid)):
        assert time.monotonic() < deadline, "the program lives on"
        time.sleep(0.02)
