"""The promise of the product, told once from the first command to the last: only commands and HTTP."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests import cast
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.wire import Caller

UNKNOWN = (-32602, "Unknown tool")


@dataclass
class Desk:
    """A support desk that serves."""

    house: Installation
    stack: ExitStack
    keys: dict[str, str] = field(default_factory=dict)

    def key_of(self, agent: str) -> str:
        if agent not in self.keys:
            self.keys[agent] = self.house.issue_key(agent)
        return self.keys[agent]

    def caller(self, agent: str = cast.TRIAGE_BOT, *, key: str = "", path: str = "/mcp/support") -> Caller:
        return self.stack.enter_context(closing(Caller(self.house.url, key or self.key_of(agent), path=path)))

    def explained(self, agent: str, tool: str, **arguments: Any) -> str:
        words = ("explain", "--agent", agent, "--tool", tool, "--args", json.dumps(arguments))
        return str(self.house.answer(*words)["decision"])


def opened(house: Installation, helpdesk: Helpdesk, stack: ExitStack) -> Desk:
    house.apply(cast.support_desk(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    house.start_gateway()
    return Desk(house, stack)


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[Desk]:
    """Shared: a test leaves it as it was, but for the agents that are its own."""
    with ExitStack() as stack:
        yield opened(make_installation(), helpdesk, stack)


@pytest.fixture
def fresh_desk(installation: Installation, helpdesk: Helpdesk) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield opened(installation, helpdesk, stack)


async def sdk_call(desk: Desk, tool: str, arguments: dict[str, Any]) -> tuple[list[str], Any]:
    """By the official Python client: the tools it sees, and the result of one."""
    headers = {"Authorization": f"Bearer {desk.key_of(cast.TRIAGE_BOT)}"}
    async with create_mcp_http_client(headers=headers) as http:
        transport = streamable_http_client(f"{desk.house.url}/mcp/support", http_client=http)
        async with Client(transport) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            return tools, await client.call_tool(tool, arguments)


async def test_from_a_first_call_to_an_owner_who_left(fresh_desk: Desk, helpdesk: Helpdesk):
    desk, house = fresh_desk, fresh_desk.house
    tools, result = await sdk_call(desk, "ticket_get", {"ticket_id": "T-1001"})
    assert tools == [
        "billing_refund", "kb_search", "session_info", "ticket_create", "ticket_get", "ticket_reply", "ticket_search",
    ]  # fmt: skip
    assert not result.is_error
    assert result.structured_content["subject"].startswith("Headset crackles")
    _evidence_tells_of_the_call(house)
    _the_secret_stays_in_the_vault(desk, helpdesk)
    assert not desk.caller(cast.NIGHT_BOT).call("kb_search", query="refund").result.get("isError")
    receipt = house.answer("offboard", cast.ANA, "--actor", cast.NOOR)
    assert receipt["enforcement"]["complete"]
    assert receipt["enforcement"]["gateways"] == {"live": 1, "confirmed": 1}
    for agent in (cast.TRIAGE_BOT, cast.NIGHT_BOT):
        assert desk.caller(agent).ask("tools/list").status == 401
        assert desk.caller(agent).call("kb_search", query="refund").status == 401
    assert desk.explained(cast.TRIAGE_BOT, "kb_search") == "deny"
    checked = house.answer("verify_audit")
    assert (checked["sound"], checked["open_intents"]) == (True, 0)
    house.stop_gateway()
    _nothing_was_said_in_plain(house, [helpdesk.token, *desk.keys.values()])


def _evidence_tells_of_the_call(house: Installation) -> None:
    intent, outcome = house.events("call.intent", "call.outcome")
    assert intent["call_id"] == outcome["call_id"]
    assert (intent["kind"], outcome["kind"], outcome["outcome"]) == ("call.intent", "call.outcome", "ok")
    assert (intent["agent"], intent["person"], intent["tool"]) == (cast.TRIAGE_BOT, cast.ANA, "ticket_get")
    assert intent["details"]["bundle"].startswith("support v")


def _the_secret_stays_in_the_vault(desk: Desk, helpdesk: Helpdesk) -> None:
    """`session_info` repeats the headers it got: ours to the upstream, with the secret in them."""
    answer = desk.caller().call("session_info")
    assert "authorization: " in answer.text
    assert helpdesk.token not in answer.text
    assert desk.key_of(cast.TRIAGE_BOT) not in answer.text
    assert "helpdesk-token" in str(desk.house.events("call.outcome")[-1]["details"]["masked"])


def _nothing_was_said_in_plain(house: Installation, secrets: list[str]) -> None:
    """Neither the disk nor a log nor a dump of the database gives away what we hold or what agents hold."""
    stored = house.everything_stored()
    assert cast.TRIAGE_BOT.encode() in stored, "the search does not find what is there"
    assert not [secret for secret in secrets if secret.encode() in stored]
    assert "Traceback" not in house.log()


def test_what_explain_says_is_what_a_call_does(desk: Desk):
    triage, rogue = desk.caller(), desk.caller(cast.ROGUE_BOT)
    refund = {"order_id": "O-5004", "amount": 950, "reason": "as asked"}
    assert desk.explained(cast.TRIAGE_BOT, "billing_refund", **refund) == "deny"
    denied = triage.call("billing_refund", **refund).result
    assert denied["isError"]
    assert "Refunds over 100 need a lead" in denied["content"][0]["text"]
    assert denied["_meta"]["com.gatehouse/decision"]["code"] == "denied_by_rule"
    small = refund | {"amount": 1}
    assert desk.explained(cast.TRIAGE_BOT, "billing_refund", **small) == "permit"
    assert not triage.call("billing_refund", **small).result.get("isError")
    assert desk.explained(cast.ROGUE_BOT, "ticket_get", ticket_id="T-1001") == "deny"
    assert rogue.call("ticket_get", ticket_id="T-1001").error == UNKNOWN


def test_what_is_invisible_answers_exactly_as_what_does_not_exist(desk: Desk):
    triage, rogue = desk.caller(), desk.caller(cast.ROGUE_BOT)
    nowhere = triage.call("no_such_tool")
    assert (nowhere.status, nowhere.error) == (200, UNKNOWN)
    answers = [
        triage.call("ticket_delete", ticket_id="T-1001"),
        triage.call("helpdesk__ticket_get", ticket_id="T-1001"),
        rogue.call("ticket_get", ticket_id="T-1001"),
        desk.caller(path="/mcp/no-such-bundle").call("ticket_get", ticket_id="T-1001"),
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(nowhere.status, nowhere.body)}
    assert {tuple(sorted(answer.headers)) for answer in answers} == {tuple(sorted(nowhere.headers))}
    assert rogue.tools() == desk.caller(path="/mcp/no-such-bundle").tools() == []
    assert desk.caller(path="/mcp").tools()[0] == "helpdesk__billing_refund"


@pytest.mark.parametrize("target", ["--everything", f"--agent={cast.TRIAGE_BOT}", "--tool=helpdesk/kb_search"])
def test_a_freeze_stops_and_its_end_lets_go(desk: Desk, target: str):
    triage = desk.caller()
    desk.house.manage("freeze", target, "--reason", "drill", "--actor", cast.NOOR)
    frozen = triage.call("kb_search", query="refund").result
    explained = desk.explained(cast.TRIAGE_BOT, "kb_search", query="refund")
    desk.house.manage("unfreeze", target, "--actor", cast.NOOR)
    assert frozen["isError"]
    assert frozen["_meta"]["com.gatehouse/decision"]["code"] == "frozen"
    assert explained == "deny"
    assert not triage.call("kb_search", query="refund").result.get("isError")
    assert desk.house.events("freeze.set")[-1]["actor"] == f"person:{cast.NOOR}"


def test_each_end_of_a_credential_is_final_at_once(desk: Desk):
    """Revoked, retired, never issued: the holder cannot tell one from another."""
    spare, retired = desk.house.issue(cast.TRIAGE_BOT, expires="30d"), desk.key_of(cast.RETIRED_BOT)
    for key in (spare["key"], retired):
        assert "kb_search" in desk.caller(key=key).tools()
    desk.house.manage("revoke_key", spare["key_id"], "--actor", cast.NOOR)
    desk.house.manage("retire_agent", cast.RETIRED_BOT, "--actor", cast.NOOR)
    keys = (spare["key"], retired, "gate_ak_never_issued")
    refused = [desk.caller(key=key).call("kb_search", query="x") for key in keys]
    assert {answer.status for answer in refused} == {401}
    assert len({(answer.body, answer.headers["www-authenticate"]) for answer in refused}) == 1
    assert desk.house.manage("issue_key", cast.RETIRED_BOT, expect=None).returncode != 0
    assert "kb_search" in desk.caller().tools(), "the other key of the same agent goes on"


def test_a_successor_takes_over_what_goes_on(desk: Desk):
    assert desk.caller(cast.HANDOVER_BOT).tools()
    preview = desk.house.answer("offboard", cast.OMAR, "--dry-run", "--successor", cast.LEE)
    receipt = desk.house.answer("offboard", cast.OMAR, "--successor", cast.LEE, "--actor", cast.NOOR)
    assert receipt["successor"] == cast.LEE
    assert [told | found for found, told in zip(preview["items"], receipt["items"], strict=True)] == receipt["items"]
    for told in receipt["items"]:
        assert {"kind", "name", "action", "result", "at", "risk", "todo"} <= set(told)
        assert told["result"]
        assert told["at"]
    assert desk.caller(cast.HANDOVER_BOT).ask("tools/list").status == 401, "he may have kept the key"
    fresh = desk.house.issue_key(cast.HANDOVER_BOT)
    assert "kb_search" in desk.caller(key=fresh).tools()
