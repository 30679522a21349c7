"""Upstreams that are down, slow, lying or hostile: the agent hears what happened, evidence says so, others go on."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller, Reply

TIMEOUT_SECONDS = 1.0
LATEST_SECONDS = TIMEOUT_SECONDS + 15
METADATA_SERVICE = "http://169.254.169.254/latest/meta-data/"
HTML = b"<!doctype html><title>Welcome</title><h1>It works!</h1>"

Act = Callable[[Turn], Awaitable[None]]


def answered(**options: Any) -> Act:
    return lambda turn: turn.respond(**options)


def sent(data: bytes) -> Act:
    """Exactly these bytes, then the connection's end."""

    async def act(turn: Turn) -> None:
        await turn.raw(data)
        turn.writer.close()

    return act


def message(**members: Any) -> Act:
    """A well-formed HTTP answer with a JSON-RPC message of these members; `id` is right unless given."""

    async def act(turn: Turn) -> None:
        await turn.respond(orjson.dumps({"jsonrpc": "2.0", "id": turn.seen.message["id"]} | members))

    return act


async def never(turn: Turn) -> None:
    await asyncio.sleep(3600)


async def drop_by_drop(turn: Turn) -> None:
    """Each byte arrives well within any time-out between bytes."""
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await turn.raw(b" ")
        await asyncio.sleep(0.05)


async def without_end(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await turn.raw(b"10000\r\n%s\r\n" % (b" " * 0x10000))


async def events_without_end(turn: Turn) -> None:
    await turn.stream_head()
    while True:
        await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})


async def headers_without_end(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\n")
    while True:
        await turn.raw(b"X-Filler: %s\r\n" % (b"a" * 4000))


async def cut(turn: Turn) -> None:
    turn.reset()


def head(length: int, kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


WHOLE = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'
DEEP = b'{"jsonrpc":"2.0","id":1,"result":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
ELSEWHERE = f"Location: {METADATA_SERVICE}\r\n"
FAULTS: dict[str, tuple[Act, str]] = {
    "never-answers": (never, "timeout"),
    "drips": (drop_by_drop, "timeout"),
    "resets": (cut, "reset"),
    "closes": (sent(b""), "reset"),
    "closes-in-the-head": (sent(b"HTTP/1.1 200 OK\r\nContent-"), "reset"),
    "claims-more-than-it-sends": (sent(head(10_000) + WHOLE), "reset"),
    "claims-less-than-it-sends": (sent(head(20) + WHOLE), "bad_answer"),
    "claims-two-lengths": (
        sent(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n" + WHOLE),
        "bad_answer",
    ),
    "claims-a-terabyte": (sent(head(2**40) + WHOLE), "reset"),
    "sends-without-end": (without_end, "too_large"),
    "streams-without-end": (events_without_end, "too_large"),
    "heads-without-end": (headers_without_end, "too_large"),
    "speaks-no-http": (sent(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "bad_answer"),
    "sends-noise": (sent(bytes(range(256)) * 40), "bad_answer"),
    "shows-a-page": (answered(body=HTML, kind="text/html"), "bad_answer"),
    "calls-a-page-json": (answered(body=HTML), "bad_answer"),
    "has-crashed": (answered(body=HTML, kind="text/html", status="500 Internal Server Error"), "upstream_status"),
    "refuses-our-secret": (answered(body=b"", status="401 Unauthorized"), "upstream_auth"),
    "has-moved": (answered(body=b"", status="302 Found", extra=ELSEWHERE), "redirected"),
    "has-moved-for-good": (answered(body=b"", status="308 Permanent Redirect", extra=ELSEWHERE), "redirected"),
    "compresses": (answered(body=b"\x1f\x8b", extra="Content-Encoding: gzip\r\n"), "bad_answer"),
    "nests-without-end": (answered(body=DEEP), "bad_answer"),
    "answers-another": (message(id=999_999, result={}), "bad_answer"),
    "says-yes-and-no": (message(result={}, error={"code": 1, "message": "no"}), "bad_answer"),
    "results-in-a-list": (message(result=[1]), "bad_answer"),
    "errs-in-a-string": (message(error="no"), "bad_answer"),
}


OBJECTION = {"code": -32050, "message": "no such ledger", "data": {"ledger": 7}}
SOUND: dict[str, Act] = {
    "works": message(result={"content": [{"type": "text", "text": "done"}], "resultType": "complete"}),
    "objects": message(error=OBJECTION),
}
ACTS = SOUND | {name: act for name, (act, _) in FAULTS.items()}


async def act(turn: Turn) -> None:
    await ACTS[turn.seen.message["params"]["name"]](turn)


@dataclass
class Desk:
    house: Installation
    agent: Caller
    upstream: ScriptedServer

    def failed(self, tool: str) -> tuple[Reply, dict[str, Any]]:
        """The answer, and the outcome that evidence holds of the call."""
        answer = self.agent.call(tool)
        return answer, self.house.events("call.outcome")[-1]


def faulty(server: ScriptedServer) -> ScriptedServer:
    schema = {"type": "object"}
    server.be_modern(tools=[{"name": name, "inputSchema": schema} for name in ACTS])
    server.scripts["tools/call"] = act
    return server


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstream = faulty(stack.enter_context(in_background(scripted_server())))
        house = make_installation()
        house.apply(cast.organisation({"shaky": upstream.url}, timeout_seconds=TIMEOUT_SECONDS))
        key = house.issue_key(cast.TRIAGE_BOT)
        url = house.start_gateway()
        agent = stack.enter_context(closing(Caller(url, key, path="/mcp/shaky")))
        yield Desk(house, agent, upstream)
        assert "Traceback" not in house.log()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_agent_hears_what_broke_and_evidence_says_so(desk: Desk, fault: str):
    started = time.monotonic()
    answer, outcome = desk.failed(fault)
    assert time.monotonic() - started < LATEST_SECONDS
    assert answer.status == 200
    assert answer.result["isError"] is True
    failure = answer.result["_meta"]["com.gatehouse/failure"]
    assert failure["code"] == outcome["details"]["code"] == FAULTS[fault][1]
    assert (outcome["outcome"], outcome["call_id"]) == ("failed", failure["call_id"])
    assert outcome["details"]["reached"] is True
    assert "do not repeat it blindly" in answer.text
    assert "It works!" not in answer.text, "what an upstream says in an error is not ours to pass on"
    assert desk.agent.call("works").text == "done"


def test_a_failed_call_is_sent_once(desk: Desk):
    """Whatever it broke on: it may have had its effect."""
    before = len(desk.upstream.sent("tools/call"))
    for fault in ("resets", "closes", "has-crashed", "has-moved", "claims-more-than-it-sends"):
        desk.failed(fault)
    assert len(desk.upstream.sent("tools/call")) == before + 5


def test_a_slow_call_holds_up_no_other(desk: Desk):
    other = Caller(desk.house.url, desk.agent.key, path="/mcp/shaky")
    with closing(other), ThreadPoolExecutor(1) as pool:
        slow = pool.submit(other.call, "never-answers")
        while not slow.done():
            assert desk.agent.call("works").text == "done"
        assert slow.result().result["isError"]


def test_an_error_of_the_upstream_is_an_answer(desk: Desk):
    answer, outcome = desk.failed("objects")
    assert answer.message["error"] == OBJECTION
    assert outcome["outcome"] == "error"


@pytest.fixture
def lost(make_installation: MakeInstallation) -> Iterator[Desk]:
    """Its upstream is gone since its tools were pinned."""
    with ExitStack() as stack:
        house = make_installation()
        with in_background(scripted_server()) as upstream:
            house.apply(cast.organisation({"gone": faulty(upstream).url}))
        key = house.issue_key(cast.TRIAGE_BOT)
        agent = stack.enter_context(closing(Caller(house.start_gateway(), key, path="/mcp/gone")))
        yield Desk(house, agent, upstream)


def test_an_upstream_that_is_down_was_not_reached(lost: Desk):
    answer, outcome = lost.failed("works")
    assert answer.result["_meta"]["com.gatehouse/failure"]["code"] == "connect_failed"
    assert "Nothing was done." in answer.text
    assert outcome["details"] | {"code": "connect_failed", "reached": False} == outcome["details"]
    listed = lost.agent.ask("tools/list").result
    assert listed["tools"] == []
    assert listed["_meta"]["com.gatehouse/missing"] == [{"connector": "gone", "problem": "connect_failed"}]


@pytest.fixture
def guarded(make_installation: MakeInstallation) -> Iterator[Desk]:
    """Tools were pinned while loopback was allowed; the gateway that serves allows another network only."""
    with ExitStack() as stack:
        upstream = faulty(stack.enter_context(in_background(scripted_server())))
        house = make_installation()
        by_name = upstream.url.replace("127.0.0.1", "localhost")
        house.apply(cast.organisation({"by-address": upstream.url, "by-name": by_name}))
        key = house.issue_key(cast.TRIAGE_BOT)
        house.configure(UPSTREAM_ALLOWED_NETWORKS="10.0.0.0/8")
        agent = stack.enter_context(closing(Caller(house.start_gateway(), key)))
        yield Desk(house, agent, upstream)


def test_a_private_address_without_allowance_is_not_connected_to(guarded: Desk):
    connections = guarded.upstream.connections
    for connector in ("by-address", "by-name"):
        answer, outcome = guarded.failed(f"{connector}__works")
        assert answer.result["_meta"]["com.gatehouse/failure"]["code"] == "address_refused"
        assert outcome["details"] | {"code": "address_refused", "reached": False} == outcome["details"]
    assert guarded.upstream.connections == connections
