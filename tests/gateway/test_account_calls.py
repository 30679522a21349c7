"""Calls that use a person's connected account, all outside faked: whose, when not, and what must not get out."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from gateway import refusals
from gateway.accounts.renewing import AccountEnded, AccountUnavailable
from gateway.call import Answer, Frame, Intent
from gateway.commit.entry import Verdict
from gateway.mcp.context import Context
from gateway.mcp.inputs import open_state
from gateway.mcp.pages import TURNS, to_page
from gateway.pipeline import run
from governance.snapshot import NOBODY, Account, Rule, Snapshot
from tests import factories as make
from tests.fakes import FakePorts, answer
from tests.gateway.storing import Client, context
from tests.gateway.test_pipeline import code_of, frame, text_of

FILES = "0f" * 16
PAGE = f"http://127.0.0.1:8000/me/accounts/{UUID(FILES)}/"


def account(person: str, *, status: str = "live", client: str = "client-1", of: str = FILES) -> Account:
    return Account(f"account-of-{person or 'all'}", of, person, client, status)


def world(*accounts: Account, whose: str = "person", epoch: int = 1, rules: tuple[Rule, ...] = ()) -> Snapshot:
    agent = make.agent(roles=(make.role("bundle-support"),))
    files = replace(make.connector("files", account=whose, upstream_client="client-1"), id=FILES)
    bundle = make.bundle(tools=(make.tool("read", of=files),), rules=rules)
    return make.snapshot(
        agents=(agent,),
        bundles=(bundle,),
        credentials=(make.credential(agent),),
        accounts={each.id: each for each in accounts},
        epoch=epoch,
    )


def owner() -> str:
    return make.agent().owner.id


async def told(ports: FakePorts) -> Answer:
    return await run(frame("read"), ports)


async def test_a_call_presents_the_account_of_the_agent_s_owner() -> None:
    ports = FakePorts(world(account(owner())))
    seen: list[Intent] = []
    ports.upstream = lambda intent: seen.append(intent) or answer({"content": []})  # type: ignore[func-returns-value]
    await told(ports)
    assert seen[0].account is not None
    assert seen[0].account.auth.headers == (("authorization", f"Bearer token-of-account-of-{owner()}"),)
    assert f"upstream_grant:account-of-{owner()}" in seen[0].decision.read_set


@pytest.mark.parametrize(
    "accounts",
    [(), (account("somebody-else"),), (account(owner(), client="earlier"),), (account(owner(), of="connector-x"),)],
    ids=["none", "another's", "by another client", "at another system"],
)
async def test_without_her_account_nothing_is_sent_and_the_way_is_told(accounts: tuple[Account, ...]) -> None:
    ports = FakePorts(world(*accounts))
    refused = await told(ports)
    assert ports.log == ["call.refused"]
    assert code_of(refused) == refusals.ACCOUNT_NEEDED.code
    assert text_of(refused).endswith(PAGE)
    assert refused.page == PAGE


async def test_an_account_connected_a_moment_ago_works() -> None:
    ports = FakePorts(world())
    ports.views.append(world(account(owner()), epoch=2))
    await told(ports)
    assert ports.log == ["call.intent", "sent", "call.outcome"]


@pytest.mark.parametrize("way", ["row", "provider"])
async def test_an_account_that_must_be_connected_again_sends_nothing(way: str) -> None:
    hers = account(owner(), status="reconnect" if way == "row" else "live")
    ports = FakePorts(world(hers))
    ports.accounts.tokens[hers.id] = AccountEnded()
    assert code_of(await told(ports)) == refusals.ACCOUNT_RECONNECT.code
    assert ports.log == ["call.refused"]


async def test_a_provider_that_is_away_refuses_and_says_when_to_retry() -> None:
    hers = account(owner())
    ports = FakePorts(world(hers))
    ports.accounts.tokens[hers.id] = AccountUnavailable("unreachable")
    refused = await told(ports)
    assert code_of(refused) == refusals.ACCOUNT_UNAVAILABLE.code
    assert not refused.page
    assert ports.entries[0].event.details["why"] == "unreachable"


async def test_the_shared_account_serves_everybody_and_nobody_is_sent_to_a_page_for_it() -> None:
    ports = FakePorts(world(account(""), whose="shared"))
    await told(ports)
    assert "sent" in ports.log
    without = await told(FakePorts(world(whose="shared")))
    assert (code_of(without), without.page) == (refusals.ACCOUNT_NOT_SET_UP.code, "")


async def test_a_result_that_repeats_the_token_is_masked() -> None:
    hers = account(owner())
    ports = FakePorts(world(hers))
    ports.upstream = lambda _: answer({"content": [{"type": "text", "text": f"you sent token-of-{hers.id}"}]})
    assert "token-of" not in text_of(await told(ports))


async def test_an_agent_that_got_hold_of_the_token_cannot_send_it_on() -> None:
    hers = account(owner())
    refused = await run(frame("read", {"note": f"token-of-{hers.id}"}), ports := FakePorts(world(hers)))
    assert code_of(refused) == "credential_in_arguments"
    assert "sent" not in ports.log


async def test_the_end_of_the_account_between_decision_and_commit_stops_the_call() -> None:
    """The fence says that the decision is stale, and the newer view has no account."""
    hers = account(owner())
    ports = FakePorts(world(hers))
    from_then_on = world(epoch=2)
    commit = ports.commit

    async def stale_once(entry: Any) -> Any:
        if entry.event.kind == "call.intent":
            ports.views[:] = [from_then_on]
            ports.verdicts = [Verdict.STALE]
        return await commit(entry)

    ports.commit = stale_once  # type: ignore[method-assign]
    assert code_of(await told(ports)) == refusals.ACCOUNT_NEEDED.code
    assert "sent" not in ports.log


async def test_humans_are_not_asked_about_a_call_that_could_not_be_made() -> None:
    asking = make.rule("ask", terms=NOBODY)
    ports = FakePorts(world(rules=(asking,)))
    assert code_of(await told(ports)) == refusals.ACCOUNT_NEEDED.code


# -- how clients hear of the page

URL_CLIENT: dict[str, Any] = {"elicitation": {"url": {}}}
REFUSED = Answer(result={"content": [], "isError": True}, page=PAGE)


def modern(capabilities: dict[str, Any]) -> tuple[Context, Frame]:
    return context(Client(), capabilities=capabilities, is_modern=True), frame("read")


def test_a_client_that_cannot_send_its_user_there_has_it_in_the_text() -> None:
    where, called = modern({})
    assert to_page(where, called, REFUSED, None) is REFUSED


def test_an_answer_without_a_page_stays_as_it_is() -> None:
    where, called = modern(URL_CLIENT)
    assert to_page(where, called, plain := Answer(result={}), None) is plain


def test_a_client_is_sent_there_a_few_times_and_then_its_model_is_told() -> None:
    where, called = modern(URL_CLIENT)
    state = None
    for _ in range(TURNS):
        asked = to_page(where, called, REFUSED, state)
        assert asked.result is not None
        assert asked.result["inputRequests"]["page"]["params"]["url"] == PAGE
        state = open_state(where, called, asked.result["requestState"])
    assert to_page(where, called, REFUSED, state) is REFUSED
