"""What clients up to 2025-11-25 see of a call that waits for humans."""

import asyncio
from typing import Any

import pytest

from gateway.mcp import calls
from gateway.mcp.holding import ELICITED
from tests.gateway.holding import (
    DONE,
    URL,
    Desk,
    State,
    decide,
    desk,
    is_waiting,
    row_of,
    serve,
)
from tests.gateway.storing import (
    Client,
    StoredPorts,
    a_session,
    call_message,
    context,
    empty_store,
    module_database,
    run_twice,
    with_database,
)

__all__ = ("desk", "empty_store", "module_database")


@with_database
def test_a_legacy_client_of_urls_gets_the_page_by_error_and_hears_when_it_is_decided(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here, **URL)
        client, serving = serve(here, session=session)
        await client.is_complete.wait()
        with there.bus.mailbox(ELICITED) as box:
            await is_waiting(here)
            await decide(there, State.APPROVED)
            await serving
            letter = await box.next(5)
        retry, serving = serve(there, session=session)
        await serving
        return client.message, letter, session.digest.hex(), retry.result, (await row_of(here)).key

    message, letter, session, retry, key = run_twice(use)
    assert message["error"]["code"] == -32042
    (page,) = message["error"]["data"]["elicitations"]
    assert (page["mode"], page["elicitationId"]) == ("url", str(key))
    assert session.encode() in letter
    assert str(key).encode() in letter
    assert retry["content"] == DONE


@with_database
def test_a_second_try_before_the_decision_is_held(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here, **URL)
        first, serving = serve(here, session=session)
        await first.is_complete.wait()
        second, again = serve(there, session=session)
        await is_waiting(there)
        await decide(here, State.APPROVED)
        await asyncio.gather(serving, again)
        return second.result

    assert run_twice(use)["content"] == DONE


@with_database
@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
def test_a_legacy_form_is_shown_on_the_stream_where_a_rule_wants_a_reason(desk: Desk, revision: str) -> None:
    desk.wants_reason = True

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here, revision, elicitation={})
        client, serving = serve(here, session=session)
        question = await client.first_question()
        reply = {"id": question["id"], "result": {"action": "accept", "content": {"reason": "It is due."}}}
        await calls.take_reply(context(Client(), session=session), reply, there)
        await is_waiting(here)
        row = await row_of(here)
        await decide(here, State.APPROVED)
        await serving
        return question, row, client.result

    question, row, result = run_twice(use)
    assert question["method"] == "elicitation/create"
    assert set(question["params"]["requestedSchema"]["properties"]) == {"reason"}
    assert row.stated_reason == "It is due."
    assert result["content"] == DONE


@with_database
@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_legacy_client_is_held_and_cancelling_lets_it_go(desk: Desk, revision: str) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here, revision)
        held, serving = serve(here, session=session)
        await is_waiting(here)
        await calls.cancel(context(Client(), session=session), 1, there)
        await serving
        row = await row_of(here)
        again, serving = serve(here, call_message(2), session=session)
        await is_waiting(here)
        await decide(here, State.APPROVED)
        await serving
        return held, row, again.result

    held, row, again = run_twice(use)
    assert not [message for message in held.messages if "result" in message]
    assert row.state == State.PENDING
    assert again["content"] == DONE
