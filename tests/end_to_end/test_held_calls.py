"""Calls that wait for a human, whole: real clients and processes, a real decision, a real upstream, one effect."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import ElicitCompleteNotification, ElicitResult

from tests import cast
from tests.end_to_end import held_desk
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.held_desk import TASKS, Approver, modern_request, result_of
from tests.end_to_end.installation import Installation
from tests.end_to_end.wire import BOTH_KINDS, Caller, modern_headers

pytestmark = pytest.mark.databases("postgres")

TOOL = "billing_refund"
HOLD_SECONDS = 4


@dataclass
class Desk:
    house: Installation
    key: str
    approver: Approver

    @property
    def url(self) -> str:
        return f"{self.house.url}/mcp/support"

    def decide(self, verdict: str) -> str:
        """Waits until somebody is asked; the name of the request."""
        return self.approver.decide(verdict)

    def effects(self) -> int:
        """How many refunds were sent to the upstream and came back."""
        sent = {event["call_id"] for event in self.house.events("call.intent") if event["tool"] == TOOL}
        back = [event["outcome"] for event in self.house.events("call.outcome") if event["call_id"] in sent]
        assert set(back) <= {"ok"}
        return len(back)

    def caller(self) -> Caller:
        return Caller(self.house.url, self.key, path="/mcp/support")


def held_manifest(url: str) -> dict[str, Any]:
    manifest = cast.support_desk(url)
    (rule,) = manifest["policies"][0]["rules"]
    rule |= {"effect": "ask", "approvers": {"people": [cast.LEE], "pending": "1m"}}
    manifest["organization"] = {"name": "Example Corp", "agents_may_ask": True}
    (lead,) = (person for person in manifest["people"] if person["email"] == cast.LEE)
    lead |= {"duties": ["approver"], "staff": True}
    manifest["bundles"].append({"name": "search", "tools": [{"connector": "helpdesk", "allow": ["kb_search"]}]})
    manifest["roles"].append({"name": "searcher", "bundles": ["search"], "people": [cast.ANA]})
    return manifest


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[Desk]:
    house = make_installation()
    house.apply(held_manifest(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    key = house.issue_key(cast.TRIAGE_BOT)
    house.configure(GATEWAY_HOLD_SECONDS=str(HOLD_SECONDS))
    house.start_gateway(2)
    with closing(Approver(house, cast.LEE)) as approver:
        yield Desk(house, key, approver)
    assert "Traceback" not in house.log()


@pytest.fixture
def unlucky(desk: Desk) -> Desk:
    """Another agent: who is denied often is not passed on for a while."""
    return replace(desk, key=desk.house.issue_key(cast.NIGHT_BOT))


@pytest.fixture
def refund(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Arguments that no other test sends."""
    return {"order_id": "O-5006", "amount": 101, "reason": request.node.name}


class User:
    """The human at an SDK client: opens pages and accepts forms."""

    def __init__(self) -> None:
        self.pages: list[str] = []
        self.forms: list[str] = []

    async def answer(self, context: Any, params: Any) -> ElicitResult:
        if params.mode == "url":
            self.pages.append(params.url)
            return ElicitResult(action="accept")
        self.forms.append(params.message)
        return ElicitResult(action="accept", content={"reason": "It is due.", "wait": True})


async def with_sdk(desk: Desk, arguments: dict[str, Any], *, mode: str, user: User | None = None) -> Any:
    asked = user.answer if user is not None else None
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {desk.key}"}) as http,
        Client(streamable_http_client(desk.url, http_client=http), mode=mode, elicitation_callback=asked) as client,
    ):
        return await client.call_tool(TOOL, arguments)


def text_of(result: Any) -> str:
    return str(result.content[0].text)


# -- the official SDK


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_can_do_nothing_is_held_until_the_approval(
    desk: Desk, refund: dict[str, Any], mode: str
) -> None:
    before = desk.effects()
    decided = asyncio.create_task(asyncio.to_thread(desk.decide, "approve"))
    result = await with_sdk(desk, refund, mode=mode)
    await decided
    assert not result.is_error, text_of(result)
    assert "refund_id" in text_of(result)
    assert desk.effects() == before + 1


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_denial_reaches_the_model_in_words(
    desk: Desk, unlucky: Desk, refund: dict[str, Any], mode: str
) -> None:
    before = desk.effects()
    decided = asyncio.create_task(asyncio.to_thread(desk.decide, "deny"))
    result = await with_sdk(unlucky, refund, mode=mode)
    name = await decided
    assert result.is_error
    assert name in text_of(result)
    assert "Looked at it." in text_of(result)
    assert desk.effects() == before


async def test_nobody_answers_and_the_same_call_redeems_later_once(desk: Desk, refund: dict[str, Any]) -> None:
    before = desk.effects()
    told = await with_sdk(desk, refund, mode="auto")
    assert told.is_error
    assert "call the same tool with the same arguments again" in text_of(told)
    approval = told.meta["com.gatehouse/approval"]
    assert await asyncio.to_thread(desk.decide, "approve") == approval["id"]
    assert desk.effects() == before
    redeemed = await with_sdk(desk, refund, mode="auto")
    assert "refund_id" in text_of(redeemed)
    assert desk.effects() == before + 1
    replayed = asyncio.create_task(with_sdk(desk, refund, mode="auto"))
    assert await asyncio.to_thread(desk.decide, "deny") != approval["id"]
    assert (await replayed).is_error
    assert desk.effects() == before + 1


async def test_a_modern_user_is_sent_to_the_page_and_the_retries_wait(desk: Desk, refund: dict[str, Any]) -> None:
    before, user = desk.effects(), User()
    decided = asyncio.create_task(asyncio.to_thread(desk.decide, "approve"))
    result = await with_sdk(desk, refund, mode="auto", user=user)
    await decided
    assert "refund_id" in text_of(result)
    assert user.pages
    assert all(page.startswith(f"{desk.house.url}/approvals/") for page in user.pages)
    assert desk.effects() == before + 1


async def test_a_legacy_user_gets_the_page_by_error_hears_of_the_end_and_the_retry_redeems(
    desk: Desk, refund: dict[str, Any]
) -> None:
    before, done = desk.effects(), asyncio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ElicitCompleteNotification):
            done.set()

    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {desk.key}"}) as http,
        Client(
            streamable_http_client(desk.url, http_client=http),
            mode="legacy",
            elicitation_callback=User().answer,
            message_handler=hear,
        ) as client,
    ):
        code = await error_of(client, refund)
        await asyncio.to_thread(desk.decide, "approve")
        async with asyncio.timeout(10):
            await done.wait()
        result = await client.call_tool(TOOL, refund)
    assert code == -32042
    assert "refund_id" in text_of(result)
    assert desk.effects() == before + 1


async def error_of(client: Client, arguments: dict[str, Any]) -> int:
    try:
        await client.call_tool(TOOL, arguments)
    except MCPError as error:
        return error.error.code
    raise AssertionError("it was answered")


async def test_an_agent_asks_for_access_and_has_it_when_a_human_agrees(desk: Desk) -> None:
    search = Caller(desk.house.url, desk.key, path="/mcp/search")
    assert "kb_search" not in search.tools()
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {desk.key}"}) as http,
        Client(streamable_http_client(desk.url, http_client=http)) as client,
    ):
        wish = {"bundle": "search", "minutes": 30, "reason": "A customer waits."}
        told = await client.call_tool("gatehouse__request_access", wish)
        waiting = asyncio.create_task(client.call_tool("gatehouse__approvals", {"id": told.structured_content["id"]}))
        assert await asyncio.to_thread(desk.decide, "approve") in text_of(told)
        assert told.structured_content["id"] in text_of(await waiting)
        assert "consumed" in text_of(await client.call_tool("gatehouse__approvals", {}))
        unknown = await client.call_tool("gatehouse__request_access", wish | {"bundle": "nonsense"})
        assert unknown.is_error
    assert "kb_search" in search.tools()


# -- what the SDK cannot do


def modern_call(arguments: dict[str, Any], capabilities: Any, **params: Any) -> dict[str, Any]:
    return held_desk.modern_call(TOOL, arguments, capabilities, **params)


def ask(desk: Desk, method: str, params: dict[str, Any], capabilities: Any = TASKS) -> dict[str, Any]:
    return post(desk, modern_request(method, params, capabilities))


def post(desk: Desk, message: dict[str, Any]) -> dict[str, Any]:
    return result_of(held_desk.post(desk.caller(), message))


def until_over(desk: Desk, task_id: str) -> dict[str, Any]:
    while True:
        told = ask(desk, "tasks/get", {"taskId": task_id})
        if told["status"] != "working":
            return told


@pytest.mark.parametrize(("verdict", "is_error"), [("approve", False), ("deny", True)])
def test_a_task_waits_runs_and_completes(desk: Desk, refund: dict[str, Any], verdict: str, is_error: bool) -> None:
    before = desk.effects()
    told = post(desk, modern_call(refund, TASKS))
    assert (told["resultType"], told["status"]) == ("task", "working")
    name = desk.decide(verdict)
    assert name in told["statusMessage"]
    ended = until_over(desk, told["taskId"])
    assert (ended["status"], ended["result"].get("isError", False)) == ("completed", is_error)
    assert desk.effects() == before + (not is_error)


def test_a_task_survives_every_process_and_runs_once(desk: Desk, refund: dict[str, Any]) -> None:
    before = desk.effects()
    told = post(desk, modern_call(refund, TASKS))
    desk.house.kill9()
    desk.decide("approve")
    desk.house.start_gateway(2)
    ended = until_over(desk, told["taskId"])
    assert ended["status"] == "completed"
    assert "refund_id" in ended["result"]["content"][0]["text"]
    assert until_over(desk, told["taskId"])["result"] == ended["result"]
    assert desk.effects() == before + 1


def test_a_task_that_is_cancelled_asks_nobody_any_more(desk: Desk, refund: dict[str, Any]) -> None:
    told = post(desk, modern_call(refund, TASKS))
    ask(desk, "tasks/cancel", {"taskId": told["taskId"]})
    assert until_over(desk, told["taskId"])["status"] == "cancelled"
    ((state,),) = desk.house.sql("SELECT state FROM governance_approvalrequest ORDER BY number DESC LIMIT 1")
    assert state == "cancelled"


def test_a_form_gives_a_reason_and_no_approval(desk: Desk, refund: dict[str, Any]) -> None:
    before = desk.effects()
    form: dict[str, Any] = {"elicitation": {"form": {}}}
    asked = post(desk, modern_call(refund, form))
    assert asked["resultType"] == "input_required"
    content = {"reason": "The customer waits.", "wait": True}
    answers = {key: {"action": "accept", "content": content} for key in asked["inputRequests"]}
    again = post(desk, modern_call(refund, form, inputResponses=answers, requestState=asked["requestState"]))
    assert again["resultType"] == "input_required"
    assert desk.effects() == before
    ((said,),) = desk.house.sql("SELECT stated_reason FROM governance_approvalrequest ORDER BY number DESC LIMIT 1")
    assert said == "The customer waits."
    desk.decide("approve")
    answers = {key: {"action": "accept", "content": {"wait": True}} for key in again["inputRequests"]}
    done = post(desk, modern_call(refund, form, inputResponses=answers, requestState=again["requestState"]))
    assert "refund_id" in done["content"][0]["text"]
    assert desk.effects() == before + 1


def test_a_client_that_goes_and_comes_back_finds_its_approval(desk: Desk, refund: dict[str, Any]) -> None:
    before = desk.effects()
    message = modern_call(refund, {})
    headers = modern_headers(message) | {"Accept": BOTH_KINDS, "Authorization": f"Bearer {desk.key}"}
    with httpx.Client(timeout=20) as http, http.stream("POST", desk.url, json=message, headers=headers) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
    desk.decide("approve")
    assert "refund_id" in post(desk, message)["content"][0]["text"]
    assert desk.effects() == before + 1


def test_a_member_of_a_batch_is_told_at_once(desk: Desk, refund: dict[str, Any]) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": TOOL, "arguments": refund}}
    body = json.dumps([call, {"jsonrpc": "2.0", "id": 2, "method": "ping"}]).encode()
    reply = desk.caller().post(body, {"MCP-Protocol-Version": "2025-03-26"})
    answers = {answer["id"]: answer["result"] for answer in json.loads(reply.body)}
    assert answers[1]["isError"]
    assert desk.decide("deny") in answers[1]["content"][0]["text"]


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_legacy_revision_is_held(desk: Desk, refund: dict[str, Any], revision: str) -> None:
    before = desk.effects()
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": TOOL, "arguments": refund}}
    headers = {"MCP-Protocol-Version": revision, "Accept": BOTH_KINDS, "Authorization": f"Bearer {desk.key}"}
    with httpx.Client(timeout=20) as http, http.stream("POST", desk.url, json=call, headers=headers) as stream:
        desk.decide("approve")
        assert b"refund_id" in b"".join(stream.iter_bytes())
    assert desk.effects() == before + 1
