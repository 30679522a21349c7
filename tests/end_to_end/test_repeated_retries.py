"""A client that lost the answer to a retry, and repeats it at whichever process: nothing is done twice."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, eventually, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import BOTH_KINDS, META, Caller, Reply, http_request, modern_headers, modern_message

pytestmark = pytest.mark.databases("postgres")

DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
ACCEPTED = {"action": "accept", "content": {}}
QUESTION = {"method": "elicitation/create", "params": {"message": "Sure?", "requestedSchema": {"type": "object"}}}
TOOL = {"name": "act", "inputSchema": {"type": "object"}}
IN_TIME_SECONDS = 30.0


@dataclass
class Desk:
    """One upstream behind two gateway processes on one port: nobody knows which of them a retry meets."""

    house: Installation
    name: str
    upstream: ScriptedServer
    key: str
    go_on: Event
    """Until it is set, the upstream works on what it was answered."""
    _told_before: int = 0

    def begin(self) -> None:
        self.go_on.clear()
        self.upstream.requests.clear()
        self._told_before = len(self._outcomes())

    def acts(self) -> int:
        """How often the upstream was made to act: by answers to what it asked first."""
        return sum(_brings_answers(seen.message) for seen in self.upstream.requests if seen.body)

    def outcomes(self) -> list[str]:
        return self._outcomes()[self._told_before :]

    def _outcomes(self) -> list[str]:
        events = self.house.events("call.outcome")
        return [event["outcome"] for event in events if event["connector"] == self.name]

    def ask(self) -> dict[str, Any]:
        """The members that a retry brings after a first call."""
        asked = self.call().result
        assert asked["resultType"] == "input_required"
        given = dict.fromkeys(asked["inputRequests"], ACCEPTED)
        return {"requestState": asked["requestState"], "inputResponses": given}

    def call(self, **params: Any) -> Reply:
        with closing(Caller(self.house.url, self.key, path=f"/mcp/{self.name}")) as caller:
            message = message_of(params)
            return caller.post(json.dumps(message).encode(), modern_headers(message))

    def call_and_leave(self, **params: Any) -> socket.socket:
        """A connection on which a call was sent; closing it loses the answer."""
        message = message_of(params)
        body = json.dumps(message).encode()
        address = urlsplit(self.house.url)
        connection = socket.create_connection((address.hostname, address.port))
        lines = [f"{name}: {value}" for name, value in modern_headers(message).items()]
        lines += [f"Host: {address.netloc}", f"Authorization: Bearer {self.key}", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/json", f"Accept: {BOTH_KINDS}"]
        connection.sendall(http_request(*lines, body=body, path=f"/mcp/{self.name}"))
        return connection


def message_of(params: dict[str, Any]) -> dict[str, Any]:
    message = modern_message("tools/call", {"name": "act", "arguments": {}, **params})
    message["params"]["_meta"][f"{META}clientCapabilities"] = {"elicitation": {"form": {}}}
    return message


def _brings_answers(message: dict[str, Any]) -> bool:
    return "inputResponses" in message.get("params", {}) or ("method" not in message and "result" in message)


@pytest.fixture(scope="module")
def desks(make_installation: MakeInstallation) -> Iterator[dict[str, Desk]]:
    with ExitStack() as stack:
        upstreams = {name: stack.enter_context(in_background(scripted_server())) for name in ("first", "meanwhile")}
        upstreams["first"].be_modern(tools=[TOOL])
        upstreams["meanwhile"].be_legacy(tools=[TOOL])
        house = make_installation()
        manifest = cast.organisation({name: each.url for name, each in upstreams.items()}, timeout_seconds=60)
        for connector in manifest["connectors"]:
            connector["relays"] = ["elicitation"]
        house.apply(manifest)
        stack.callback(house.kill9)
        house.start_gateway(2)
        key = house.issue_key(cast.TRIAGE_BOT)
        yield {name: Desk(house, name, upstream, key, Event()) for name, upstream in upstreams.items()}
        assert "Traceback" not in house.log()


@pytest.fixture
def asks_first(desks: dict[str, Desk]) -> Desk:
    """An upstream that ends a call with its question, and wants to be called again with the answer."""
    desk = desks["first"]
    desk.begin()

    async def act(turn: Turn) -> None:
        if "inputResponses" not in turn.seen.message["params"]:
            await turn.result({"resultType": "input_required", "inputRequests": {"q": QUESTION}, "requestState": "s"})
            return
        await eventually(desk.go_on.is_set, within_seconds=30)
        await turn.result(DONE)

    desk.upstream.scripts["tools/call"] = act
    return desk


@pytest.fixture
def asks_meanwhile(desks: dict[str, Desk]) -> Desk:
    """An upstream of last year, that asks while it works."""
    desk = desks["meanwhile"]
    desk.begin()

    async def act(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "id": "q", **QUESTION})
        await eventually(lambda: bool(desk.acts()) and desk.go_on.is_set(), within_seconds=30)
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    desk.upstream.scripts["tools/call"] = act
    return desk


def test_a_call_that_was_sent_with_its_answers_is_not_sent_again(asks_first: Desk) -> None:
    asks_first.go_on.set()
    retry = asks_first.ask()
    assert asks_first.call(**retry).result["content"] == DONE["content"]
    for _ in range(4):
        again = asks_first.call(**retry).result
        assert again["isError"] is True
        assert again["_meta"]["com.gatehouse/decision"]["code"] == "repeated"
    assert (asks_first.acts(), asks_first.outcomes()) == (1, ["input_required", "ok"])
    assert asks_first.call(**asks_first.ask()).result["content"] == DONE["content"], "from the beginning it may"


def test_neither_is_one_whose_client_lost_its_connection(asks_first: Desk) -> None:
    retry = asks_first.ask()
    with asks_first.call_and_leave(**retry):
        in_time(lambda: asks_first.acts() == 1)
    in_time(lambda: asks_first.outcomes() == ["input_required", "cancelled"])
    assert "not sent again" in asks_first.call(**retry).text
    assert asks_first.acts() == 1


def test_who_comes_for_the_answer_again_gets_it_again(asks_meanwhile: Desk) -> None:
    asks_meanwhile.go_on.set()
    retry = asks_meanwhile.ask()
    told = [asks_meanwhile.call(**retry).result["content"] for _ in range(5)]
    assert told == [DONE["content"]] * 5
    assert asks_meanwhile.acts() == 1
    assert (len(asks_meanwhile.upstream.sent("tools/call")), asks_meanwhile.outcomes()) == (1, ["ok"])


def test_all_who_wait_for_the_answer_get_it(asks_meanwhile: Desk) -> None:
    retry = asks_meanwhile.ask()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(asks_meanwhile.call, **retry) for _ in range(4)]
        in_time(lambda: asks_meanwhile.acts() == 1)
        asks_meanwhile.go_on.set()
        told = [each.result().result["content"] for each in waiting]
    assert told == [DONE["content"]] * 4
    assert (asks_meanwhile.acts(), len(asks_meanwhile.upstream.sent("tools/call"))) == (1, 1)


def test_who_lost_the_connection_is_told_what_is_on_record(asks_meanwhile: Desk) -> None:
    retry = asks_meanwhile.ask()
    with asks_meanwhile.call_and_leave(**retry):
        in_time(lambda: asks_meanwhile.acts() == 1)
    in_time(lambda: asks_meanwhile.outcomes() == ["cancelled"])
    told = asks_meanwhile.call(**retry)
    assert "cancelled while it ran" in told.text
    assert told.result["_meta"]["com.gatehouse/failure"]["code"] == "cancelled"
    assert len(asks_meanwhile.upstream.sent("tools/call")) == 1


def in_time(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + IN_TIME_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
