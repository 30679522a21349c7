"""Legacy streams that end before their answer, as upstreams let clients poll since 2025-11-25."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from connectors import mcp_transport
from connectors.base import RawResult, UpstreamAuth, UpstreamFailure
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec, tool_call
from tests.connectors.relays import FORM, RecordingRelay
from tests.connectors.servers import ScriptedServer, Turn, eventually

DONE = {"content": [], "isError": False}
Ask = Callable[..., Awaitable[RawResult]]


@pytest.fixture
def ask(connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth) -> Ask:
    upstream.be_legacy(version="2025-11-25", session_id="s-1")

    async def perform(relay: RecordingRelay | None = None, **changes: Any) -> RawResult:
        spec = spec_of(upstream.url, relays=frozenset(("elicitation",)), **changes)
        return await connector.request(spec, auth, tool_call(), relay or RecordingRelay())

    return perform


async def chunk(turn: Turn, text: bytes) -> None:
    await turn.raw(b"%x\r\n%s\r\n" % (len(text), text))


def ending(first: bytes, *, cut: bool = False) -> Callable[[Turn], Awaitable[None]]:
    async def script(turn: Turn) -> None:
        await turn.stream_head()
        await chunk(turn, first)
        if cut:
            turn.writer.close()
        else:
            await turn.stream_end()

    return script


def answer_later(upstream: ScriptedServer) -> Callable[[Turn], Awaitable[None]]:
    async def script(turn: Turn) -> None:
        await turn.stream_head()
        call_id = upstream.sent("tools/call")[0].message["id"]
        await turn.event({"jsonrpc": "2.0", "id": call_id, "result": DONE})
        await turn.stream_end()

    return script


@pytest.mark.parametrize("cut", [False, True])
async def test_the_rest_of_a_stream_is_fetched_after_the_time_the_upstream_wants(
    ask: Ask, upstream: ScriptedServer, cut: bool
) -> None:
    upstream.scripts |= {
        "tools/call": ending(b"id: e-7\nretry: 120\ndata:\n\n", cut=cut),
        "GET": answer_later(upstream),
    }
    started = time.monotonic()
    assert (await ask()).result == DONE
    assert time.monotonic() - started >= 0.12
    (resumed,) = (seen for seen in upstream.requests if seen.method == "GET")
    assert resumed.headers["last-event-id"] == "e-7"
    assert resumed.headers["mcp-session-id"] == "s-1"
    assert resumed.headers["authorization"] == "Bearer up-secret"
    assert len(upstream.sent("tools/call")) == 1


async def test_questions_on_the_rest_are_asked_too(ask: Ask, upstream: ScriptedServer) -> None:
    async def rest(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {"message": "?"}})
        await eventually(lambda: any(seen.body and "method" not in seen.message for seen in upstream.requests))
        call_id = upstream.sent("tools/call")[0].message["id"]
        await turn.event({"jsonrpc": "2.0", "id": call_id, "result": DONE})
        await turn.stream_end()

    upstream.scripts |= {"tools/call": ending(b"id: e\nretry: 1\ndata:\n\n"), "GET": rest}
    relay = RecordingRelay(FORM)
    assert (await ask(relay)).result == DONE
    assert len(relay.asked) == 1


async def test_a_stream_that_never_goes_on_is_given_up(
    ask: Ask, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_transport, "SHORTEST_RETRY_SECONDS", 0.0)
    nothing = ending(b"id: e\nretry: 0\ndata:\n\n")
    upstream.scripts |= {"tools/call": nothing, "GET": nothing}
    with pytest.raises(UpstreamFailure) as caught:
        await ask()
    assert (caught.value.code, caught.value.reached) == ("reset", True)
    assert len([seen for seen in upstream.requests if seen.method == "GET"]) == 5


@pytest.mark.parametrize("status", ["404 Not Found", "405 No", "500 Oops", "401 Who"])
async def test_a_rest_that_is_refused_is_a_failure_after_the_effect(
    ask: Ask, upstream: ScriptedServer, status: str
) -> None:
    async def refused(turn: Turn) -> None:
        await turn.respond(b"", status=status)

    upstream.scripts |= {"tools/call": ending(b"id: e\nretry: 1\ndata:\n\n"), "GET": refused}
    with pytest.raises(UpstreamFailure) as caught:
        await ask()
    assert caught.value.reached
    assert len(upstream.sent("tools/call")) == 1


@pytest.mark.parametrize("first", [b"data:\n\n", b"id: e\n", b"id: \xff\ndata:\n\n", b"id: a b\ndata:\n\n"])
async def test_without_a_usable_event_id_there_is_no_rest(ask: Ask, upstream: ScriptedServer, first: bytes) -> None:
    upstream.scripts["tools/call"] = ending(first)
    with pytest.raises(UpstreamFailure) as caught:
        await ask()
    assert (caught.value.code, caught.value.reached) == ("bad_answer", True)


async def test_a_modern_stream_is_never_resumed(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_modern()
    upstream.scripts["tools/call"] = ending(b"id: e\nretry: 1\ndata:\n\n")
    with pytest.raises(UpstreamFailure) as caught:
        await ask()
    assert caught.value.code == "bad_answer"
    assert all(seen.method == "POST" for seen in upstream.requests)
