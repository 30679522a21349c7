"""What the gateway hands out and takes back: whoever brings it, however changed, it opens nothing of another's."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.test_fuzz import EXAMPLES, SOAK_EXAMPLES, fuzz
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import META, MODERN, NEWEST_LEGACY, Caller, Reply, modern_headers, modern_message

MANY = 1_001
"""Tools, so that their list has a second page."""
PRIVATE = "what only the first agent may read"
QUESTION = {
    "q": {"method": "elicitation/create", "params": {"message": PRIVATE, "requestedSchema": {"type": "object"}}}
}
ANSWERED = {"q": {"action": "accept", "content": {}}}
CALL, ASKING = {"name": "act-0", "arguments": {}}, {"name": "act-1", "arguments": {}}
STREAM_SECONDS = 0.3


async def act(turn: Turn) -> None:
    params = turn.seen.message["params"]
    if params["name"] == ASKING["name"]:
        await turn.result({"resultType": "input_required", "inputRequests": QUESTION, "requestState": PRIVATE})
        return
    await turn.stream_head()
    token = params["_meta"].get("progressToken", "none")
    told = {"progressToken": token, "progress": 1, "message": PRIVATE}
    await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})
    result = {"content": [{"type": "text", "text": PRIVATE}], "resultType": "complete"}
    await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": result})
    await turn.stream_end()


@dataclass
class Desk:
    house: Installation
    owner: Caller
    other: Caller
    tokens: dict[str, str]


def modern_call(**more: Any) -> dict[str, Any]:
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {"elicitation": {"form": {}}}}
    return modern_message("tools/call", {**ASKING, "_meta": meta, **more})


def post_modern(agent: Caller, message: dict[str, Any]) -> Reply:
    return agent.post(json.dumps(message).encode(), modern_headers(message))


def handed_out(agent: Caller) -> dict[str, str]:
    """One of each kind."""
    session = agent.ask("initialize", {"protocolVersion": NEWEST_LEGACY, "capabilities": {}})
    named = {"Mcp-Session-Id": session.headers["mcp-session-id"]}
    streamed = agent.ask("tools/call", {**CALL, "_meta": {"progressToken": "p"}}, **named).body.decode()
    assert PRIVATE in streamed
    return {
        "session": named["Mcp-Session-Id"],
        "event": streamed.partition("id: ")[2].partition("\n")[0].strip(),
        "cursor": agent.ask("tools/list").result["nextCursor"],
        "state": post_modern(agent, modern_call()).result["requestState"],
        "task": agent.ask("tools/call", {**CALL, "task": {}}).result["task"]["taskId"],
    }


def offering(upstream: ScriptedServer) -> ScriptedServer:
    upstream.be_modern(tools=[{"name": f"act-{i}", "inputSchema": {"type": "object"}} for i in range(MANY)])
    upstream.scripts["tools/call"] = act
    return upstream


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstream = offering(stack.enter_context(in_background(scripted_server())))
        house = make_installation()
        manifest = cast.organisation({"upstream": upstream.url})
        manifest["connectors"][0]["relays"] = ["elicitation"]
        house.apply(manifest)
        keys = [house.issue_key(name) for name in (cast.TRIAGE_BOT, cast.NIGHT_BOT)]
        house.start_gateway(2)
        owner, other = (stack.enter_context(closing(Caller(house.url, key, path="/mcp/upstream"))) for key in keys)
        yield Desk(house, owner, other, handed_out(owner))
        assert "Traceback" not in house.log()


def follow(agent: Caller, session: str, event_id: str) -> Reply:
    """Asks for the rest of a stream; what comes within a moment."""
    headers = {"Authorization": f"Bearer {agent.key}", "Accept": "text/event-stream", "Mcp-Session-Id": session}
    headers |= {"Last-Event-ID": event_id, "MCP-Protocol-Version": NEWEST_LEGACY}
    heard = b""
    with httpx.stream("GET", agent.url, headers=headers, timeout=STREAM_SECONDS) as response:
        try:
            for piece in response.iter_bytes():
                heard += piece
        except httpx.ReadTimeout:
            event("a stream without end")
    return Reply(response.status_code, response.headers, heard)


def use(agent: Caller, kind: str, token: str, desk: Desk) -> Reply:
    if kind == "session":
        return agent.request("POST", json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode(),
                             {"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
                              "Mcp-Session-Id": token, "MCP-Protocol-Version": NEWEST_LEGACY})  # fmt: skip
    if kind == "event":
        return follow(agent, desk.tokens["session"], token)
    if kind == "cursor":
        return agent.ask("tools/list", {"cursor": token})
    if kind == "state":
        return post_modern(agent, modern_call(requestState=token, inputResponses=ANSWERED))
    return agent.ask("tasks/get" if len(token) % 2 else "tasks/result", {"taskId": token})


@st.composite
def changed(draw: st.DrawFn) -> tuple[str, str, list[tuple[str, int, str]]]:
    """(what it is used as, which token it was, edits of it)."""
    kinds = st.sampled_from(("session", "event", "cursor", "state", "task"))
    letters = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6)
    edit = st.tuples(st.sampled_from(("replace", "cut", "insert", "twice")), st.integers(0, 400), letters)
    kind = draw(kinds)
    return kind, draw(st.just(kind) | kinds), draw(st.lists(edit, max_size=3))


def edited(token: str, edits: list[tuple[str, int, str]]) -> str:
    for act_, place, letters in edits:
        at = place % (len(token) + 1)
        rest = {"replace": at + len(letters), "cut": at + 1 + place % 7, "insert": at, "twice": 0}[act_]
        token = (token[:at] + letters + token[rest:])[:7000]
    return token


def is_error(reply: Reply) -> bool:
    return reply.status >= 400 or "error" in reply.message


def try_out(desk: Desk, choice: tuple[str, str, list[tuple[str, int, str]]]) -> None:
    kind, origin, edits = choice
    token = edited(desk.tokens[origin], edits)
    is_whole = kind == origin and token == desk.tokens[origin]
    theirs = use(desk.other, kind, token, desk)
    event(f"{kind} {'whole' if is_whole else 'changed'}: {theirs.status}")
    assert theirs.status < 500
    assert PRIVATE.encode() not in theirs.body
    assert not is_whole or is_error(theirs), "another agent's is as good as none"
    ours = use(desk.owner, kind, token, desk)
    assert ours.status < 500
    assert is_whole or kind == "event" or token == "" or is_error(ours), (kind, token)


@given(choice=changed())
@fuzz(EXAMPLES)
def test_tokens_open_nothing_of_anothers(desk: Desk, choice: Any) -> None:
    try_out(desk, choice)


@pytest.mark.soak
@given(choice=changed())
@fuzz(SOAK_EXAMPLES // 5)
def test_tokens_open_nothing_of_anothers_for_long(desk: Desk, choice: Any) -> None:
    try_out(desk, choice)
