"""What the bridge makes of a gateway that answers well, badly, late or not at all."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from gatehouse_bridge.keys import KeyFile
from gatehouse_bridge.lines import TooLong
from tests.bridge.desk import KEY, SOON_SECONDS, Desk, Visit, opened_desk, until

CALL = {"name": "refund", "arguments": {"amount": 5}}


def fine(visit: Visit) -> None:
    visit.answer({"ok": True})


def hang_up(visit: Visit) -> None:
    visit.hang_up()


def test_a_message_passes_as_it_was_written_and_so_does_its_answer(desk: Desk) -> None:
    """Numbers that no reader of JSON would keep, in an answer of many lines."""
    pretty = b'{\n  "jsonrpc": "2.0",\r\n  "id": 7,\n  "result": {"big": 12345678901234567890.10}\n}'
    desk.gateway.scripts["tools/list"] = [lambda visit: visit.say(200, pretty)]
    desk.say(b'{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"n":1E400}}')
    assert desk.next()["result"] == {"big": 12345678901234567890.10}
    (seen,) = desk.gateway.sent("tools/list")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.headers["Content-Length"] == str(
        len(b'{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"n":1E400}}')
    )


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_asked_to_wait_waits_and_is_served(desk: Desk, status: int) -> None:
    def busy(visit: Visit) -> None:
        visit.say(status, {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "later"}}, Retry_After="0")

    desk.gateway.scripts["tools/call"] = [busy, busy, fine]
    assert desk.ask("tools/call", CALL)["result"] == {"ok": True}
    assert len(desk.gateway.sent("tools/call")) == 3


def test_a_wait_too_long_for_a_client_is_told_instead(desk: Desk) -> None:
    error = {"code": -32603, "message": "Over the limit. Try again in an hour."}
    refused = {"jsonrpc": "2.0", "id": None, "error": error}
    desk.gateway.scripts["tools/call"] = [lambda visit: visit.say(429, refused, Retry_After="3600")]
    assert desk.ask("tools/call", CALL, id="x") == {"jsonrpc": "2.0", "id": "x", "error": error}


def test_a_call_whose_fate_is_unknown_is_not_repeated(desk: Desk) -> None:
    desk.gateway.scripts["tools/call"] = [hang_up]
    error = desk.ask("tools/call", CALL)["error"]
    assert "not known" in error["message"]
    assert len(desk.gateway.sent("tools/call")) == 1


def test_what_only_reads_is_asked_once_more(desk: Desk) -> None:
    desk.gateway.scripts["tools/list"] = [hang_up, fine]
    assert desk.ask("tools/list")["result"] == {"ok": True}


def test_redirects_are_not_followed(desk: Desk) -> None:
    """The key goes where its owner said, and nowhere else."""
    with opened_desk() as elsewhere:
        elsewhere.gateway.scripts["tools/list"] = [fine]
        target = elsewhere.gateway.url
        desk.gateway.scripts["tools/list"] = [lambda visit: visit.say(307, Location=target)]
        assert "HTTP 307" in desk.ask("tools/list")["error"]["message"]
        assert elsewhere.gateway.seen == []


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"null", b'{"jsonrpc":"2.0","id":99,"result":{}}'])
def test_what_is_no_answer_is_told_as_an_error(desk: Desk, body: bytes) -> None:
    desk.gateway.scripts["tools/list"] = [lambda visit: visit.say(502, body)]
    answer = desk.ask("tools/list", id=3)
    assert (answer["id"], "HTTP 502" in answer["error"]["message"]) == (3, True)
    assert "html" not in json.dumps(answer)


class TestSession:
    def test_its_id_and_revision_are_said_with_each_request(self, desk: Desk) -> None:
        desk.greet()
        desk.gateway.scripts["tools/list"] = [fine]
        desk.ask("tools/list")
        (seen,) = desk.gateway.sent("tools/list")
        assert (seen.headers["Mcp-Session-Id"], seen.headers["MCP-Protocol-Version"]) == ("s-1", "2025-11-25")
        assert "Mcp-Session-Id" not in desk.gateway.sent("initialize")[0].headers

    def test_one_that_ended_is_opened_again_unseen(self, desk: Desk) -> None:
        desk.greet()
        ended = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "Unknown session"}}
        desk.gateway.scripts["tools/call"] = [lambda visit: visit.say(404, ended), fine]
        desk.gateway.scripts["initialize"] = [
            lambda visit: visit.answer({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s-2")
        ]
        assert desk.ask("tools/call", CALL)["result"] == {"ok": True}
        assert desk.gateway.sent("tools/call")[-1].headers["Mcp-Session-Id"] == "s-2"
        assert desk.is_quiet()

    def test_one_that_cannot_be_opened_again(self, desk: Desk) -> None:
        desk.greet()
        desk.gateway.scripts["tools/call"] = [lambda visit: visit.say(404)]
        desk.gateway.scripts["initialize"] = [lambda visit: visit.answer({"protocolVersion": "2099-01-01"})]
        assert "session" in desk.ask("tools/call", CALL)["error"]["message"]

    def test_what_the_gateway_says_unasked_is_heard_and_heard_on(self, desk: Desk) -> None:
        news = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        held = threading.Event()

        def first(visit: Visit) -> None:
            visit.stream()
            visit.event(news, "e-1")

        def second(visit: Visit) -> None:
            visit.stream()
            visit.event({**news, "params": {"after": visit.headers["Last-Event-ID"]}})
            held.wait(SOON_SECONDS)

        desk.gateway.scripts["GET"] = [first, second]
        desk.greet()
        assert desk.next() == news
        assert desk.next()["params"] == {"after": "e-1"}
        held.set()

    def test_it_is_ended_with_the_client(self) -> None:
        with opened_desk() as desk:
            desk.greet()
        (farewell,) = [visit for visit in desk.gateway.seen if visit.command == "DELETE"]
        assert farewell.headers["Mcp-Session-Id"] == "s-1"

    def test_a_question_of_the_gateway_is_answered_by_the_client(self, desk: Desk) -> None:
        desk.greet()
        answered = threading.Event()
        question = {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}}

        def ask_back(visit: Visit) -> None:
            visit.stream()
            visit.event(question)
            assert answered.wait(SOON_SECONDS)
            visit.event({"jsonrpc": "2.0", "id": visit.message["id"], "result": {"ok": True}})

        def take(visit: Visit) -> None:
            answered.set()
            visit.say(202)

        desk.gateway.scripts.update({"tools/call": [ask_back], "answer": [take]})
        assert desk.ask("tools/call", CALL) == question
        desk.say({"jsonrpc": "2.0", "id": "q", "result": {"action": "decline"}})
        assert desk.next()["result"] == {"ok": True}


class TestBrokenStreams:
    def test_one_of_a_session_is_resumed_where_it_broke(self, desk: Desk) -> None:
        desk.greet()
        steps = [{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": n}} for n in range(3)]

        def begin(visit: Visit) -> None:
            visit.stream()
            visit.wfile.write(b"retry: 10\nid: t.0\ndata: \n\n")
            visit.event(steps[0], "t.1")
            visit.wfile.write(b'id: t.2\ndata: {"cut": ')

        def go_on(visit: Visit) -> None:
            assert visit.headers["Last-Event-ID"] == "t.1"
            visit.stream()
            visit.event(steps[1], "t.2")

        def end(visit: Visit) -> None:
            assert visit.headers["Last-Event-ID"] == "t.2"
            visit.stream()
            visit.event(steps[2], "t.3")
            visit.event({"jsonrpc": "2.0", "id": 1, "result": {"ok": True}}, "t.4")

        desk.gateway.scripts["tools/call"] = [begin]
        desk.gateway.scripts["GET"] = [lambda visit: visit.say(503), go_on, end]
        desk.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL})
        assert [desk.next() for _ in steps] == steps
        assert desk.next()["result"] == {"ok": True}
        assert len(desk.gateway.sent("tools/call")) == 1

    def test_one_that_cannot_be_had_again_is_an_unknown_fate(self, desk: Desk) -> None:
        def begin(visit: Visit) -> None:
            visit.stream()
            visit.wfile.write(b": ping\n\n")

        desk.gateway.scripts["tools/call"] = [begin]
        assert "not known" in desk.ask_modern("tools/call", CALL)["error"]["message"]


class TestCancelling:
    def test_a_modern_call_ends_with_its_connection(self, desk: Desk) -> None:
        left = threading.Event()

        def wait(visit: Visit) -> None:
            visit.stream()
            visit.wfile.write(b": ping\n\n")
            if visit.until_client_left():
                left.set()

        desk.gateway.scripts["tools/call"] = [wait]
        params = {**CALL, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
        desk.say({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})
        until(lambda: bool(desk.gateway.sent("tools/call")))
        desk.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
        assert left.wait(SOON_SECONDS)
        assert desk.is_quiet()
        assert desk.gateway.sent("notifications/cancelled") == []

    def test_a_call_of_a_session_is_cancelled_by_word(self, desk: Desk) -> None:
        desk.greet()
        cancelled = threading.Event()

        def wait(visit: Visit) -> None:
            visit.stream()
            visit.wfile.write(b"id: t.0\ndata: \n\n")
            assert cancelled.wait(SOON_SECONDS)

        def cancel(visit: Visit) -> None:
            cancelled.set()
            visit.say(202)

        desk.gateway.scripts.update({"tools/call": [wait], "notifications/cancelled": [cancel]})
        desk.say({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": CALL})
        until(lambda: bool(desk.gateway.sent("tools/call")))
        desk.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
        assert cancelled.wait(SOON_SECONDS)
        assert desk.is_quiet()

    def test_what_waits_for_its_turn_is_not_begun_again(self, desk: Desk) -> None:
        desk.gateway.scripts["tools/call"] = [lambda visit: visit.say(429, Retry_After="30"), fine]
        params = {**CALL, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
        desk.say({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})
        until(lambda: bool(desk.gateway.sent("tools/call")))
        desk.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
        assert desk.is_quiet()
        assert len(desk.gateway.sent("tools/call")) == 1


class TestHeadersOfTheNewestRevision:
    def test_they_repeat_what_the_message_says(self, desk: Desk) -> None:
        desk.gateway.scripts["resources/read"] = [fine]
        desk.ask_modern("resources/read", {"uri": "file:///grüße"})
        headers = desk.gateway.sent("resources/read")[0].headers
        assert headers["MCP-Protocol-Version"] == "2026-07-28"
        assert headers["Mcp-Method"] == "resources/read"
        assert headers["Mcp-Name"] == "=?base64?ZmlsZTovLy9ncsO8w59l?="

    def test_arguments_that_a_listed_tool_wants_repeated(self, desk: Desk) -> None:
        schema = {"type": "object", "properties": {"amount": {"type": "integer", "x-mcp-header": "Amount"}}}
        desk.gateway.scripts["tools/list"] = [
            lambda visit: visit.answer({"tools": [{"name": "refund", "inputSchema": schema}]})
        ]
        desk.gateway.scripts["tools/call"] = [fine]
        desk.ask_modern("tools/list")
        desk.ask_modern("tools/call", CALL)
        assert desk.gateway.sent("tools/call")[0].headers["Mcp-Param-Amount"] == "5"

    @pytest.mark.parametrize("name", ["x\r\nEvil: 1", "\ud800", "日本"], ids=["line break", "half a letter", "far"])
    def test_no_name_becomes_a_header_of_its_own(self, desk: Desk, name: str) -> None:
        desk.gateway.scripts["tools/call"] = [fine]
        answer = desk.ask_modern("tools/call", {"name": name})
        assert all("Evil" not in visit.headers for visit in desk.gateway.seen)
        assert ("error" in answer) == (name == "\ud800")


def test_a_key_that_was_rotated_in_its_file_needs_no_restart(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    new = KEY.replace("k", "n")

    def check(visit: Visit) -> None:
        if visit.headers["Authorization"] == f"Bearer {new}":
            fine(visit)
        else:
            visit.say(401, {"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "revoked"}})

    with opened_desk(KeyFile(path)) as desk:
        desk.gateway.scripts["tools/call"] = [check]
        assert desk.ask("tools/call", CALL, id=1)["error"]["message"] == "revoked"
        path.write_text(new)
        assert desk.ask("tools/call", CALL, id=2)["result"] == {"ok": True}


@pytest.mark.parametrize(
    ("line", "code"),
    [(b"not json", -32700), (b"[" * 100_000, -32700), (b'"text"', -32600), (TooLong(), -32600)],
    ids=["words", "depth", "no object", "too long"],
)
def test_a_line_that_is_no_message_is_refused_and_the_next_is_served(desk: Desk, line: Any, code: int) -> None:
    desk.bridge.take(line)
    refused = desk.next()
    assert (refused["id"], refused["error"]["code"]) == (None, code)
    desk.gateway.scripts["ping"] = [fine]
    assert desk.ask("ping")["result"] == {"ok": True}


def test_an_id_that_is_under_way_is_not_taken_twice(desk: Desk) -> None:
    go = threading.Event()

    def slow(visit: Visit) -> None:
        go.wait(SOON_SECONDS)
        fine(visit)

    desk.gateway.scripts["tools/call"] = [slow]
    desk.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL})
    assert desk.ask("tools/call", CALL, id=1)["error"]["code"] == -32600
    go.set()
    assert desk.next()["result"] == {"ok": True}
    assert len(desk.gateway.sent("tools/call")) == 1


def test_an_id_may_be_used_again_as_soon_as_it_is_answered(desk: Desk) -> None:
    """As small scripts do; the end of the first one's stream is nobody's concern."""
    go = threading.Event()

    def answer_and_linger(visit: Visit) -> None:
        visit.stream()
        visit.event({"jsonrpc": "2.0", "id": 1, "result": {"ok": True}})
        go.wait(SOON_SECONDS)

    desk.gateway.scripts["tools/call"] = [answer_and_linger, fine]
    assert [desk.ask("tools/call", CALL, id=1)["result"] for _ in range(2)] == [{"ok": True}] * 2
    go.set()


def test_many_calls_at_once_are_each_answered(desk: Desk) -> None:
    desk.gateway.scripts["tools/call"] = [lambda visit: visit.answer({"for": visit.message["id"]})]
    for number in range(60):
        desk.say({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": CALL})
    answers = [desk.next() for _ in range(60)]
    assert sorted(each["id"] for each in answers) == list(range(60))
    assert all(each["id"] == each["result"]["for"] for each in answers)
