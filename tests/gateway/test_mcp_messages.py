"""What arrives as bytes: every possible body is either understood or refused, batches too, and ids come back."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Relay
from gateway.mcp.batches import LIMIT
from gateway.mcp.errors import INVALID_REQUEST, PARSE_ERROR, ProtocolError
from gateway.mcp.message import Message, parse_message, read_message
from tests.gateway.mcp_surface import LEGACY, McpPorts, Surface, world

OLDEST = "2025-03-26"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
IDS = st.text(max_size=20) | st.integers(-(2**63), 2**63 - 1)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0"]) | JSON,
        "id": IDS | JSON,
        "method": st.sampled_from(["ping", "tools/list", "notifications/initialized", "initialize", "nothing"]) | JSON,
        "params": st.dictionaries(st.text(max_size=8), JSON, max_size=3) | JSON,
        "result": JSON,
        "error": JSON,
    },
)


def request(method: str = "ping", **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method} | members


def attempt(parse: Callable[[Any], Any], raw: Any) -> Any:
    """What it makes of it, or the code with which it refuses."""
    try:
        return parse(raw)
    except ProtocolError as error:
        return error.code


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_a_batch_or_refused(body: bytes) -> None:
    found = attempt(parse_message, body)
    assert isinstance(found, Message | list) or found in (PARSE_ERROR, INVALID_REQUEST)


@given(MEMBERS)
def test_any_object_is_a_request_a_notification_a_reply_or_refused(raw: dict[str, Any]) -> None:
    message = attempt(read_message, raw)
    if message == INVALID_REQUEST:
        return
    assert isinstance(message, Message)
    assert raw["jsonrpc"] == "2.0"
    assert message.reply is None or message.is_notification
    assert message.reply is not None or message.method == raw["method"]
    assert message.is_notification or (message.id == raw["id"] and type(message.id) is type(raw["id"]))


@given(IDS)
async def test_an_id_comes_back_as_it_was(message_id: str | int) -> None:
    reply = await Surface(McpPorts(world())).post(request(id=message_id))
    assert reply.message == {"jsonrpc": "2.0", "id": message_id, "result": {}}


@given(st.lists(MEMBERS | JSON, max_size=6))
async def test_a_batch_answers_each_request_once_and_nothing_else(members: list[Any]) -> None:
    reply = await Surface(McpPorts(world())).post(members, mcp_protocol_version=OLDEST)
    if not members or any(isinstance(each, dict) and each.get("method") == "initialize" for each in members):
        assert (reply.status, reply.code) == (400, INVALID_REQUEST)
        return
    wanted = [expected for each in members if (expected := _expected(each)) is not None]
    if not wanted:
        assert (reply.status, reply.body) == (202, b"")
        return
    assert reply.status == 200
    assert [(each["id"], "error" in each) for each in reply.message] == wanted


def _expected(member: Any) -> tuple[str | int | None, bool] | None:
    """(id, whether it is an error) of its answer; None when there is none."""
    message = attempt(read_message, member)
    if message == INVALID_REQUEST:
        return None, True
    return None if message.is_notification else (message.id, message.method not in ("ping", "tools/list"))


class TestBatches:
    async def test_of_calls_are_answered_in_one_array(self) -> None:
        ports = McpPorts(world())
        calls = [request("tools/call", id=n, params={"name": "ticket_get", "arguments": {"n": n}}) for n in range(3)]
        reply = await Surface(ports).post([*calls, request("notifications/initialized", id=9) | {"id": "n"}])
        assert [(each["id"], "result" in each) for each in reply.message] == [
            (0, True),
            (1, True),
            (2, True),
            ("n", False),
        ]
        assert sorted(ports.sent) == [b'{"n":0}', b'{"n":1}', b'{"n":2}']

    @pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
    async def test_are_refused_since_2025_06_18(self, version: str) -> None:
        ports = McpPorts(world())
        reply = await Surface(ports).post([request()], mcp_protocol_version=version)
        assert (reply.status, reply.code, reply.message["id"]) == (400, INVALID_REQUEST, None)
        assert ports.log == ["call.refused"]

    async def test_follow_the_revision_of_the_session(self) -> None:
        surface = Surface(McpPorts(world()))
        old, new = await surface.initialize(OLDEST), await surface.initialize(LEGACY)
        assert (await surface.post([request()], mcp_session_id=old)).status == 200
        assert (await surface.post([request()], mcp_session_id=new)).status == 400

    async def test_are_bounded(self) -> None:
        surface = Surface(McpPorts(world()))
        assert len((await surface.post([request()] * LIMIT)).message) == LIMIT
        assert (await surface.post([request()] * (LIMIT + 1))).code == INVALID_REQUEST

    async def test_of_notifications_and_responses_are_only_accepted(self) -> None:
        notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        reply = {"jsonrpc": "2.0", "id": "q", "result": {}}
        answer = await Surface(McpPorts(world())).post([notification, reply])
        assert (answer.status, answer.body) == (202, b"")

    async def test_may_hold_what_belongs_to_a_session(self) -> None:
        surface = Surface(McpPorts(world()))
        session = await surface.initialize(OLDEST)
        members = [request("logging/setLevel", params={"level": "error"}), request(id=2)]
        assert len((await surface.post(members, mcp_session_id=session)).message) == 2
        assert surface.ports.sessions.kept[session].log_level == "error"

    async def test_nothing_can_be_asked_or_told_within(self) -> None:
        ports, asked = McpPorts(world()), []

        async def conversation(relay: Relay) -> None:
            await relay.notify("notifications/progress", {"progress": 1})
            asked.append((dict(relay.powers), relay.wants_progress, relay.log_level))

        ports.conversation = conversation
        surface = Surface(ports)
        session = await surface.initialize(OLDEST, {"sampling": {}, "roots": {}})
        params = {"name": "ticket_get", "arguments": {}, "_meta": {"progressToken": 1}}
        reply = await surface.post([request("tools/call", params=params)], mcp_session_id=session)
        assert [each["id"] for each in reply.message] == [1]
        assert asked == [({}, False, "")]

    async def test_one_bad_member_harms_no_other(self) -> None:
        reply = await Surface(McpPorts(world())).post([request(id=1), 7, request(id=None), request(id=2)])
        assert [(each["id"], "result" in each) for each in reply.message] == [
            (1, True),
            (None, False),
            (None, False),
            (2, True),
        ]

    async def test_an_unforeseen_failure_of_one_member_stays_its_own(self) -> None:
        ports = McpPorts(world())
        ports.upstream = lambda intent: json.loads("{")
        reply = await Surface(ports).post(
            [request(id=1), request("tools/call", id=2, params={"name": "ticket_get", "arguments": {}})]
        )
        assert [each["id"] for each in reply.message] == [1, 2]

    async def test_a_batch_in_a_modern_header_is_none(self) -> None:
        reply = await Surface(McpPorts(world())).post([request()], mcp_protocol_version="2026-07-28")
        assert (reply.status, reply.code) == (400, INVALID_REQUEST)
