"""HTTP+SSE of 2024-11-05: a real server of the Python SDK, and ones that lie."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest

from connectors.base import Interest, RawResult, UpstreamAuth, UpstreamFailure
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec, call_tool
from tests.connectors.relays import FORM, RecordingRelay
from tests.connectors.servers import ScriptedServer, Turn, asgi_server, eventually, scripted_server
from tests.connectors.test_real_servers import sdk_server

DONE = {"content": [], "isError": False}
RELAYS = frozenset(("elicitation",))
Call = Callable[..., Awaitable[RawResult]]


# -- the real one


async def test_a_real_server_of_the_old_kind(connector: McpHttp, spec_of: MakeSpec, auth: UpstreamAuth) -> None:
    async with asgi_server(sdk_server().sse_app()) as origin:
        spec = spec_of(f"{origin}/sse", relays=RELAYS)
        discovery = await connector.discover(spec, auth)
        assert {"add", "asks"} <= {tool["name"] for tool in discovery.tools}
        results = await asyncio.gather(
            *(call_tool(connector, spec, auth, name="add", arguments=b'{"a":%d,"b":1}' % n) for n in range(20))
        )
        sums = [(raw.result or {})["structuredContent"]["result"] for raw in results]
        assert sums == list(range(1, 21))
        relay = RecordingRelay(FORM, wants_progress=True, answer=lambda key, question: {"action": "decline"})
        await call_tool(connector, spec, auth, name="talkative", arguments=b'{"steps":3}', relay=relay)
        assert [params["progress"] for _, params in relay.told] == [0, 1, 2]
        raw = await call_tool(connector, spec, auth, name="asks", relay=relay)
        assert len(relay.asked) == 1
        assert raw.result is not None
        await connector.close()


# -- scripted ones


class OldServer:
    """Names its endpoint on the stream, takes requests there, answers on the stream."""

    def __init__(self, server: ScriptedServer, *, endpoint: str = "/messages?session=1") -> None:
        self.server = server
        self.endpoint = endpoint
        self.stream: Turn | None = None
        self.silent: set[str] = set()
        self.ended = 0
        for method in ("server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"):
            server.scripts[method] = self.take
        server.scripts["GET"] = self.open

    async def open(self, turn: Turn) -> None:
        self.stream = turn
        await turn.stream_head()
        await self.say(b"event: endpoint\ndata: %s\n\n" % self.endpoint.encode())
        try:
            await turn.reader.read(1)
        finally:
            self.ended += 1

    async def say(self, event: bytes) -> None:
        assert self.stream is not None
        await self.stream.raw(b"%x\r\n%s\r\n" % (len(event), event))

    async def tell(self, message: dict[str, Any]) -> None:
        await self.say(b"data: " + orjson.dumps({"jsonrpc": "2.0", **message}) + b"\n\n")

    async def take(self, turn: Turn) -> None:
        if not turn.seen.path.startswith("/messages"):
            await turn.respond(b"", status="405 Method Not Allowed", kind="text/plain")
            return
        await turn.respond(b"Accepted", status="202 Accepted", kind="text/plain")
        message = turn.seen.message
        results = {
            "initialize": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {}},
            "tools/list": {"tools": [{"name": "act"}]},
            "tools/call": DONE,
        }
        if message["method"] in results and message["method"] not in self.silent:
            await self.tell({"id": message["id"], "result": results[message["method"]]})


@pytest.fixture
async def old() -> AsyncIterator[OldServer]:
    async with scripted_server() as server:
        yield OldServer(server)


@pytest.fixture
def call(connector: McpHttp, old: OldServer, spec_of: MakeSpec, auth: UpstreamAuth) -> Call:
    async def perform(relay: RecordingRelay | None = None, **changes: Any) -> RawResult:
        spec = spec_of(old.server.url, relays=RELAYS, **changes)
        return await call_tool(connector, spec, auth, relay=relay or RecordingRelay())

    return perform


async def test_one_stream_serves_all_calls(call: Call, old: OldServer) -> None:
    assert (await call()).result == DONE
    assert all(raw.result == DONE for raw in await asyncio.gather(*(call() for _ in range(5))))
    assert len([seen for seen in old.server.requests if seen.method == "GET"]) == 1
    posts = [seen for seen in old.server.requests if seen.message.get("method") == "tools/call"]
    assert {seen.path for seen in posts} == {"/messages?session=1"}
    assert all(seen.headers["authorization"] == "Bearer up-secret" for seen in posts)


@pytest.mark.parametrize(
    "endpoint",
    ["http://evil.example/messages", "//evil.example/messages", "https://127.0.0.1/m", "http://[half", "/m" * 3_000],
)
async def test_our_secret_goes_nowhere_else(call: Call, old: OldServer, endpoint: str) -> None:
    old.endpoint = endpoint
    with pytest.raises(UpstreamFailure) as caught:
        await call()
    assert not caught.value.reached
    assert all(seen.method == "GET" or seen.path == "/mcp" for seen in old.server.requests)


@pytest.mark.parametrize("what", ["silence", "html", "error", "closed"])
async def test_what_does_not_name_an_endpoint_is_not_of_the_old_kind(call: Call, old: OldServer, what: str) -> None:
    async def other(turn: Turn) -> None:
        if what == "silence":
            await turn.stream_head()
            await turn.reader.read(1)
        elif what == "closed":
            turn.writer.close()
        else:
            await turn.respond(b"<p>", kind="text/html", status="200 OK" if what == "html" else "404 Not Found")

    old.server.scripts["GET"] = other
    with pytest.raises(UpstreamFailure) as caught:
        await call(timeout_seconds=0.4 if what == "silence" else 10)
    assert (caught.value.code, caught.value.reached) == ("upstream_status", False)


async def test_a_stream_that_breaks_fails_what_runs_and_the_next_call_opens_another(call: Call, old: OldServer) -> None:
    await call()
    old.silent.add("tools/call")
    running = asyncio.create_task(call())  # type: ignore[arg-type]
    await eventually(lambda: old.server.methods().count("tools/call") == 2)
    await asyncio.sleep(0.02)
    assert old.stream is not None
    old.stream.reset()
    with pytest.raises(UpstreamFailure) as caught:
        await running
    assert (caught.value.code, caught.value.reached) == ("reset", True)
    old.silent.clear()
    assert (await call()).result == DONE
    assert old.server.methods().count("initialize") >= 3


@pytest.mark.parametrize("rubbish", [b"data: {{{\n\n", b"data: [1]\n\n", b"data: " + b"x" * 300_000 + b"\n\n"])
async def test_rubbish_on_the_stream_ends_it(call: Call, old: OldServer, rubbish: bytes) -> None:
    await call()
    await old.say(rubbish)
    await eventually(lambda: old.ended == 1)
    assert (await call()).result == DONE
    assert len([seen for seen in old.server.requests if seen.method == "GET"]) == 2


async def test_answers_to_nobody_are_dropped(call: Call, old: OldServer) -> None:
    await call()
    await old.tell({"id": 99_999, "result": {}})
    await old.tell({"id": "x", "result": {}})
    await old.tell({"id": None, "error": {"code": -32700, "message": "?"}})
    assert (await call()).result == DONE
    assert len([seen for seen in old.server.requests if seen.method == "GET"]) == 1


async def test_a_question_is_asked_only_where_it_is_clear_whom(call: Call, old: OldServer) -> None:
    await call()
    old.silent.add("tools/call")
    relays = [RecordingRelay(FORM), RecordingRelay(FORM)]
    question = {"method": "elicitation/create", "params": {"message": "?"}}

    def answers() -> list[dict[str, Any]]:
        return [seen.message for seen in old.server.requests if seen.body and "method" not in seen.message]

    first = asyncio.create_task(call(relays[0]))  # type: ignore[arg-type]
    await eventually(lambda: old.server.methods().count("tools/call") == 2)
    await old.tell({"id": "alone", **question})
    await eventually(lambda: len(answers()) == 1)
    second = asyncio.create_task(call(relays[1]))  # type: ignore[arg-type]
    await eventually(lambda: old.server.methods().count("tools/call") == 3)
    await old.tell({"id": "both", **question})
    await eventually(lambda: len(answers()) == 2)
    assert [len(relay.asked) for relay in relays] == [1, 0]
    assert answers()[1]["error"]["code"] == -32601
    for task in (first, second):
        task.cancel()
    await eventually(lambda: old.server.methods().count("notifications/cancelled") == 2)


async def test_its_news_are_heard(connector: McpHttp, old: OldServer, spec_of: MakeSpec, auth: UpstreamAuth) -> None:
    heard: list[str] = []

    async def hear(method: str, params: dict[str, Any]) -> None:
        heard.append(method)

    spec = spec_of(old.server.url)
    old.server.scripts["initialize"] = _with_capabilities(old, {"tools": {"listChanged": True}})
    stands = asyncio.Event()
    task = asyncio.create_task(connector.listen(spec, auth, Interest(tools=True), hear, stands.set))
    async with asyncio.timeout(10):
        await stands.wait()
    await old.tell({"method": "notifications/tools/list_changed"})
    await eventually(lambda: heard == ["notifications/tools/list_changed"])
    task.cancel()


def _with_capabilities(old: OldServer, capabilities: dict[str, Any]) -> Any:
    async def script(turn: Turn) -> None:
        if turn.seen.path.startswith("/messages"):
            await turn.respond(b"", status="202 Accepted")
            about = {"protocolVersion": "2024-11-05", "capabilities": capabilities}
            await old.tell({"id": turn.seen.message["id"], "result": about})
        else:
            await old.take(turn)

    return script


async def test_closing_ends_the_stream(connector: McpHttp, call: Call, old: OldServer) -> None:
    await call()
    await connector.close()
    await eventually(lambda: old.server.cut_connections >= 1)
