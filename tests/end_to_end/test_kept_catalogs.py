"""Lists of an upstream are kept for a while, and never beyond what they rest on."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

CAPABILITIES: dict[str, Any] = {"tools": {}, "prompts": {}}


@dataclass
class Desk:
    house: Installation
    upstreams: dict[str, ScriptedServer]
    caller: Caller
    tokens: dict[str, str]

    def apply(self, manifest: dict[str, Any]) -> None:
        self.house.apply(manifest, **self.tokens)

    def prompts(self) -> list[str]:
        return [prompt["name"] for prompt in self.caller.ask("prompts/list").result["prompts"]]

    def asked(self, name: str) -> list[str]:
        """With which secret each list was asked for."""
        return [seen.headers["authorization"] for seen in self.upstreams[name].sent("prompts/list")]


def manifest(upstreams: dict[str, ScriptedServer], **changes: Any) -> dict[str, Any]:
    urls = {name: upstream.url for name, upstream in upstreams.items()}
    secrets = {name: f"{name.upper()}_TOKEN" for name in upstreams}
    both = [{"connector": name, "allow": ["*"]} for name in upstreams]
    found = cast.organisation(urls, secrets=secrets, bundles={"both": both})
    found["bundles"][0]["prompts"] = both
    found["connectors"][0] |= changes
    return found


@pytest.fixture
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstreams = {name: stack.enter_context(in_background(scripted_server())) for name in ("north", "south")}
        for upstream in upstreams.values():
            upstream.be_legacy(capabilities=CAPABILITIES)
            upstream.scripts["prompts/list"] = greet
        house = make_installation()
        tokens = {"NORTH_TOKEN": "north-first", "SOUTH_TOKEN": "south-first"}
        house.apply(manifest(upstreams), **tokens)
        stack.callback(house.kill9)
        url = house.start_gateway()
        caller = stack.enter_context(closing(Caller(url, house.issue_key(cast.TRIAGE_BOT), path="/mcp/both")))
        yield Desk(house, upstreams, caller, tokens)
        assert "Traceback" not in house.log()


async def greet(turn: Turn) -> None:
    await turn.result({"prompts": [{"name": "greet"}]})


async def fail(turn: Turn) -> None:
    await turn.respond(b"", status="503 Service Unavailable")


def test_a_list_goes_with_its_secret_and_its_connector_and_stays_without_the_broken(desk: Desk) -> None:
    assert [desk.prompts() for _ in range(3)] == [["north__greet", "south__greet"]] * 3
    assert (desk.asked("north"), desk.asked("south")) == (["Bearer north-first"], ["Bearer south-first"])

    desk.tokens["NORTH_TOKEN"] = "north-second"
    desk.apply(manifest(desk.upstreams))
    assert desk.prompts() == ["north__greet", "south__greet"]
    assert desk.asked("north") == ["Bearer north-first", "Bearer north-second"]
    assert desk.asked("south") == ["Bearer south-first"], "its own is as it was"

    desk.apply(manifest(desk.upstreams, timeout_seconds=20))
    assert desk.prompts() == ["north__greet", "south__greet"]
    assert len(desk.asked("north")) == 3
    assert len(desk.asked("south")) == 1

    desk.upstreams["north"].scripts["prompts/list"] = fail
    desk.apply(manifest(desk.upstreams, timeout_seconds=21))
    result = desk.caller.ask("prompts/list").result
    assert [prompt["name"] for prompt in result["prompts"]] == ["south__greet"]
    assert result["_meta"]["com.gatehouse/missing"] == [{"connector": "north", "problem": "upstream_status"}]
