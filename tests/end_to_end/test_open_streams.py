"""Streams of news against real gateway processes, two of them behind one port: a client never knows which it meets."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests import cast
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.wire import Caller, modern_headers, modern_message

STREAM = {"Accept": "text/event-stream"}
QUICKLY_SECONDS = 15.0


@dataclass
class Desk:
    house: Installation
    helpdesk: Helpdesk
    stack: ExitStack

    def agent(self) -> tuple[Caller, str]:
        """An agent with a new key, and the key's id."""
        issued = self.house.issue(cast.TRIAGE_BOT)
        return self.stack.enter_context(closing(Caller(self.house.url, issued["key"]))), issued["key_id"]

    def without_a_tool(self, name: str) -> None:
        manifest = cast.support_desk(self.helpdesk.url)
        for selected in manifest["bundles"][0]["tools"]:
            selected["deny"] = [*selected.get("deny", []), name]
        self.house.apply(manifest, HELPDESK_TOKEN=self.helpdesk.token)


def opened(house: Installation, helpdesk: Helpdesk, stack: ExitStack) -> Desk:
    house.apply(cast.support_desk(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    house.start_gateway(processes=2)
    return Desk(house, helpdesk, stack)


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield opened(make_installation(), helpdesk, stack)


class Stream:
    """A stream that a client holds open."""

    def __init__(self, agent: Caller, method: str, headers: dict[str, str], message: Any = None) -> None:
        self._http = httpx.Client(headers={"Authorization": f"Bearer {agent.key}"}, timeout=QUICKLY_SECONDS)
        body = json.dumps(message).encode() if message is not None else b""
        request = self._http.build_request(method, agent.url, content=body, headers=headers)
        self.response = self._http.send(request, stream=True)
        self._lines = self.response.iter_lines()

    def next(self) -> Any:
        """The next message; None when the stream has ended."""
        for line in self._lines:
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))
        return None

    def close(self) -> None:
        self.response.close()
        self._http.close()


def followed(agent: Caller) -> Stream:
    session = agent.ask("initialize").headers["mcp-session-id"]
    return Stream(agent, "GET", STREAM | {"Mcp-Session-Id": session})


def listened(agent: Caller) -> Stream:
    message = modern_message("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=7)
    headers = modern_headers(message) | {"Accept": "application/json, text/event-stream"}
    return Stream(agent, "POST", headers | {"Content-Type": "application/json"}, message)


def test_a_changed_bundle_is_told_in_both_eras(desk: Desk) -> None:
    agent, _ = desk.agent()
    with closing(followed(agent)) as old, closing(listened(agent)) as new:
        assert new.next()["method"] == "notifications/subscriptions/acknowledged"
        desk.without_a_tool("kb_search")
        assert old.next()["method"] == new.next()["method"] == "notifications/tools/list_changed"
    assert "helpdesk__kb_search" not in agent.tools()


def test_a_revoked_key_ends_its_streams_at_once(desk: Desk) -> None:
    agent, key_id = desk.agent()
    with closing(followed(agent)) as old, closing(listened(agent)) as new:
        new.next()
        desk.house.manage("revoke_key", key_id)
        assert old.next() is None
        assert new.next()["result"]["resultType"] == "complete"
        assert new.next() is None


def test_streams_do_not_hold_up_the_end_of_a_process(make_installation: MakeInstallation, helpdesk: Helpdesk) -> None:
    with ExitStack() as stack:
        desk = opened(make_installation(), helpdesk, stack)
        agent, _ = desk.agent()
        old, new = (stack.enter_context(closing(opening(agent))) for opening in (followed, listened))
        new.next()
        began = time.monotonic()
        desk.house.stop_gateway()
        assert time.monotonic() - began < QUICKLY_SECONDS
        assert new.next()["result"]["resultType"] == "complete"
        assert old.next() is None
