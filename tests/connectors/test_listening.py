"""An upstream's news: subscriptions/listen, the GET stream of a legacy session, and what is done about breaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors import mcp_listen
from connectors.base import Interest, UpstreamAuth
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec, call_tool
from tests.connectors.servers import ScriptedServer, Turn, eventually

ALL = Interest(tools=True, prompts=True, resources=True, uris=frozenset(("a:1", "a:2")))
NEWS = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
}
TOOLS = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
Listening = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_listen, "FIRST_PAUSE_SECONDS", 0.02)


@pytest.fixture
def listening(connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth) -> Listening:
    @asynccontextmanager
    async def listen(interest: Interest = ALL) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
        news: list[tuple[str, dict[str, Any]]] = []

        async def heard(method: str, params: dict[str, Any]) -> None:
            news.append((method, params))

        task = asyncio.create_task(connector.listen(spec_of(upstream.url), auth, interest, heard))
        try:
            yield news
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return listen


def telling(*messages: dict[str, Any], then: Callable[[Turn], Awaitable[None]] | None = None) -> Any:
    async def script(turn: Turn) -> None:
        await turn.stream_head()
        for message in messages:
            await turn.event({"jsonrpc": "2.0", **message})
        await (then(turn) if then else turn.reader.readexactly(1))

    return script


async def end(turn: Turn) -> None:
    await turn.stream_end()


async def answered(turn: Turn) -> None:
    await turn.result({})


MESSAGES = (
    {"method": "notifications/subscriptions/acknowledged", "params": {"notifications": {}}},
    {"method": TOOLS},
    {"method": UPDATED, "params": {"uri": "a:1"}},
    {"method": "notifications/message", "params": {"level": "error", "data": "x"}},
    {"method": "notifications/prompts/list_changed", "params": []},
    {"method": "notifications/made_up", "params": {}},
)


async def test_a_modern_upstream_is_asked_for_what_is_wanted(listening: Listening, upstream: ScriptedServer) -> None:
    upstream.be_modern(capabilities=NEWS)
    upstream.scripts["subscriptions/listen"] = telling(*MESSAGES)
    async with listening() as news:
        await eventually(lambda: len(news) == 2)
    assert news == [(TOOLS, {}), (UPDATED, {"uri": "a:1"})]
    (seen,) = upstream.sent("subscriptions/listen")
    assert seen.message["params"]["notifications"] == {
        "toolsListChanged": True,
        "promptsListChanged": True,
        "resourcesListChanged": True,
        "resourceSubscriptions": ["a:1", "a:2"],
    }
    assert seen.headers["mcp-method"] == "subscriptions/listen"


async def test_only_what_the_upstream_offers_is_asked_for(listening: Listening, upstream: ScriptedServer) -> None:
    upstream.be_modern(capabilities={"tools": {"listChanged": True}, "resources": {"subscribe": False}})
    upstream.scripts["subscriptions/listen"] = telling()
    async with listening():
        await eventually(lambda: "subscriptions/listen" in upstream.methods())
    assert upstream.sent("subscriptions/listen")[0].message["params"]["notifications"] == {"toolsListChanged": True}


async def test_a_modern_stream_stands_when_the_upstream_says_so(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    said, go_on, stood = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "method": TOOLS})
        await go_on.wait()
        await turn.event({"jsonrpc": "2.0", **MESSAGES[0]})
        await turn.reader.readexactly(1)

    async def heard(method: str, params: dict[str, Any]) -> None:
        said.set()

    upstream.be_modern(capabilities=NEWS)
    upstream.scripts["subscriptions/listen"] = script
    listening = asyncio.create_task(connector.listen(spec_of(upstream.url), auth, ALL, heard, stood.set))
    async with asyncio.timeout(30):
        await said.wait()
        assert not stood.is_set()
        go_on.set()
        await stood.wait()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_an_upstream_without_news_is_not_listened_to(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth, era: str
) -> None:
    (upstream.be_modern if era == "modern" else upstream.be_legacy)(capabilities={"tools": {}})

    async def heard(method: str, params: dict[str, Any]) -> None:
        raise AssertionError(method)

    async with asyncio.timeout(10):
        await connector.listen(spec_of(upstream.url), auth, ALL, heard)


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("refusal", ["404", "405", "-32601"])
async def test_a_stream_that_is_not_offered_ends_the_listening(  # noqa: PLR0917
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth, era: str, refusal: str
) -> None:
    (upstream.be_modern if era == "modern" else upstream.be_legacy)(capabilities=NEWS)

    async def refuse(turn: Turn) -> None:
        if refusal == "-32601" and turn.seen.body:
            await turn.error(-32601, status="404 Not Found")
        else:
            await turn.respond(b"", status="405 No" if refusal == "405" else "404 Not Found", kind="text/plain")

    upstream.scripts |= {"subscriptions/listen": refuse, "GET": refuse, "resources/subscribe": answered}

    async def heard(method: str, params: dict[str, Any]) -> None:
        raise AssertionError(method)

    async with asyncio.timeout(10):
        await connector.listen(spec_of(upstream.url), auth, ALL, heard)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_after_a_break_everything_wanted_counts_as_changed(
    listening: Listening, upstream: ScriptedServer, era: str
) -> None:
    (upstream.be_modern if era == "modern" else upstream.be_legacy)(capabilities=NEWS)
    breaks = iter([end, None])

    async def script(turn: Turn) -> None:
        await telling(then=next(breaks))(turn)

    upstream.scripts |= {"subscriptions/listen": script, "GET": script, "resources/subscribe": answered}
    async with listening() as news:
        await eventually(lambda: len(news) == 5)
    assert [method for method, _ in news].count(UPDATED) == 2
    assert {method for method, _ in news} >= {TOOLS, "notifications/prompts/list_changed"}


@pytest.mark.parametrize("status", ["500 Oops", "401 Who", "429 Slow", "302 Found"])
async def test_an_outage_is_waited_out(listening: Listening, upstream: ScriptedServer, status: str) -> None:
    upstream.be_modern(capabilities=NEWS)

    async def broken(turn: Turn) -> None:
        upstream.scripts["subscriptions/listen"] = telling({"method": TOOLS})
        await turn.respond(b"", status=status)

    upstream.scripts["subscriptions/listen"] = broken
    async with listening(Interest(tools=True)) as news:
        await eventually(lambda: (TOOLS, {}) in news)


async def test_the_tries_become_rarer(
    listening: Listening, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_listen, "FIRST_PAUSE_SECONDS", 0.05)
    upstream.be_modern(capabilities=NEWS)
    upstream.scripts["subscriptions/listen"] = telling(then=end)
    began = time.monotonic()
    async with listening(Interest(tools=True)):
        await eventually(lambda: len(upstream.sent("subscriptions/listen")) == 5)
    assert time.monotonic() - began >= 0.05 / 2 * (1 + 2 + 4 + 8), "each pause is at least half of what doubles"


async def test_a_flood_of_news_is_cut(listening: Listening, upstream: ScriptedServer) -> None:
    upstream.be_modern(capabilities=NEWS)

    async def flood(turn: Turn) -> None:
        await turn.stream_head()
        event = b"data: " + b'{"jsonrpc":"2.0","method":"%s"}' % TOOLS.encode() + b"\n\n"
        while True:
            await turn.raw(b"%x\r\n%s\r\n" % (len(event) * 500, event * 500))

    upstream.scripts["subscriptions/listen"] = flood
    async with listening(Interest(tools=True)) as news:
        await eventually(lambda: len(upstream.sent("subscriptions/listen")) >= 2)
    assert len(news) < 30_000


# -- legacy


async def test_a_legacy_session_is_heard_and_subscribed(
    connector: McpHttp, listening: Listening, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    upstream.be_legacy(session_id="s-1", capabilities=NEWS)
    upstream.scripts |= {
        "GET": telling({"id": 9, "method": "ping"}, {"id": 10, "method": "roots/list"}, *MESSAGES),
        "resources/subscribe": answered,
        "resources/unsubscribe": answered,
    }
    async with listening() as news:
        await eventually(lambda: len(news) == 2)
        await call_tool_answered(connector, upstream, spec_of, auth)
    assert news == [(TOOLS, {}), (UPDATED, {"uri": "a:1"})]
    (stream,) = (seen for seen in upstream.requests if seen.method == "GET")
    assert stream.headers["mcp-session-id"] == "s-1"
    assert [seen.message["params"]["uri"] for seen in upstream.sent("resources/subscribe")] == ["a:1", "a:2"]
    assert {seen.headers.get("mcp-session-id") for seen in upstream.sent("tools/call")} == {"s-1"}
    replies = [seen.message for seen in upstream.requests if seen.body and "method" not in seen.message]
    assert replies[0] == {"jsonrpc": "2.0", "id": 9, "result": {}}
    assert replies[1]["error"]["code"] == -32601
    await eventually(lambda: len(upstream.sent("resources/unsubscribe")) == 2)


async def call_tool_answered(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    async def done(turn: Turn) -> None:
        await turn.result({"content": []})

    upstream.scripts["tools/call"] = done
    await call_tool(connector, spec_of(upstream.url), auth)


async def test_news_on_the_stream_of_a_call_are_heard_too(
    connector: McpHttp, listening: Listening, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    upstream.be_legacy(session_id="s-1", capabilities=NEWS)

    async def call(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "method": TOOLS})
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": {"content": []}})
        await turn.stream_end()

    upstream.scripts |= {"GET": telling(), "tools/call": call}
    async with listening(Interest(tools=True)) as news:
        await eventually(lambda: any(seen.method == "GET" for seen in upstream.requests))
        await call_tool(connector, spec_of(upstream.url), auth)
        assert news == [(TOOLS, {})]


async def test_all_who_listen_share_the_one_stream_of_a_session(listening: Listening, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="s-1", capabilities=NEWS)
    upstream.scripts |= {"GET": telling(), "resources/subscribe": answered, "resources/unsubscribe": answered}
    gets = lambda: [seen for seen in upstream.requests if seen.method == "GET"]  # noqa: E731
    async with listening(Interest(tools=True)) as first:
        await eventually(lambda: len(gets()) == 1)
        async with listening(Interest(tools=True, uris=frozenset(("a:1",)))):
            await eventually(lambda: len(upstream.sent("resources/subscribe")) == 1)
            assert len(gets()) == 1
        await eventually(lambda: len(upstream.sent("resources/unsubscribe")) == 1)
    assert first == []


async def test_the_next_listener_takes_over_the_stream(listening: Listening, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="s-1", capabilities=NEWS)
    upstream.scripts["GET"] = telling()
    async with listening(Interest(tools=True)):
        await eventually(lambda: "GET" in [seen.method for seen in upstream.requests])
        second = listening(Interest(tools=True))
        news = await second.__aenter__()
        await asyncio.sleep(0.02)
    upstream.scripts["GET"] = telling({"method": TOOLS})
    await eventually(lambda: (TOOLS, {}) in news)
    await second.__aexit__(None, None, None)


async def test_a_lost_session_is_opened_and_subscribed_again(listening: Listening, upstream: ScriptedServer) -> None:
    upstream.be_legacy(session_id="old", capabilities=NEWS)

    async def stream(turn: Turn) -> None:
        if turn.seen.headers["mcp-session-id"] == "old":
            upstream.be_legacy(session_id="new", capabilities=NEWS)
            await turn.respond(b"", status="404 Not Found")
        else:
            await telling()(turn)

    upstream.scripts |= {"GET": stream, "resources/subscribe": answered}
    async with listening(Interest(uris=frozenset(("a:1",)))) as news:
        await eventually(lambda: news == [(UPDATED, {"uri": "a:1"})])
    sessions = [seen.headers["mcp-session-id"] for seen in upstream.sent("resources/subscribe")]
    assert sessions == ["old", "new"]
