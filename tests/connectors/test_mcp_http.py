import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors import http1
from connectors.base import Question, RawResult, UpstreamAuth, UpstreamFailure
from connectors.egress import Egress
from connectors.mcp_headers import encode_value
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import LOOPBACK, MakeSpec, call_tool, tool_call
from tests.connectors.servers import ScriptedServer, Turn, eventually, scripted_server

DONE = {"content": [], "isError": False}
Call = Callable[..., Awaitable[RawResult]]


@pytest.fixture
def call(connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth) -> Call:
    async def perform(
        name: str = "act", arguments: bytes = b"{}", *, meta: dict[str, str] | None = None, **changes: Any
    ) -> RawResult:
        question = tool_call(name, arguments, meta=meta or {})
        return await connector.request(spec_of(upstream.url, **changes), auth, question)

    return perform


async def done(turn: Turn) -> None:
    await turn.result(DONE)


async def failed(call: Call, **changes: Any) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await call(**changes)
    assert caught.value.message
    return caught.value


# -- modern


async def test_a_modern_call_carries_its_metadata_and_routing_headers(call: Call, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = done
    raw = await call("ünder", b'{"b":1,"a":[1.50]}', meta={"traceparent": "00-1-2-01"})
    assert raw.result == DONE
    assert raw.error is None
    assert raw.size_bytes > 20
    assert raw.upstream_ms > 0
    (seen,) = upstream.sent("tools/call")
    assert seen.headers["mcp-protocol-version"] == "2026-07-28"
    assert seen.headers["mcp-method"] == "tools/call"
    assert seen.headers["mcp-name"] == encode_value("ünder")
    assert seen.headers["authorization"] == "Bearer up-secret"
    assert seen.headers["accept"] == "application/json, text/event-stream"
    assert seen.headers["accept-encoding"] == "identity"
    assert "mcp-session-id" not in seen.headers
    assert seen.message["params"]["_meta"] == {
        "traceparent": "00-1-2-01",
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "gatehouse", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
    }
    assert b'"arguments":{"b":1,"a":[1.50]}' in seen.body


async def test_after_the_first_call_each_call_is_one_request_on_one_connection(
    call: Call, upstream: ScriptedServer
) -> None:
    upstream.scripts["tools/call"] = done
    for _ in range(5):
        await call()
    assert upstream.methods() == ["server/discover", "tools/list", *["tools/call"] * 5]
    assert upstream.connections == 1
    ids = [seen.message["id"] for seen in upstream.requests]
    assert len(set(ids)) == len(ids)


async def test_annotated_arguments_are_mirrored_into_headers(call: Call, upstream: ScriptedServer) -> None:
    region = {"type": "string", "x-mcp-header": "Region"}
    upstream.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object", "properties": {"region": region}}}])
    upstream.scripts["tools/call"] = done
    await call(arguments=b'{"region":"eu west"}')
    assert upstream.sent("tools/call")[0].headers["mcp-param-region"] == "eu west"


async def test_a_header_mismatch_lists_again_and_repeats_once(call: Call, upstream: ScriptedServer) -> None:
    async def demand(turn: Turn) -> None:
        if "mcp-param-region" in turn.seen.headers:
            await turn.result(DONE)
        else:
            region = {"type": "string", "x-mcp-header": "Region"}
            schema = {"type": "object", "properties": {"region": region}}
            upstream.be_modern(tools=[{"name": "act", "inputSchema": schema}])
            await turn.error(-32020)

    upstream.scripts["tools/call"] = demand
    assert (await call(arguments=b'{"region":"eu"}')).result == DONE
    assert upstream.methods()[1:] == ["tools/list", "tools/call", "tools/list", "tools/call"]


async def test_news_of_changed_tools_make_their_needs_be_asked_for_again(call: Call, upstream: ScriptedServer) -> None:
    async def change(turn: Turn) -> None:
        upstream.scripts["tools/call"] = done
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    upstream.scripts["tools/call"] = change
    await call()
    await call()
    assert upstream.methods()[1:] == ["tools/list", "tools/call", "tools/list", "tools/call"]


async def test_tools_with_a_forbidden_header_annotation_are_not_offered(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    bad = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
    upstream.be_modern(tools=[{"name": "good"}, {"name": "bad", "inputSchema": bad}])
    discovery = await connector.discover(spec_of(upstream.url), auth)
    assert [tool["name"] for tool in discovery.tools] == ["good"]


async def test_an_unknown_result_type_is_a_failure_after_the_effect(call: Call, upstream: ScriptedServer) -> None:
    async def ask_back(turn: Turn) -> None:
        await turn.result({"resultType": "input_required", "inputRequests": {}})

    upstream.scripts["tools/call"] = ask_back
    failure = await failed(call)
    assert (failure.code, failure.reached) == ("bad_answer", True)


async def test_an_upstream_that_went_back_to_legacy_is_found_out(call: Call, upstream: ScriptedServer) -> None:
    async def unsupported(turn: Turn) -> None:
        if turn.seen.headers["mcp-protocol-version"] == "2026-07-28":
            upstream.be_legacy()
            await turn.error(-32022, supported=["2025-06-18"], requested="2026-07-28")
        else:
            await turn.result(DONE)

    upstream.scripts["tools/call"] = unsupported
    assert (await call()).result == DONE
    assert upstream.methods()[2:] == [
        "tools/call", "server/discover", "initialize", "notifications/initialized", "tools/call",
    ]  # fmt: skip


# -- legacy


async def test_a_legacy_session_is_opened_once_and_used_by_all_calls(call: Call, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="s-1")
    upstream.scripts["tools/call"] = done
    await asyncio.gather(*(call() for _ in range(8)))
    assert upstream.methods()[:3] == ["server/discover", "initialize", "notifications/initialized"]
    assert upstream.methods()[3:] == ["tools/call"] * 8
    assert {seen.headers["mcp-session-id"] for seen in upstream.requests[2:]} == {"s-1"}
    assert {seen.headers["mcp-protocol-version"] for seen in upstream.requests[2:]} == {"2025-06-18"}
    assert "_meta" not in upstream.sent("tools/call")[0].message["params"]


async def test_identities_do_not_share_a_session(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    upstream.be_legacy(session_id="s-1")
    upstream.scripts["tools/call"] = done
    other = UpstreamAuth(headers=(("Authorization", "Bearer other"),), identity="secret-2")
    for identity in (auth, other, auth):
        await call_tool(connector, spec_of(upstream.url), identity)
    assert [seen.headers["authorization"] for seen in upstream.sent("initialize")] == [
        "Bearer up-secret",
        "Bearer other",
    ]


async def test_a_lost_session_is_opened_again_and_the_call_repeated_once(call: Call, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="old")

    async def only_new(turn: Turn) -> None:
        if turn.seen.headers["mcp-session-id"] == "new":
            await turn.result(DONE)
        else:
            upstream.be_legacy(session_id="new")
            await turn.respond(b"session not found", status="404 Not Found", kind="text/plain")

    upstream.scripts["tools/call"] = only_new
    results = await asyncio.gather(*(call() for _ in range(4)))
    assert all(raw.result == DONE for raw in results)
    assert len(upstream.sent("initialize")) == 2
    assert len(upstream.sent("server/discover")) == 1


async def test_a_session_turned_away_as_the_typescript_examples_do_is_opened_again(
    call: Call, upstream: ScriptedServer
) -> None:
    upstream.be_legacy(session_id="old")

    async def only_new(turn: Turn) -> None:
        if turn.seen.headers["mcp-session-id"] == "new":
            await turn.result(DONE)
        else:
            upstream.be_legacy(session_id="new")
            await turn.error(-32000)

    upstream.scripts["tools/call"] = only_new
    assert (await call()).result == DONE
    assert len(upstream.sent("tools/call")) == 2


async def test_an_error_of_a_tool_is_not_taken_for_a_lost_session(call: Call, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="s")

    async def fail(turn: Turn) -> None:
        await turn.error(-32000, status="200 OK")

    upstream.scripts["tools/call"] = fail
    assert (await call()).error is not None
    assert len(upstream.sent("tools/call")) == 1


async def test_a_session_that_is_always_lost_ends_in_a_failure(call: Call, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="s")

    async def gone(turn: Turn) -> None:
        await turn.respond(b"", status="404 Not Found")

    upstream.scripts["tools/call"] = gone
    assert (await failed(call)).code == "upstream_status"
    assert len(upstream.sent("tools/call")) == 2


@pytest.mark.parametrize("version", ["2024-11-05", "2026-07-28", "1.0", 7, None])
async def test_a_revision_we_do_not_speak_is_refused(call: Call, upstream: ScriptedServer, version: str) -> None:
    upstream.be_legacy(version=version)
    failure = await failed(call)
    assert (failure.code, failure.reached) == ("bad_answer", False)


async def test_an_initialize_answered_with_the_modern_revision_means_modern(
    call: Call, upstream: ScriptedServer
) -> None:
    upstream.be_legacy()

    async def modern_after_all(turn: Turn) -> None:
        await turn.error(-32022, supported=["2026-07-28"])

    upstream.scripts |= {"initialize": modern_after_all, "tools/call": done}
    assert (await call()).result == DONE
    assert upstream.sent("tools/call")[0].headers["mcp-protocol-version"] == "2026-07-28"


@pytest.mark.parametrize("probe", ["-32601", "-32602", "html", "empty", "404", "405", "sse", "other-versions"])
async def test_any_other_answer_to_the_probe_means_legacy(call: Call, upstream: ScriptedServer, probe: str) -> None:
    upstream.be_legacy()

    async def answer(turn: Turn) -> None:
        if probe.startswith("-"):
            await turn.error(int(probe), status="200 OK")
        elif probe == "html":
            await turn.respond(b"<html>", kind="text/html")
        elif probe == "sse":
            await turn.respond(b": nothing\n\n", kind="text/event-stream")
        elif probe == "other-versions":
            await turn.result({"supportedVersions": ["2031-01-01"]})
        else:
            await turn.respond(b"", status=f"{probe if probe != 'empty' else 400} Nope", kind="text/plain")

    upstream.scripts |= {"server/discover": answer, "tools/call": done}
    assert (await call()).result == DONE
    assert "initialize" in upstream.methods()


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "500 Oops", "503 Busy", "429 Slow down"])
async def test_neither_refusal_nor_outage_is_a_verdict_on_the_era(
    call: Call, upstream: ScriptedServer, status: str
) -> None:
    async def answer(turn: Turn) -> None:
        await turn.respond(b"{}", status=status)

    upstream.scripts["server/discover"] = answer
    failure = await failed(call)
    assert failure.code == ("upstream_auth" if status[:2] == "40" else "upstream_status")
    assert not failure.reached
    upstream.be_modern()
    upstream.scripts["tools/call"] = done
    assert (await call()).result == DONE


async def test_the_verdict_is_kept_until_the_connector_is_forgotten(
    call: Call, connector: McpHttp, upstream: ScriptedServer
) -> None:
    upstream.scripts["tools/call"] = done
    await call()
    await connector.forget(["another"])
    await call()
    assert len(upstream.sent("server/discover")) == 1
    await connector.forget(["c1"])
    await call()
    assert len(upstream.sent("server/discover")) == 2


# -- event streams


async def test_the_answer_is_found_among_comments_and_notifications(call: Call, upstream: ScriptedServer) -> None:
    async def stream(turn: Turn) -> None:
        await turn.stream_head()
        await turn.raw(b"8\r\n: ping\n\n\r\n")
        await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    upstream.scripts["tools/call"] = stream
    for _ in range(3):
        assert (await call()).result == DONE
    assert upstream.connections == 1


async def test_a_stream_left_open_after_the_answer_delays_nothing(call: Call, upstream: ScriptedServer) -> None:
    async def linger(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.reader.readexactly(1)

    upstream.scripts["tools/call"] = linger
    async with asyncio.timeout(1.5 * http1.DRAIN_SECONDS):
        assert (await call()).result == DONE
        assert (await call()).result == DONE
    await eventually(lambda: upstream.cut_connections == 2)


async def test_what_a_legacy_upstream_asks_is_refused_and_a_ping_answered(call: Call, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="s-1")

    async def ask(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "id": "q1", "method": "sampling/createMessage", "params": {}})
        await turn.event({"jsonrpc": "2.0", "id": 7, "method": "ping"})
        await eventually(lambda: len(answers()) == 2)
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    def answers() -> list[dict[str, Any]]:
        return [seen.message for seen in upstream.requests if "method" not in seen.message]

    upstream.scripts["tools/call"] = ask
    assert (await call()).result == DONE
    error = {"code": -32601, "message": "Method not found: the caller's side cannot be asked this."}
    assert answers() == [
        {"jsonrpc": "2.0", "id": "q1", "error": error},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
    ]


async def test_an_upstream_that_only_asks_is_cut_off(call: Call, upstream: ScriptedServer) -> None:
    upstream.be_legacy()

    async def pester(turn: Turn) -> None:
        await turn.stream_head()
        for number in range(10_000):
            await turn.event({"jsonrpc": "2.0", "id": number, "method": "roots/list"})

    upstream.scripts["tools/call"] = pester
    assert (await failed(call)).code == "bad_answer"
    assert len([seen for seen in upstream.requests if "method" not in seen.message]) <= 16


# -- hostile answers

Hostile = Callable[[Turn], Awaitable[None]]
HOSTILE: dict[str, tuple[str, Hostile]] = {}


def hostile(code: str) -> Callable[[Hostile], Hostile]:
    def register(script: Hostile) -> Hostile:
        HOSTILE[script.__name__] = (code, script)
        return script

    return register


def answering(body: bytes, **options: Any) -> Hostile:
    async def script(turn: Turn) -> None:
        await turn.respond(body.replace(b"ID", str(turn.seen.message["id"]).encode()), **options)

    return script


HOSTILE |= {
    "html": ("bad_answer", answering(b"<html>It works!</html>", kind="text/html")),
    "no type": ("bad_answer", answering(b"{}", kind="")),
    "empty": ("bad_answer", answering(b"")),
    "not json": ("bad_answer", answering(b"{'a': 1}")),
    "half json": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID,"result":{')),
    "bad utf-8": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID,"result":{"a":"\xff"}}')),
    "nan": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID,"result":{"a":NaN}}')),
    "a batch": ("bad_answer", answering(b'[{"jsonrpc":"2.0","id":ID,"result":{}}]')),
    "wrong id": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":99999,"result":{}}')),
    "id as text": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":"ID","result":{}}')),
    "id as float": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID.0,"result":{}}')),
    "no id": ("bad_answer", answering(b'{"jsonrpc":"2.0","result":{}}')),
    "no jsonrpc": ("bad_answer", answering(b'{"id":ID,"result":{}}')),
    "result is a list": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID,"result":[]}')),
    "result and error": (
        "bad_answer",
        answering(b'{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":""}}'),
    ),
    "neither": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID}')),
    "error is text": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID,"error":"no"}')),
    "deep": (
        "bad_answer",
        answering(b'{"jsonrpc":"2.0","id":ID,"result":{"a":' + b"[" * 65 + b"]" * 65 + b"}}"),
    ),
    "abyss": ("bad_answer", answering(b'{"jsonrpc":"2.0","id":ID,"result":' + b'{"a":' * 40_000)),
    "huge": ("too_large", answering(b'{"jsonrpc":"2.0","id":ID,"result":{"a":"' + b"x" * 300_000 + b'"}}')),
    "gzip": ("bad_answer", answering(b"\x1f\x8b", extra="Content-Encoding: gzip\r\n")),
    "empty stream": ("bad_answer", answering(b"", kind="text/event-stream")),
    "garbage stream": ("bad_answer", answering(b"data: {{{\n\n", kind="text/event-stream")),
    "huge stream": ("too_large", answering(b"data: " + b"x" * 300_000, kind="text/event-stream")),
    "redirect inside": (
        "redirected",
        answering(b"", status="302 Found", extra="Location: http://169.254.169.254/latest/meta-data/\r\n"),
    ),
    "redirect with body": (
        "redirected",
        answering(b"", status="307 Moved", extra="Location: /elsewhere\r\n"),
    ),
    "401": ("upstream_auth", answering(b"{}", status="401 Unauthorized")),
    "403": ("upstream_auth", answering(b"{}", status="403 Forbidden")),
    "429": ("upstream_status", answering(b"{}", status="429 Too Many", extra="Retry-After: 9\r\n")),
    "500": ("upstream_status", answering(b"oops", status="500 Oops", kind="text/plain")),
    "404": ("upstream_status", answering(b'{"detail":"Not Found"}', status="404 Not Found")),
    "202": ("bad_answer", answering(b"", status="202 Accepted", kind="")),
    "204": ("bad_answer", answering(b"", status="204 No Content", kind="")),
}


@hostile("reset")
async def lying_length(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{")
    turn.writer.close()


@hostile("reset")
async def reset_mid_body(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{")
    await asyncio.sleep(0.01)
    turn.reset()


@hostile("reset")
async def reset_before_answer(turn: Turn) -> None:
    turn.reset()


@hostile("reset")
async def close_before_answer(turn: Turn) -> None:
    turn.writer.close()


@hostile("reset")
async def stream_cut_off(turn: Turn) -> None:
    await turn.stream_head()
    await turn.event({"jsonrpc": "2.0", "method": "notifications/message"})
    turn.writer.close()


@hostile("timeout")
async def silent(turn: Turn) -> None:
    await turn.reader.readexactly(1)


@hostile("timeout")
async def slow_drip(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
    while True:
        await turn.raw(b" ")
        await asyncio.sleep(0.01)


@hostile("timeout")
async def slow_comments(turn: Turn) -> None:
    await turn.stream_head()
    while True:
        await turn.raw(b"3\r\n:\n\n\r\n")
        await asyncio.sleep(0.01)


@hostile("bad_answer")
async def two_answers_at_once(turn: Turn) -> None:
    body = orjson.dumps({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    await turn.raw((head + body) * 2)


@hostile("bad_answer")
async def not_http(turn: Turn) -> None:
    await turn.raw(b"SSH-2.0-OpenSSH_9.2\r\n")


@hostile("bad_answer")
async def two_lengths(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 30\r\n\r\n{}")


@hostile("bad_answer")
async def length_and_chunks(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}")


@hostile("bad_answer")
async def upgrade(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    turn.writer.close()


@hostile("too_large")
async def endless_header(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await turn.raw(b"x" * 10_000)


@hostile("bad_answer")
async def many_headers(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"Content-Length: 0\r\n\r\n")


@hostile("too_large")
async def endless_continue(turn: Turn) -> None:
    while True:
        await turn.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@hostile("too_large")
async def endless_chunk_extension(turn: Turn) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1;x=")
    while True:
        await turn.raw(b"x" * 10_000)


@pytest.mark.parametrize("name", sorted(HOSTILE))
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_hostile_answers_are_failures_that_say_the_call_may_have_happened(
    call: Call, upstream: ScriptedServer, era: str, name: str
) -> None:
    code, script = HOSTILE[name]
    if era == "legacy":
        upstream.be_legacy()
    upstream.scripts["tools/call"] = script
    failure = await failed(call, timeout_seconds=0.4 if code == "timeout" else 10)
    assert (failure.code, failure.reached) == (code, True)
    assert len(upstream.sent("tools/call")) == 1, "a request that reached the upstream was repeated"
    upstream.scripts["tools/call"] = done
    assert (await call()).result == DONE


async def test_an_error_of_the_protocol_is_an_answer_not_a_failure(call: Call, upstream: ScriptedServer) -> None:
    async def unknown_tool(turn: Turn) -> None:
        await turn.error(-32602, hint="x")

    upstream.scripts["tools/call"] = unknown_tool
    raw = await call()
    assert raw.result is None
    assert raw.error == {"code": -32602, "message": "no", "data": {"hint": "x"}}


async def test_unknown_fields_of_a_result_survive(call: Call, upstream: ScriptedServer) -> None:
    rich = {**DONE, "_meta": {"com.vendor/x": [1]}, "futureField": {"deep": None}}

    async def answer(turn: Turn) -> None:
        await turn.result(rich)

    upstream.scripts["tools/call"] = answer
    assert (await call()).result == rich


async def test_secrets_do_not_show_in_failures(call: Call, upstream: ScriptedServer) -> None:
    async def reflect(turn: Turn) -> None:
        await turn.respond(turn.seen.headers["authorization"].encode(), status="500 Bearer up-secret")

    upstream.scripts["tools/call"] = reflect
    failure = await failed(call)
    assert "up-secret" not in repr(failure) + failure.message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=400), cut=st.integers(0, 400))
async def test_no_bytes_whatever_break_more_than_their_own_call(
    spec_of: MakeSpec, auth: UpstreamAuth, raw: bytes, cut: int
) -> None:
    async def answer(turn: Turn) -> None:
        await turn.raw(raw[:cut])
        await turn.raw(raw[cut:])
        turn.writer.close()

    mcp = McpHttp(Egress(allowed_networks=LOOPBACK))
    async with scripted_server() as server:
        server.be_modern()
        server.scripts["tools/call"] = answer
        with pytest.raises(UpstreamFailure):
            await call_tool(mcp, spec_of(server.url), auth)
    await mcp.close()


# -- cancellation


async def hang(turn: Turn) -> None:
    await turn.reader.readexactly(1)


async def hang_in_stream(turn: Turn) -> None:
    await turn.stream_head()
    await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})
    await asyncio.sleep(0.02)
    await hang(turn)


@pytest.mark.parametrize("script", [hang, hang_in_stream])
async def test_cancelling_a_modern_call_closes_its_stream_at_once(
    call: Call, upstream: ScriptedServer, script: Hostile
) -> None:
    upstream.scripts["tools/call"] = script
    task = asyncio.create_task(call())  # type: ignore[arg-type]
    await eventually(lambda: "tools/call" in upstream.methods())
    await asyncio.sleep(0.05)
    task.cancel()
    await eventually(lambda: upstream.cut_connections == 1, within_seconds=0.9 * http1.DRAIN_SECONDS)
    assert "notifications/cancelled" not in upstream.methods()


@pytest.mark.parametrize("ending", ["cancelled", "timeout"])
async def test_a_legacy_call_nobody_waits_for_is_cancelled_by_message(
    call: Call, upstream: ScriptedServer, ending: str
) -> None:
    upstream.be_legacy(session_id="s-1")
    upstream.scripts["tools/call"] = hang
    task = asyncio.create_task(call(timeout_seconds=5.0 if ending == "cancelled" else 0.1))  # type: ignore[arg-type]
    await eventually(lambda: "tools/call" in upstream.methods())
    if ending == "cancelled":
        task.cancel()
    await eventually(lambda: "notifications/cancelled" in upstream.methods())
    (notice,) = upstream.sent("notifications/cancelled")
    assert notice.message["params"]["requestId"] == upstream.sent("tools/call")[0].message["id"]
    assert notice.headers["mcp-session-id"] == "s-1"
    with pytest.raises((asyncio.CancelledError, UpstreamFailure)):
        await task


async def test_one_cancelled_call_does_not_disturb_the_others(call: Call, upstream: ScriptedServer) -> None:
    async def slow_or_hang(turn: Turn) -> None:
        if turn.seen.message["params"]["arguments"].get("hang"):
            await turn.reader.readexactly(1)
        await turn.result(DONE)

    upstream.scripts["tools/call"] = slow_or_hang
    hanging = asyncio.create_task(call(arguments=b'{"hang":true}'))  # type: ignore[arg-type]
    await eventually(lambda: "tools/call" in upstream.methods())
    others = [asyncio.create_task(call()) for _ in range(10)]  # type: ignore[arg-type]
    hanging.cancel()
    assert all(raw.result == DONE for raw in await asyncio.gather(*others))


# -- discovery


async def test_all_pages_are_listed_as_they_were_sent(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    pages = {None: ["a", "b"], "": ["c"], "p3": ["d"]}
    following = {None: "", "": "p3"}

    async def page(turn: Turn) -> None:
        cursor = turn.seen.message["params"].get("cursor")
        tools = [{"name": name, "x-vendor": {"k": 1}} for name in pages[cursor]]
        more = {"nextCursor": following[cursor]} if cursor in following else {}
        await turn.result({"tools": tools, **more})

    upstream.scripts["tools/list"] = page
    discovery = await connector.discover(spec_of(upstream.url), auth)
    assert [tool["name"] for tool in discovery.tools] == ["a", "b", "c", "d"]
    assert discovery.tools[0] == {"name": "a", "x-vendor": {"k": 1}}
    assert discovery.protocol_version == "2026-07-28"
    assert discovery.server["capabilities"] == {"tools": {}}


def listing(result: Callable[[int], dict[str, Any]]) -> Hostile:
    counter = iter(range(1_000_000))

    async def script(turn: Turn) -> None:
        await turn.result(result(next(counter)))

    return script


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (lambda n: {"tools": [{"name": f"t{n}"}], "nextCursor": "same"}, "bad_answer"),
        (lambda n: {"tools": [{"name": f"t{n}"}], "nextCursor": str(n)}, "too_large"),
        (
            lambda n: {"tools": [{"name": f"t{n}-{i}"} for i in range(2_000)], "nextCursor": str(n)},
            "too_large",
        ),
        (lambda n: {"tools": [{"name": "twin"}, {"name": "twin"}]}, "bad_answer"),
        (lambda n: {"tools": [{"name": ""}]}, "bad_answer"),
        (lambda n: {"tools": ["act"]}, "bad_answer"),
        (lambda n: {"tools": {}}, "bad_answer"),
        (lambda n: {"tools": [], "nextCursor": 5}, "bad_answer"),
    ],
)
async def test_lists_that_do_not_end_or_make_no_sense_are_refused(  # noqa: PLR0917
    connector: McpHttp,
    upstream: ScriptedServer,
    spec_of: MakeSpec,
    auth: UpstreamAuth,
    result: Callable[[int], dict[str, Any]],
    code: str,
) -> None:
    upstream.scripts["tools/list"] = listing(result)
    with pytest.raises(UpstreamFailure) as caught:
        await connector.discover(spec_of(upstream.url), auth)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("relays", "declared"),
    [
        ((), {}),
        (("elicitation", "sampling", "roots"), {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}),
    ],
)
async def test_every_list_declares_what_callers_can_be_asked(  # noqa: PLR0917
    connector: McpHttp,
    upstream: ScriptedServer,
    spec_of: MakeSpec,
    auth: UpstreamAuth,
    relays: tuple[str, ...],
    declared: dict[str, Any],
) -> None:
    """Some upstreams list certain tools only for clients whose user can be asked."""
    upstream.be_modern()
    spec = spec_of(upstream.url, relays=frozenset(relays))
    await connector.discover(spec, auth)
    await connector.catalog(spec, auth, "tools/list")
    said = [seen.message["params"]["_meta"] for seen in upstream.sent("tools/list")]
    assert [meta["io.modelcontextprotocol/clientCapabilities"] for meta in said] == [declared, declared]


async def test_an_upstream_without_tools_is_not_asked_for_them(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    async def discover(turn: Turn) -> None:
        await turn.result({"supportedVersions": ["2026-07-28"], "capabilities": {"prompts": {}}})

    upstream.scripts["server/discover"] = discover
    assert (await connector.discover(spec_of(upstream.url), auth)).tools == ()
    assert "tools/list" not in upstream.methods()


# -- replicas and the generic request


async def test_the_second_address_serves_when_the_first_is_gone(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    async with scripted_server() as gone:
        dead = gone.url
    upstream.scripts["tools/call"] = done
    spec = spec_of(dead, upstream.url)
    raw = await call_tool(connector, spec, auth)
    assert raw.result == DONE
    with pytest.raises(UpstreamFailure) as caught:
        await call_tool(connector, spec_of(dead), auth)
    assert (caught.value.code, caught.value.reached) == ("connect_failed", False)


async def test_what_only_reads_is_taken_to_the_second_address(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    async with scripted_server() as second:
        second.be_modern()
        second.scripts["tools/call"] = done
        upstream.scripts["tools/call"] = reset_before_answer
        spec = spec_of(upstream.url, second.url)
        assert (await connector.request(spec, auth, tool_call(is_repeatable=True))).result == DONE


async def test_a_question_may_have_its_own_time(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    upstream.scripts["tools/call"] = silent
    with pytest.raises(UpstreamFailure) as caught:
        async with asyncio.timeout(30):
            await connector.request(spec_of(upstream.url), auth, tool_call(timeout_seconds=0.05))
    assert caught.value.code == "timeout"


async def test_a_call_that_may_have_arrived_is_not_taken_to_the_second_address(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    async with scripted_server() as second:
        second.be_modern()
        upstream.scripts["tools/call"] = reset_before_answer
        with pytest.raises(UpstreamFailure):
            await call_tool(connector, spec_of(upstream.url, second.url), auth)
        assert second.requests == []


async def test_other_methods_go_the_same_way(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    async def read(turn: Turn) -> None:
        await turn.result({"contents": []})

    upstream.scripts["resources/read"] = read
    raw = await connector.request(spec_of(upstream.url), auth, Question("resources/read", "a:b", {"uri": b'"a:b"'}))
    assert raw.result == {"contents": []}
    assert upstream.sent("resources/read")[0].headers["mcp-name"] == "a:b"
    assert orjson.loads(upstream.sent("resources/read")[0].body)["params"]["uri"] == "a:b"
