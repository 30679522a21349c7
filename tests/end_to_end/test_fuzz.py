"""The endpoint under arbitrary messages and headers: it never breaks, and always says what is wrong in JSON."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests import cast
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.installation import Installation, is_ready
from tests.end_to_end.wire import META, MODERN, Caller, Reply, exchange

UNDECIDED = 503
EXAMPLES, SOAK_EXAMPLES = 150, 50_000
TOOLS = ("helpdesk__kb_search", "helpdesk__ticket_get", "helpdesk__session_info", "helpdesk__ticket_delete")


@dataclass
class Desk:
    house: Installation
    agent: Caller

    def check(self) -> None:
        """Serves as before, and knows how each call it let through has ended."""
        assert "Return and refund policy" in self.agent.call(TOOLS[0], query="refund").text
        assert is_ready(self.house.url)
        assert "Traceback" not in self.house.log()
        intents = {event["call_id"] for event in self.house.events("call.intent")}
        assert {event["call_id"] for event in self.house.events("call.outcome")} == intents


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[Desk]:
    house = make_installation()
    house.apply(cast.support_desk(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    key = house.issue_key(cast.TRIAGE_BOT)
    with closing(Caller(house.start_gateway(), key)) as agent:
        desk = Desk(house, agent)
        yield desk
        desk.check()


def fuzz(examples: int) -> Any:
    """The gateway is another process, so neither a slow example nor the shared fixture is a fault."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


texts = st.text(st.characters(codec="utf-8"), max_size=40)
long_texts = st.integers(1000, 9000).map(lambda length: "a" * length)
odd_texts = texts | long_texts | st.sampled_from(["", "\0", "../../etc/passwd", "__proto__", "\u202e", "％s%n"])
numbers = st.integers(-(2**65), 2**65) | st.floats()
scalars = st.none() | st.booleans() | numbers | odd_texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=4), max_leaves=12
)
versions = st.sampled_from([MODERN, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "", "9999-99-99"])
methods = st.sampled_from(
    ["initialize", "ping", "tools/list", "tools/call", "server/discover", "notifications/initialized", "prompts/get"]
)
metas = json_values | st.fixed_dictionaries(
    {f"{META}protocolVersion": versions | scalars, f"{META}clientCapabilities": st.just({}) | json_values},
    optional={f"{META}clientInfo": json_values, "traceparent": json_values, "progressToken": json_values},
)
params = json_values | st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(TOOLS) | scalars,
        "arguments": json_values | st.fixed_dictionaries({}, optional={"query": scalars, "ticket_id": scalars}),
        "cursor": scalars,
        "protocolVersion": versions | scalars,
        "_meta": metas,
    },
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | scalars,
        "id": st.integers() | odd_texts | json_values,
        "method": methods | scalars,
        "params": params,
        "result": json_values,
    },
)
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": st.integers(0, 9) | texts, "method": methods, "params": params}
)
bodies = (
    (requests | requests | messages | json_values | st.lists(messages, max_size=3)).map(
        lambda value: json.dumps(value).encode()
    )
    | st.binary(max_size=400)
    | messages.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")[:-1])
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip)
routing = st.fixed_dictionaries(
    {}, optional={"MCP-Protocol-Version": versions, "Mcp-Method": methods, "Mcp-Name": st.sampled_from(TOOLS)}
)
wild_headers = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.sampled_from(["*/*", "application/json", ""]) | header_values,
        "Content-Type": st.just("application/json") | header_values,
        "MCP-Protocol-Version": versions | header_values,
        "Mcp-Method": methods | header_values,
        "Mcp-Name": st.sampled_from(TOOLS) | header_values | header_values.map(lambda text: f"=?base64?{text}?="),
        "Mcp-Session-Id": header_values,
        "Origin": header_values,
        "Last-Event-ID": header_values,
        "Mcp-Param-Query": header_values,
        "X-Forwarded-For": header_values,
    },
)
headers = routing | routing | routing | wild_headers


def check(answer: Reply) -> None:
    """Nothing but 503 is ours to blame, and there is always JSON-RPC (of a batch, a list of it), or nothing at all."""
    event(f"HTTP {answer.status}")
    assert answer.status < 500 or answer.status == UNDECIDED, answer
    if answer.status == 202:
        assert answer.body == b""
        return
    assert answer.headers["content-type"] == "application/json"
    messages = answer.message if isinstance(answer.message, list) else [answer.message]
    assert messages
    for message in messages:
        assert message["jsonrpc"] == "2.0"
        assert ("result" in message) != ("error" in message)
        if "error" in message:
            assert isinstance(message["error"]["code"], int)
            assert message["error"]["message"]


class TestAnyMessage:
    @given(body=bodies, chosen=headers)
    @fuzz(EXAMPLES)
    def test_is_answered(self, desk: Desk, body: bytes, chosen: dict[str, str]):
        check(desk.agent.post(body, chosen))

    @pytest.mark.soak
    @given(body=bodies, chosen=headers)
    @fuzz(SOAK_EXAMPLES)
    def test_is_answered_for_long(self, desk: Desk, body: bytes, chosen: dict[str, str]):
        check(desk.agent.post(body, chosen))


class TestAnyWellFormedCall:
    """Past the envelope: what reaches decisions, evidence and the upstream."""

    @given(arguments=json_values, is_modern=st.booleans(), tool=st.sampled_from(TOOLS))
    @fuzz(EXAMPLES)
    def test_is_answered(self, desk: Desk, arguments: Any, is_modern: bool, tool: str):
        ask = desk.agent.ask_modern if is_modern else desk.agent.ask
        check(ask("tools/call", {"name": tool, "arguments": arguments}))

    @pytest.mark.soak
    @given(arguments=json_values, is_modern=st.booleans(), tool=st.sampled_from(TOOLS))
    @fuzz(SOAK_EXAMPLES)
    def test_is_answered_for_long(self, desk: Desk, arguments: Any, is_modern: bool, tool: str):
        ask = desk.agent.ask_modern if is_modern else desk.agent.ask
        check(ask("tools/call", {"name": tool, "arguments": arguments}))


class TestAnyHeaderLine:
    """Names and values as no decent client would send them, on a connection of their own."""

    @given(lines=st.lists(st.binary(max_size=60), max_size=4), body=st.binary(max_size=60))
    @fuzz(EXAMPLES // 2)
    def test_is_answered_or_cut_off(self, desk: Desk, lines: list[bytes], body: bytes):
        ours = [f"Host: {desk.house.url[7:]}", f"Authorization: Bearer {desk.agent.key}", "Connection: close"]
        head = [b"POST /mcp HTTP/1.1", *(line.encode() for line in ours), *lines]
        answer = exchange(desk.house.url, b"\r\n".join([*head, b"", b""]) + body, half_close=True)
        assert not answer or 400 <= int(answer.split(b" ", 2)[1]) < 500, answer
