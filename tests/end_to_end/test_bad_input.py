"""What hostile or broken clients send: a clear error each time, no traceback, and nobody else's call harmed."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from governance.agent_keys import new_key
from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import META, MODERN, Caller, Reply, exchange, http_request, modern_headers, modern_message

PARSE, REQUEST, METHOD, PARAMS = -32700, -32600, -32601, -32602
MISMATCH, VERSION = -32020, -32022
BODY_LIMIT = 4 * 1024 * 1024
NUL = "before\0after"


@dataclass
class Desk:
    house: Installation
    key: str
    stack: ExitStack
    _callers: dict[str | None, Caller] = field(default_factory=dict)

    @property
    def agent(self) -> Caller:
        return self.with_key(self.key)

    def with_key(self, key: str | None) -> Caller:
        if key not in self._callers:
            self._callers[key] = self.stack.enter_context(closing(Caller(self.house.url, key)))
        return self._callers[key]

    @property
    def head(self) -> list[str]:
        return [f"Host: {self.house.url[7:]}", f"Authorization: Bearer {self.key}", "Content-Type: application/json"]

    def by_hand(self, *header_lines: str, body: bytes = b"") -> bytes:
        """A request with the given lines before those that it needs, on a connection of its own."""
        return exchange(self.house.url, http_request(*header_lines, *self.head, body=body))


class Bystander(threading.Thread):
    """An honest agent that goes on calling all the while."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(daemon=True)
        self.answers: list[Reply] = []
        self._caller = caller
        self._is_over = threading.Event()

    def run(self) -> None:
        self._call()
        while not self._is_over.wait(0.05):
            self._call()

    def _call(self) -> None:
        self.answers.append(self._caller.call("helpdesk__kb_search", query="refund"))

    def finish(self) -> list[Reply]:
        self._is_over.set()
        self.join(30)
        return self.answers


def mirroring(server: ScriptedServer) -> ScriptedServer:
    """A modern upstream whose tool wants an argument repeated in a header (`x-mcp-header`)."""
    region = {"type": "string", "x-mcp-header": "Region"}
    server.be_modern(tools=[{"name": "route", "inputSchema": {"type": "object", "properties": {"region": region}}}])

    async def route(turn: Turn) -> None:
        await turn.result({"content": [{"type": "text", "text": "routed"}], "resultType": "complete"})

    server.scripts["tools/call"] = route
    return server


def with_mirror(manifest: dict[str, Any], server: ScriptedServer) -> dict[str, Any]:
    manifest["connectors"].append({"name": "mirror", "kind": "mcp", "url": server.url})
    manifest["bundles"].append({"name": "mirror", "tools": [{"connector": "mirror", "allow": ["*"]}]})
    manifest["roles"][0]["bundles"].append("mirror")
    return manifest


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[Desk]:
    house = make_installation()
    with ExitStack() as stack:
        mirror = mirroring(stack.enter_context(in_background(scripted_server())))
        house.apply(with_mirror(cast.support_desk(helpdesk.url), mirror), HELPDESK_TOKEN=helpdesk.token)
        key, other = house.issue_key(cast.TRIAGE_BOT), house.issue_key(cast.NIGHT_BOT)
        house.start_gateway()
        bystander = Bystander(stack.enter_context(closing(Caller(house.url, other))))
        bystander.start()
        yield Desk(house, key, stack)
        answers = bystander.finish()
    assert answers
    assert all("Return and refund policy" in answer.text for answer in answers)
    assert "Traceback" not in house.log()
    assert key not in house.log()


def ping(**changes: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"} | changes).encode()


def search(arguments: str) -> bytes:
    """A tools/call whose arguments are written by hand."""
    params = b'{"name":"helpdesk__kb_search","arguments":%s}' % arguments.encode("utf-8", "surrogatepass")
    return b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":%s}' % params


class TestMessages:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            pytest.param(b"", PARSE, id="empty"),
            pytest.param(b'{"jsonrpc":"2.0",', PARSE, id="cut-off"),
            pytest.param(b"method=ping", PARSE, id="a-form"),
            pytest.param(b"\xef\xbb\xbf" + ping(), PARSE, id="byte-order-mark"),
            pytest.param(b"[" * 200_000, PARSE, id="deep-lists"),
            pytest.param(b'{"params":' * 50_000, PARSE, id="deep-objects"),
            pytest.param(ping(params={"a": json.loads("[" * 80 + "]" * 80)}), PARSE, id="deep-but-whole"),
            pytest.param(search('{"query":"\xff"}').replace(b"\xc3\xbf", b"\xff"), PARSE, id="invalid-utf8"),
            pytest.param(search('{"query":"\\ud800"}'), PARSE, id="lone-surrogate"),
            pytest.param(search('{"query":"a","query":"b"}'), PARSE, id="duplicate-argument"),
            pytest.param(ping()[:-1] + b',"method":"tools/list"}', PARSE, id="duplicate-method"),
            pytest.param(search('{"limit":1e999}'), PARSE, id="beyond-any-float"),
            pytest.param(search(f'{{"limit":{2**64}}}'), PARSE, id="beyond-64-bits"),
            pytest.param(search('{"limit":NaN}'), PARSE, id="nan"),
            pytest.param(b"null", REQUEST, id="null"),
            pytest.param(b'"ping"', REQUEST, id="a-string"),
            pytest.param(b"[]", REQUEST, id="empty-batch"),
            pytest.param(b"[" + b",".join([ping()] * 51) + b"]", REQUEST, id="endless-batch"),
            pytest.param(b"[" + ping(method="initialize") + b"]", REQUEST, id="handshake-in-a-batch"),
            pytest.param(ping(jsonrpc="1.0"), REQUEST, id="other-json-rpc"),
            pytest.param(ping(id=None), REQUEST, id="null-id"),
            pytest.param(ping(id=True), REQUEST, id="boolean-id"),
            pytest.param(ping(id=1.5), REQUEST, id="fractional-id"),
            pytest.param(ping(id={"a": 1}), REQUEST, id="object-id"),
            pytest.param(ping(method=7), REQUEST, id="numeric-method"),
            pytest.param(ping(method=None), REQUEST, id="null-method"),
            pytest.param(ping(params=[1]), REQUEST, id="positional-params"),
            pytest.param(ping(params="a"), REQUEST, id="params-a-string"),
        ],
    )
    def test_what_is_no_request_is_named(self, desk: Desk, body: bytes, code: int):
        answer = desk.agent.post(body)
        assert (answer.status, answer.error[0]) == (400, code)
        assert answer.message["jsonrpc"] == "2.0"
        assert answer.message["id"] is None

    @pytest.mark.parametrize(
        ("method", "params", "code"),
        [
            pytest.param("tools/destroy", {}, METHOD, id="unknown-method"),
            pytest.param("tools/call", {"name": 7}, PARAMS, id="name-a-number"),
            pytest.param("tools/call", {"name": None}, PARAMS, id="name-null"),
            pytest.param("tools/call", {}, PARAMS, id="no-name"),
            pytest.param("tools/call", {"name": "x" * 100_000}, PARAMS, id="endless-name"),
            pytest.param("tools/call", {"name": NUL}, PARAMS, id="nul-in-name"),
            pytest.param("tools/call", {"name": "helpdesk__kb_search", "arguments": []}, PARAMS, id="list-arguments"),
            pytest.param("tools/call", {"name": "helpdesk__kb_search", "arguments": "a"}, PARAMS, id="text-arguments"),
            pytest.param("tools/list", {"cursor": "not-ours"}, PARAMS, id="foreign-cursor"),
            pytest.param("tools/list", {"cursor": ""}, PARAMS, id="empty-cursor"),
            pytest.param("tools/list", {"cursor": {"page": 2}}, PARAMS, id="object-cursor"),
        ],
    )
    def test_what_cannot_be_done_is_named_with_its_id(self, desk: Desk, method: str, params: dict[str, Any], code: int):
        answer = desk.agent.ask(method, params, id="mine")
        assert (answer.status, answer.error[0], answer.message["id"]) == (200, code, "mine")

    @pytest.mark.parametrize("message_id", ["a", "", "ü", 0, -1, 2**63 - 1])
    def test_the_id_comes_back_as_it_was(self, desk: Desk, message_id: object):
        assert desk.agent.ask("ping", id=message_id).message == {"jsonrpc": "2.0", "id": message_id, "result": {}}

    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_body_over_the_limit_is_not_read(self, desk: Desk, is_chunked: bool):
        size = BODY_LIMIT + 1
        length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"a" * size) if is_chunked else b""
        answer = desk.by_hand(length, "Connection: close", body=body)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"over the limit" in answer

    def test_arguments_over_their_limit_are_refused_and_recorded(self, desk: Desk):
        answer = desk.agent.post(search('{"query":"%s"}' % ("a" * 1_100_000)))
        assert answer.error[0] == PARAMS
        assert "the limit is" in answer.error[1]
        assert desk.house.events("call.refused")[-1]["details"]["reason"] == "bad_arguments"

    def test_nul_is_data(self, desk: Desk):
        """PostgreSQL's text and jsonb refuse it; what is sent and what is recorded are bytes."""
        params = {"name": "helpdesk__ticket_search", "arguments": {"query": NUL}}
        meta = {"traceparent": NUL, f"{META}clientInfo": {"name": NUL}}
        session = desk.agent.ask("initialize").headers["mcp-session-id"]
        answer = desk.agent.ask("tools/call", params | {"_meta": meta}, **{"Mcp-Session-Id": session})
        assert answer.result["structuredContent"] == {"tickets": [], "count": 0}
        recorded = [event for event in desk.house.events("call.intent") if event["agent"] == cast.TRIAGE_BOT][-1]
        assert recorded["details"]["trace"] == {"traceparent": NUL}
        assert recorded["details"]["session"] == sha256(session.encode()).hexdigest()[:32]

    def test_a_nul_in_a_refused_name_is_recorded(self, desk: Desk):
        desk.agent.call(NUL)
        recorded = [event for event in desk.house.events("call.refused") if event["agent"] == cast.TRIAGE_BOT][-1]
        assert recorded["details"]["asked_for"] == NUL

    def test_a_malformed_message_of_a_known_agent_is_recorded(self, desk: Desk):
        desk.agent.post(search('{"query":"a","query":"b"}'))
        refused = [event for event in desk.house.events("call.refused") if event["agent"] == cast.TRIAGE_BOT]
        assert "malformed_request" in {event["details"]["reason"] for event in refused}


class TestKeys:
    def test_each_wrong_key_is_refused_alike(self, desk: Desk):
        expired = desk.house.issue(cast.TRIAGE_BOT, expires="1s")
        later = desk.house.issue(cast.TRIAGE_BOT)
        _postpone(desk.house, later["key_id"])
        _await(datetime.fromisoformat(expired["expires_at"]))
        wrong = [new_key(), expired["key"], later["key"], desk.key[:-1], desk.key + "a", desk.key.upper()]
        answers = [desk.with_key(key).ask("tools/list") for key in wrong]
        assert {answer.status for answer in answers} == {401}
        assert len({(answer.body, answer.headers["www-authenticate"]) for answer in answers}) == 1
        assert 'error="invalid_token"' in answers[0].headers["www-authenticate"]
        reasons = {event["details"].get("why") for event in desk.house.events("call.refused")}
        assert "key_not_in_time" in reasons

    def test_no_key_is_told_where_keys_come_from(self, desk: Desk):
        answer = desk.with_key(None).ask("tools/list")
        challenge = answer.headers["www-authenticate"]
        assert answer.status == 401
        assert f'resource_metadata="{desk.house.url}/.well-known/oauth-protected-resource/mcp"' in challenge
        assert "error=" not in challenge

    @pytest.mark.parametrize("scheme", ["Basic {}", "Bearer", "{}", "Bearer {} {}", "Bearer {},", "Token {}"])
    def test_a_key_elsewhere_than_after_bearer_is_no_key(self, desk: Desk, scheme: str):
        headers = {"Authorization": scheme.replace("{}", desk.key)}
        assert desk.with_key(None).post(ping(), headers).status == 401

    @pytest.mark.parametrize("name", ["access_token", "key", "token", "authorization"])
    def test_a_key_in_the_url_is_no_key(self, desk: Desk, name: str):
        stranger = desk.with_key(None)
        answer = stranger.request(
            "POST", ping(), {"Content-Type": "application/json"}, url=f"{stranger.url}?{name}={desk.key}"
        )
        assert answer.status == 401

    def test_without_a_key_nothing_is_parsed(self, desk: Desk):
        assert desk.with_key(None).post(b"{").status == 401
        assert desk.with_key(new_key()).post(b"{").status == 401

    def test_strangers_are_counted_not_recorded_singly(self, desk: Desk):
        for _ in range(5):
            desk.with_key(new_key()).ask("ping")
        deadline = time.monotonic() + 60
        while sum(event["details"]["total"] for event in desk.house.events("strangers.refused")) < 5:
            assert time.monotonic() < deadline, "nobody counted"
            time.sleep(0.1)
        counted = desk.house.events("strangers.refused")[-1]
        assert {source["source_ip"] for source in counted["details"]["sources"]} == {"127.0.0.1"}
        assert not [event for event in desk.house.events("call.refused") if not event["agent"]]


class TestHttp:
    @pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "QUERY"])
    def test_only_post_has_a_meaning(self, desk: Desk, method: str):
        answer = desk.agent.request(method, headers={"Accept": "text/event-stream"})
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

    @pytest.mark.parametrize(
        ("header", "value", "status"),
        [
            ("Content-Type", "text/plain", 415),
            ("Content-Type", "application/json-seq", 415),
            ("Content-Type", "application/x-www-form-urlencoded", 415),
            ("Accept", "text/html", 406),
            ("Accept", "text/event-stream", 406),
            ("Host", "evil.example.com", 421),
            ("Host", "127.0.0.1.evil.example.com", 421),
            ("Host", "127.0.0.1@evil.example.com", 421),
            ("Origin", "https://evil.example.com", 403),
            ("Origin", "null", 403),
            ("Origin", "http://127.0.0.1.evil.example.com", 403),
            ("Origin", "file://", 403),
            ("Origin", "http://[", 403),
        ],
    )
    def test_a_wrong_header_is_refused(self, desk: Desk, header: str, value: str, status: int):
        answer = desk.agent.post(ping(), {header: value})
        assert answer.status == status
        assert answer.error[0] == REQUEST

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("Content-Type", "Application/JSON; charset=utf-8"),
            ("Accept", "*/*"),
            ("Accept", "application/json;q=0.9, text/event-stream"),
            ("Host", "localhost:1"),
            ("Origin", "http://localhost"),
        ],
    )
    def test_what_only_looks_odd_is_served(self, desk: Desk, header: str, value: str):
        assert desk.agent.post(ping(), {header: value}).result == {}

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("Authorization", "Bearer gate_ak_another"),
            ("Host", "evil.example.com"),
            ("Origin", "http://localhost"),
            ("Content-Type", "text/plain"),
            ("MCP-Protocol-Version", "2025-06-18"),
            ("Mcp-Method", "tools/list"),
            ("Mcp-Name", "kb_search"),
            ("Mcp-Session-Id", "other"),
        ],
    )
    def test_a_header_that_decides_comes_once(self, desk: Desk, header: str, value: str):
        twice = [header, value] if header in ("Authorization", "Host", "Content-Type") else [header, value] * 2
        lines = [f"{name}: {text}" for name, text in zip(twice[::2], twice[1::2], strict=True)]
        body = ping()
        answer = desk.by_hand(*lines, f"Content-Length: {len(body)}", "Connection: close", body=body)
        assert answer.startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize(
        "lines",
        [
            pytest.param(["Content-Length: 5", "Transfer-Encoding: chunked"], id="both-lengths"),
            pytest.param(["Transfer-Encoding: chunked", "Content-Length: 5"], id="both-lengths-reversed"),
            pytest.param(["Content-Length: 5", "Content-Length: 6"], id="two-lengths"),
            pytest.param(["Content-Length: -5"], id="negative-length"),
            pytest.param(["Content-Length: 5x"], id="no-number"),
            pytest.param(["Content-Length: 99999999999999999999999"], id="overflowing-length"),
            pytest.param(["Transfer-Encoding: xchunked"], id="unknown-coding"),
            pytest.param(["Content-Length : 5"], id="space-before-colon"),
            pytest.param(["Mcp-Method: a\rX: b", "Content-Length: 5"], id="bare-cr"),
            pytest.param(["Mcp-Method: a\0b", "Content-Length: 5"], id="nul"),
            pytest.param([" folded: line", "Content-Length: 5"], id="leading-space"),
        ],
    )
    def test_an_ambiguous_frame_ends_the_connection(self, desk: Desk, lines: list[str]):
        """Request smuggling: whatever follows on the connection must not be taken for a request."""
        hidden = ping(id="smuggled")
        tail = http_request(*desk.head, f"Content-Length: {len(hidden)}", body=hidden)
        answer = desk.by_hand(*lines, body=b"0\r\n\r\n" + tail)
        assert b"smuggled" not in answer
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert b" 200 " not in answer

    def test_a_client_that_leaves_halfway_harms_nobody(self, desk: Desk):
        cut = http_request(*desk.head, "Content-Length: 1000", body=b'{"jsonrpc"')
        assert exchange(desk.house.url, cut, half_close=True) == b""


class TestModernLadder:
    """Revision 2026-07-28: which step answers, when several would."""

    def sent(self, desk: Desk, message: dict[str, Any], **headers: str | None) -> Reply:
        """With right headers but those given (`_` for `-`); None leaves one out."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        right = {name: value for name, value in modern_headers(message).items() if name not in given}
        wanted = right | {name: value for name, value in given.items() if value is not None}
        return desk.agent.post(json.dumps(message).encode(), wanted)

    @pytest.mark.parametrize("lacking", ["protocolVersion", "clientCapabilities"])
    def test_metadata_comes_before_headers(self, desk: Desk, lacking: str):
        message = modern_message("tools/list")
        del message["params"]["_meta"][META + lacking]
        answer = self.sent(desk, message, Mcp_Method="wrong")
        assert (answer.status, answer.error[0], answer.message["id"]) == (400, PARAMS, 1)

    @pytest.mark.parametrize(
        "headers",
        [
            {"MCP_Protocol_Version": None},
            {"MCP_Protocol_Version": "2025-11-25"},
            {"Mcp_Method": None},
            {"Mcp_Method": "tools/list"},
            {"Mcp_Method": "Tools/Call"},
            {"Mcp_Name": None},
            {"Mcp_Name": "helpdesk__ticket_delete"},
            {"Mcp_Name": "=?base64?%%%?="},
            {"Mcp_Name": "=?base64?" + base64.b64encode(b"\xff").decode() + "?="},
        ],
    )
    def test_headers_that_disagree_with_the_body(self, desk: Desk, headers: dict[str, str | None]):
        message = modern_message("tools/call", {"name": "helpdesk__kb_search", "arguments": {"query": "refund"}})
        answer = self.sent(desk, message, **headers)
        assert (answer.status, answer.error[0], answer.message["id"]) == (400, MISMATCH, 1)

    def test_disagreement_comes_before_an_unknown_version(self, desk: Desk):
        message = modern_message("tools/list")
        message["params"]["_meta"][f"{META}protocolVersion"] = "2099-01-01"
        assert self.sent(desk, message).error[0] == MISMATCH
        answer = self.sent(desk, message, MCP_Protocol_Version="2099-01-01")
        assert (answer.status, answer.error[0]) == (400, VERSION)
        assert answer.message["error"]["data"]["requested"] == "2099-01-01"
        assert MODERN in answer.message["error"]["data"]["supported"]

    @pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "tasks/list", "tools/destroy"])
    def test_methods_it_does_not_have(self, desk: Desk, method: str):
        answer = self.sent(desk, modern_message(method))
        assert (answer.status, answer.error[0], answer.message["id"]) == (404, METHOD, 1)

    def test_a_version_comes_before_a_method(self, desk: Desk):
        message = modern_message("ping")
        message["params"]["_meta"][f"{META}protocolVersion"] = "2099-01-01"
        assert self.sent(desk, message, MCP_Protocol_Version="2099-01-01").error[0] == VERSION

    @pytest.mark.parametrize("version", ["2024-11-05", "2099-01-01", "latest"])
    def test_a_header_with_no_known_version_is_not_guessed_at(self, desk: Desk, version: str):
        assert desk.agent.ask("ping", **{"MCP-Protocol-Version": version}).status == 400

    def test_a_name_may_be_encoded(self, desk: Desk):
        message = modern_message("tools/call", {"name": "helpdesk__kb_search", "arguments": {"query": "refund"}})
        encoded = base64.b64encode(b"helpdesk__kb_search").decode()
        answer = self.sent(desk, message, Mcp_Name=f"=?base64?{encoded}?=")
        assert "Return and refund policy" in answer.text

    def test_a_foreign_cursor_and_a_name_of_another_type(self, desk: Desk):
        assert self.sent(desk, modern_message("tools/list", {"cursor": "x"})).error[0] == PARAMS
        answer = self.sent(desk, modern_message("tools/call", {"name": 7}))
        assert (answer.status, answer.error[0]) == (400, PARAMS)

    @pytest.mark.parametrize(
        "header", [None, "us", "EU", "=?base64?%%%?=", "=?base64?" + base64.b64encode(b"us").decode() + "?="]
    )
    def test_a_mirrored_argument_that_disagrees(self, desk: Desk, header: str | None):
        message = modern_message("tools/call", {"name": "mirror__route", "arguments": {"region": "eu"}})
        answer = self.sent(desk, message, Mcp_Param_Region=header)
        assert (answer.status, answer.message.get("error", {}).get("code")) == (400, MISMATCH)

    @pytest.mark.parametrize("header", ["eu", "=?base64?" + base64.b64encode(b"eu").decode() + "?="])
    def test_a_mirrored_argument_that_agrees(self, desk: Desk, header: str):
        message = modern_message("tools/call", {"name": "mirror__route", "arguments": {"region": "eu"}})
        assert self.sent(desk, message, Mcp_Param_Region=header).text == "routed"

    def test_discovery_says_what_answers(self, desk: Desk):
        found = self.sent(desk, modern_message("server/discover")).result
        assert found["supportedVersions"][0] == MODERN
        assert found["capabilities"] == {
            "tools": {"listChanged": True},
            "logging": {},
            "extensions": {f"{META}tasks": {}},
        }
        assert found["resultType"] == "complete"
        listed = self.sent(desk, modern_message("tools/list")).result
        assert (listed["resultType"], listed["cacheScope"]) == ("complete", "private")

    def test_a_notification_is_accepted_and_dropped(self, desk: Desk):
        message = modern_message("notifications/cancelled")
        del message["id"]
        answer = self.sent(desk, message)
        assert (answer.status, answer.body) == (202, b"")


class TestLegacy:
    @pytest.mark.parametrize(
        ("asked", "given"),
        [("2025-03-26", "2025-03-26"), ("2025-06-18", "2025-06-18"), ("2026-07-28", "2025-11-25"), (7, "2025-11-25")],
    )
    def test_the_handshake_offers_what_it_can_and_a_session(self, desk: Desk, asked: object, given: str):
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": asked}}
        answer = desk.agent.post(json.dumps(message).encode())
        assert answer.result["protocolVersion"] == given
        assert len(answer.headers["mcp-session-id"]) >= 32

    @pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
    @pytest.mark.parametrize("session", ["a", "never-was", "a" * 500, "\xfc\xfc", "'; DROP TABLE", "a,b"])
    def test_a_session_that_never_was(self, desk: Desk, method: str, session: str):
        headers = {"Mcp-Session-Id": session.encode("latin-1"), "Content-Type": "application/json"}
        answer = desk.agent.request(method, ping(), headers)
        assert (answer.status, answer.error[0]) == (404, REQUEST)

    def test_a_session_belongs_to_its_agent_and_ends_once(self, desk: Desk):
        session = {"Mcp-Session-Id": desk.agent.ask("initialize").headers["mcp-session-id"]}
        stranger = desk.with_key(desk.house.issue_key(cast.NIGHT_BOT))
        assert stranger.ask("ping", **session).status == 404
        assert stranger.request("DELETE", headers=session).status == 404
        assert desk.agent.ask("ping", **session).result == {}
        assert desk.agent.request("DELETE", headers=session).status == 204
        assert desk.agent.ask("ping", **session).status == 404
        assert desk.agent.request("DELETE", headers=session).status == 404

    def test_a_batch_is_answered_in_one_array(self, desk: Desk):
        answer = desk.agent.post(b"[" + ping(id=1) + b"," + ping(id="b") + b"]")
        assert [each["id"] for each in answer.message] == [1, "b"]
        assert desk.agent.post(b"[" + ping() + b"]", {"MCP-Protocol-Version": "2025-06-18"}).error[0] == REQUEST

    def test_notifications_and_answers_are_accepted(self, desk: Desk):
        for message in ({"method": "notifications/initialized"}, {"id": 3, "result": {}}):
            answer = desk.agent.post(json.dumps({"jsonrpc": "2.0"} | message).encode())
            assert (answer.status, answer.body) == (202, b"")

    def test_without_a_version_the_oldest_is_meant(self, desk: Desk):
        listed = desk.agent.post(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}').result
        assert set(listed) == {"tools"}
        events = [event for event in desk.house.events("tools.listed") if event["agent"] == cast.TRIAGE_BOT]
        assert events[-1]["details"]["revision"] == "2025-03-26"


def _postpone(house: Installation, key_id: str) -> None:
    """No command issues a key for later, so its row is changed."""
    change = f"AgentCredential.objects.filter(id='{key_id}').update(not_before='2999-01-01T00:00:00Z')"
    house.manage("shell", "-v0", "-c", f"from governance.models import AgentCredential; {change}")


def _await(moment: datetime) -> None:
    while datetime.now(UTC) <= moment:
        time.sleep(0.02)
