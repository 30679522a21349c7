"""What a client of 2026-07-28 sees of a call that waits for humans, at two processes with one database.

The pipeline is a desk here; see end_to_end/test_held_calls.py for the whole.
"""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.mcp import calls, holding
from gateway.mcp.holding import QUESTION, REASON_LIMIT, ROUNDS, elicits
from gateway.mcp.inputs import LIFETIME_SECONDS
from gateway.mcp.waiting import HELD_OF_ONE
from governance.models import ApprovalRequest
from tests import factories as make
from tests.gateway.holding import (
    DENIED,
    DONE,
    FORM,
    URL,
    WAITING,
    Desk,
    State,
    decide,
    desk,
    is_waiting,
    modern,
    row_of,
    serve,
)
from tests.gateway.storing import (
    AGENT,
    Client,
    StoredPorts,
    context,
    empty_store,
    frame,
    module_database,
    run_twice,
    with_database,
)

__all__ = ("desk", "empty_store", "module_database")


# -- what a client can be asked


@pytest.mark.parametrize(
    ("declared", "modes"),
    [
        (None, set()),
        ({}, {"form"}),
        ({"form": {}}, {"form"}),
        ({"url": {}}, {"url"}),
        ({"form": {}, "url": {}}, {"form", "url"}),
        ([], set()),
    ],
)
def test_a_client_is_asked_only_as_it_says_it_can(declared: Any, modes: set[str]) -> None:
    of = context(Client(), is_modern=True, capabilities={} if declared is None else {"elicitation": declared})
    assert {mode for mode in ("form", "url") if elicits(of, mode)} == modes
    assert not elicits(replace(of, revision="2025-03-26", is_modern=False), "form")


# -- holding


@with_database
@pytest.mark.parametrize(("state", "content", "effects"), [(State.APPROVED, DONE, 1), (State.DENIED, DENIED, 0)])
def test_who_can_do_nothing_is_held_until_somebody_decides_at_any_process(
    desk: Desk, state: str, content: Any, effects: int
) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Client:
        client, serving = modern(here)
        await is_waiting(here)
        await decide(there, state)
        await serving
        return client

    client = run_twice(use)
    assert client.is_stream
    assert client.result["content"] == content
    assert desk.effects == effects


@with_database
def test_after_a_while_it_is_told_to_come_again_and_the_same_call_redeems(
    desk: Desk, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATEWAY_HOLD_SECONDS = 0.05

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        first, serving = modern(here)
        await serving
        await decide(here, State.APPROVED)
        again, serving = modern(there)
        await serving
        return first, again, await row_of(here)

    first, again, row = run_twice(use)
    assert (first.result["content"], first.result["isError"]) == (WAITING, True)
    assert again.result["content"] == DONE
    assert (row.state, desk.effects) == (State.CONSUMED, 1)


@with_database
def test_nobody_is_held_where_the_organisation_wants_none(desk: Desk, settings: Any) -> None:
    settings.GATEWAY_HOLD_SECONDS = 0

    async def use(here: StoredPorts, there: StoredPorts) -> Client:
        client, serving = modern(here)
        await serving
        return client

    client = run_twice(use)
    assert not client.is_stream
    assert client.result["content"] == WAITING


@with_database
def test_progress_is_told_under_the_clients_token_and_leaves_room_for_the_tools_own(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Client:
        client, serving = serve(here, is_modern=True, capabilities={}, progress_token="t")
        await client.until(lambda heard: bool(heard.messages))
        await decide(here, State.APPROVED)
        await serving
        return client

    progress, result = run_twice(use).messages
    assert progress["params"]["progressToken"] == "t"
    assert 0 < progress["params"]["progress"] < 0.1
    assert "APR-" in progress["params"]["message"]
    assert result["result"]["content"] == DONE


@with_database
def test_a_client_that_leaves_ends_the_wait_and_the_approver_may_still_decide(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        client, serving = modern(here)
        await is_waiting(here)
        client.left.set()
        await serving
        left = await row_of(here)
        await decide(here, State.APPROVED)
        back, serving = modern(there)
        await serving
        return left, back

    left, back = run_twice(use)
    assert left.state == State.PENDING
    assert back.result["content"] == DONE
    assert desk.effects == 1


@with_database
def test_a_process_that_ends_lets_everybody_go_with_what_to_do_next(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        client, serving = modern(here)
        await is_waiting(here)
        here.waiting.end()
        await serving
        late, serving = modern(here)
        await serving
        return client, late

    for client in run_twice(use):
        assert client.result["content"] == WAITING


@with_database
def test_no_more_are_held_for_one_agent_than_its_share(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Client:
        with ExitStack() as places:
            for _ in range(HELD_OF_ONE):
                places.enter_context(here.waiting.held.taken(AGENT))
            client, serving = modern(here)
            await serving
        return client

    client = run_twice(use)
    assert not client.is_stream
    assert client.result["content"] == WAITING


@with_database
def test_who_cannot_hear_a_stream_is_not_kept_waiting_without_a_word(desk: Desk) -> None:
    """A member of a batch is one of them."""

    async def use(here: StoredPorts, there: StoredPorts) -> Client:
        client = Client()
        of = context(client, is_modern=False)
        of = replace(of, request=replace(of.request, headers={b"accept": b"application/json"}))
        await calls.serve(of, frame(of), here)
        return client

    assert run_twice(use).result["content"] == WAITING


@with_database
def test_while_some_of_several_have_agreed_it_goes_on_waiting(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Client:
        client, serving = modern(here)
        await is_waiting(here)
        desk.has_asked.clear()
        await decide(here, State.PENDING)
        await desk.has_asked.wait()
        await is_waiting(here)
        await decide(here, State.APPROVED)
        await serving
        return client

    assert run_twice(use).result["content"] == DONE


# -- asking by input_required


@with_database
def test_a_client_of_urls_is_sent_to_the_page_and_its_retry_is_held(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        first, serving = modern(here, URL)
        await serving
        key = (await row_of(here)).key
        answers = {QUESTION: {"action": "accept"}}
        retry, serving = modern(there, URL, inputResponses=answers, requestState=first.result["requestState"])
        await is_waiting(there)
        await decide(here, State.APPROVED)
        await serving
        return first.result, retry.result, key

    first, retry, key = run_twice(use)
    assert first["resultType"] == "input_required"
    params = first["inputRequests"][QUESTION]["params"]
    assert (params["mode"], params["url"]) == ("url", f"https://gatehouse.example/approvals/{key}/")
    assert "elicitationId" not in params
    assert str(key) not in first["requestState"]
    assert (retry["content"], desk.effects) == (DONE, 1)
    assert desk.frames[1].awaited == key
    assert not desk.frames[1].resumed


@with_database
def test_undecided_it_is_asked_again_but_not_so_often_that_sdk_clients_give_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "RETRY_SECONDS", 0.02)

    async def use(here: StoredPorts, there: StoredPorts) -> list[Any]:
        results: list[Any] = []
        retry: dict[str, Any] = {}
        while not results or results[-1]["resultType"] == "input_required":
            client, serving = modern(here, URL, **retry)
            await serving
            results.append(client.result)
            retry = {"inputResponses": {}, "requestState": client.result.get("requestState")}
        return results

    results = run_twice(use)
    assert len(results) == ROUNDS + 1 < 10
    assert results[-1]["content"] == WAITING


@with_database
def test_a_state_holds_as_long_as_its_approval_can_come(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "RETRY_SECONDS", 0.01)
    desk.pending = timedelta(seconds=LIFETIME_SECONDS * 3)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        first, serving = modern(here, URL)
        await serving
        later = datetime.now(UTC).timestamp() + LIFETIME_SECONDS * 2
        with monkeypatch.context() as clock:
            clock.setattr("gateway.mcp.inputs.time.time", lambda: later)
            retry, serving = modern(here, URL, requestState=first.result["requestState"])
            await serving
        return retry.result

    assert run_twice(use)["resultType"] == "input_required"


@with_database
def test_a_denial_is_told_and_nobody_is_asked_again(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        first, serving = modern(here, URL)
        await serving
        await decide(here, State.DENIED)
        retry, serving = modern(there, URL, requestState=first.result["requestState"])
        await serving
        return retry.result, await here.tasks._thread.run(ApprovalRequest.objects.count)

    retry, count = run_twice(use)
    assert retry["content"] == DENIED
    assert count == 1


@with_database
def test_a_form_asks_for_a_reason_and_its_users_yes_is_no_approval(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        first, serving = modern(here, FORM)
        await serving
        said = {"reason": "  The customer waits.  " + "x" * REASON_LIMIT, "wait": True, "approve": True}
        answers = {QUESTION: {"action": "accept", "content": said}}
        retry, serving = modern(here, FORM, inputResponses=answers, requestState=first.result["requestState"])
        await is_waiting(here)
        row = await row_of(here)
        await decide(here, State.APPROVED)
        await serving
        return first.result, row, retry.result

    first, row, retry = run_twice(use)
    params = first["inputRequests"][QUESTION]["params"]
    assert params["mode"] == "form"
    assert set(params["requestedSchema"]["properties"]) == {"reason", "wait"}
    assert row.state == State.PENDING
    assert row.stated_reason.startswith("The customer waits.")
    assert retry["content"] == DONE


@with_database
@pytest.mark.parametrize("reply", [{"action": "decline"}, {"action": "accept", "content": {"wait": False}}])
def test_who_will_not_wait_is_told_at_once_how_to_come_back(desk: Desk, reply: Any) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        first, serving = modern(here, FORM)
        await serving
        state = first.result["requestState"]
        retry, serving = modern(here, FORM, inputResponses={QUESTION: reply}, requestState=state)
        await serving
        return retry

    retry = run_twice(use)
    assert not retry.is_stream
    assert retry.result["content"] == WAITING


@with_database
def test_a_reason_that_holds_the_agents_key_is_shown_to_nobody(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        first, serving = modern(here, FORM)
        await serving
        answers = {QUESTION: {"action": "accept", "content": {"reason": f"The key is {make.KEY}", "wait": True}}}
        _, serving = modern(here, FORM, inputResponses=answers, requestState=first.result["requestState"])
        await is_waiting(here)
        row = await row_of(here)
        await decide(here, State.APPROVED)
        await serving
        return row

    assert run_twice(use).stated_reason == ""
