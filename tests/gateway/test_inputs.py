"""Requests of several rounds: what a client holds for us, and how its answers find the call that waits for them."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as some

from connectors.base import NotAnswered, Relay
from gateway import postage
from gateway.commit.entry import Verdict
from gateway.mcp import attendance, calls, inputs, running
from gateway.mcp.asking import TOO_LATE
from gateway.mcp.errors import ProtocolError
from gateway.mcp.exchange import Exchange
from gateway.mcp.inputs import LIFETIME_SECONDS, open_state, seal_state
from gateway.mcp.waiting import ENDING, Crowded
from gateway.models import GatewayProcess
from tests.fakes import answer
from tests.gateway.storing import (
    ELICITATION,
    OTHER_AGENT,
    Client,
    StoredPorts,
    call_message,
    context,
    empty_store,
    frame,
    module_database,
    run_twice,
    with_database,
)

__all__ = ("empty_store", "module_database")


QUESTION = {"method": "elicitation/create", "params": {"message": "Which?", "requestedSchema": {"type": "object"}}}
ACCEPTED = {"action": "accept", "content": {"which": "this"}}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(running, "WATCH_AFTER_SECONDS", 0.001)


async def serve(ports: StoredPorts, **params: Any) -> Client:
    client = Client()
    of = context(client, call_message(2, **params), is_modern=True, capabilities=ELICITATION)
    await calls.serve(of, frame(of), ports)
    return client


def begin(ports: StoredPorts) -> tuple[Client, asyncio.Task[None]]:
    client = Client()
    of = context(client, is_modern=True, capabilities=ELICITATION)
    return client, asyncio.create_task(calls.serve(of, frame(of), ports))


def asking(heard: list[Any], *rounds: dict[str, Any]) -> Any:
    """An upstream that asks while it works, as those up to 2025-11-25 do."""

    async def talk(relay: Relay) -> None:
        for requests in rounds or ({"q": QUESTION},):
            try:
                heard.append(await relay.ask(requests))
            except NotAnswered as refusal:
                heard.append(refusal.message)

    return talk


# -- the state a client holds


@pytest.mark.parametrize(
    "changed",
    [
        {"agent_id": OTHER_AGENT},
        {"bundle": "sales"},
        {"bundle": None},
        {"message": call_message(name="ticket_close")},
        {"message": call_message(arguments={"id": 8})},
    ],
    ids=["agent", "endpoint", "union", "name", "arguments"],
)
def test_a_state_is_good_for_its_own_request_only(changed: dict[str, Any]) -> None:
    own = context(Client(), is_modern=True)
    state = seal_state(own, frame(own), upstream="theirs")
    assert open_state(own, frame(own), state).upstream == "theirs"
    other = context(Client(), **({"is_modern": True} | changed))
    with pytest.raises(ProtocolError) as refused:
        open_state(other, frame(other), state)
    assert (refused.value.code, refused.value.status) == (-32602, 400)


def test_a_state_is_good_for_its_own_method_only() -> None:
    own = context(Client(), is_modern=True)
    state = seal_state(own, frame(own))
    with pytest.raises(ProtocolError):
        open_state(own, replace(frame(own), method="prompts/get"), state)


def test_a_state_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    own = context(Client(), is_modern=True)
    state = seal_state(own, frame(own))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LIFETIME_SECONDS + 1)
    with pytest.raises(ProtocolError):
        open_state(own, frame(own), state)


@given(some.one_of(some.text(), some.integers(), some.none(), some.lists(some.text()), some.binary().map(bytes.hex)))
def test_whatever_else_comes_as_a_state_is_refused(sealed: Any) -> None:
    own = context(Client(), is_modern=True)
    with pytest.raises(ProtocolError):
        open_state(own, frame(own), sealed)


def test_an_altered_state_is_refused_and_tells_nothing() -> None:
    own = context(Client(), is_modern=True)
    state = seal_state(own, frame(own), upstream="their secret")
    assert "secret" not in state
    for place in range(0, len(state), 7):
        altered = state[:place] + ("A" if state[place] != "A" else "B") + state[place + 1 :]
        with pytest.raises(ProtocolError):
            open_state(own, frame(own), altered)


# -- an upstream that can be asked again


def question_first(intent: Any) -> Any:
    if not intent.call.frame.resumed:
        asked = {"resultType": "input_required", "inputRequests": {"q": QUESTION}, "requestState": "theirs"}
        return answer(asked)
    return answer({"content": [{"type": "text", "text": json.dumps(dict(intent.call.frame.resumed))}]})


@with_database
def test_a_retry_at_another_process_is_a_new_governed_call_with_the_upstreams_own_state() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.upstream = there.upstream = question_first
        asked = await serve(here)
        state = asked.result["requestState"]
        done = await serve(there, requestState=state, inputResponses={"q": ACCEPTED})
        return asked.result, done.result, here.log, there.log

    asked, done, first, second = run_twice(use)
    assert asked["resultType"] == "input_required"
    assert asked["inputRequests"] == {"q": QUESTION}
    assert asked["requestState"] != "theirs"
    assert json.loads(done["content"][0]["text"]) == {"inputResponses": {"q": ACCEPTED}, "requestState": "theirs"}
    assert (first[0], first[-1]) == (second[0], second[-1]) == ("call.intent", "call.outcome")


@with_database
def test_a_retry_with_a_state_of_another_request_reaches_no_upstream() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.upstream = there.upstream = question_first
        state = (await serve(here)).result["requestState"]
        with pytest.raises(ProtocolError) as refused:
            await serve(there, requestState=state, inputResponses={}, arguments={"id": 8})
        with pytest.raises(ProtocolError):
            await serve(there, requestState=state, inputResponses=[])
        return refused.value.code, there.log

    assert run_twice(use) == (-32602, [])


@with_database
def test_web_pages_that_an_older_upstream_wants_opened_become_questions() -> None:
    pages = {"elicitations": [{"mode": "url", "elicitationId": "1", "url": "https://x.example/", "message": "Sign in"}]}
    error = {"code": -32042, "message": "Open", "data": pages}

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.upstream = lambda _: answer(None, error)
        client = Client()
        of = context(client, is_modern=True, capabilities={"elicitation": {"url": {}}})
        await calls.serve(of, frame(of), here)
        return client.result

    result = run_twice(use)
    assert result["resultType"] == "input_required"
    assert [each["params"]["url"] for each in result["inputRequests"].values()] == ["https://x.example/"]


# -- an upstream that waits


@with_database
@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["elsewhere", "here"])
def test_answers_reach_the_call_that_waits_and_bring_its_result_back(is_elsewhere: bool) -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking(heard)
        first, serving = begin(here)
        await first.is_complete.wait()
        state = first.result["requestState"]
        done = await serve(there if is_elsewhere else here, requestState=state, inputResponses={"q": ACCEPTED})
        await serving
        return first.result, done.result, here.log, there.log

    asked, done, log, other_log = run_twice(use)
    assert asked["inputRequests"] == {"q": QUESTION}
    assert heard == [{"q": ACCEPTED}]
    assert done["content"] == [{"type": "text", "text": "done"}]
    assert done["resultType"] == "complete"
    assert log == ["call.intent", "sent", "call.asked", "call.told", "call.outcome"]
    assert other_log == [], "one call, not two"


@with_database
def test_missing_answers_are_asked_for_again_and_given_ones_are_kept() -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking(heard, {"a": QUESTION, "b": QUESTION}, {"c": QUESTION})
        first, serving = begin(here)
        await first.is_complete.wait()
        state, told = first.result["requestState"], []
        for given_now in ({"a": ACCEPTED, "z": ACCEPTED}, {"b": ACCEPTED}, {"c": ACCEPTED}):
            retry = await serve(there, requestState=state, inputResponses=given_now)
            told.append(sorted(retry.result.get("inputRequests", {})))
            state = retry.result.get("requestState")
        await serving
        return told

    assert run_twice(use) == [["b"], ["c"], []]
    assert heard == [{"a": ACCEPTED, "b": ACCEPTED}, {"c": ACCEPTED}]


@with_database
def test_a_result_waits_for_a_client_that_is_still_thinking() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        gave_up = asyncio.Event()

        async def talk(relay: Relay) -> None:
            asked = asyncio.create_task(relay.ask({"q": QUESTION}))
            await first.is_complete.wait()
            asked.cancel()
            gave_up.set()

        first = Client()
        here.conversation = talk
        of = context(first, is_modern=True, capabilities=ELICITATION)
        serving = asyncio.create_task(calls.serve(of, frame(of), here))
        await gave_up.wait()
        done = await serve(there, requestState=first.result["requestState"], inputResponses={"q": ACCEPTED})
        await serving
        return done.result

    assert run_twice(use)["content"] == [{"type": "text", "text": "done"}]


@with_database
def test_a_client_that_never_comes_back_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(inputs, "LIFETIME_SECONDS", 0.05)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking(heard)
        _, serving = begin(here)
        await serving
        return here.log[-1]

    assert run_twice(use) == "call.outcome"
    assert heard == [TOO_LATE]


@with_database
def test_a_process_that_ends_leaves_the_outcome_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(inputs, "ACKNOWLEDGED_SECONDS", 0.1)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking(heard)
        first, serving = begin(here)
        await first.is_complete.wait()
        here.waiting.end()
        await serving
        retry = {"requestState": first.result["requestState"], "inputResponses": {"q": ACCEPTED}}
        return (await serve(there, **retry)).result, here.log, there.log

    result, log, other_log = run_twice(use)
    assert heard == [ENDING]
    assert result["content"] == [{"type": "text", "text": "done"}]
    assert (log[-1], other_log) == ("call.outcome", []), "nothing is sent again"


@with_database
def test_a_repeated_retry_gets_the_same_answer_wherever_it_comes() -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking(heard)
        first, serving = begin(here)
        await first.is_complete.wait()
        retry = {"requestState": first.result["requestState"], "inputResponses": {"q": ACCEPTED}}
        told = [(await serve(ports, **retry)).result["content"] for ports in (there, here, there)]
        await serving
        return told, here.log

    told, log = run_twice(use)
    assert told == [[{"type": "text", "text": "done"}]] * 3
    assert (heard, log.count("sent")) == ([{"q": ACCEPTED}], 1)


@with_database
def test_all_who_wait_hear_the_same_and_answers_count_once() -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        is_answered, go_on = asyncio.Event(), asyncio.Event()
        talk = asking(heard, {"q": QUESTION}, {"q": QUESTION})

        async def slowly(relay: Relay) -> None:
            await talk(relay)
            is_answered.set()
            await go_on.wait()

        here.conversation = slowly
        first, serving = begin(here)
        await first.is_complete.wait()
        early = {"requestState": first.result["requestState"], "inputResponses": {"q": ACCEPTED}}
        again = await asyncio.gather(*(serve(ports, **early) for ports in (here, there, there)))
        late = {"requestState": again[0].result["requestState"], "inputResponses": {"q": {"action": "decline"}}}
        ending = [asyncio.create_task(serve(ports, **late)) for ports in (here, there)]
        await is_answered.wait()
        go_on.set()
        ends = await asyncio.gather(*ending)
        await serving
        return [each.result["resultType"] for each in (*again, *ends)], here.log

    told, log = run_twice(use)
    assert told == ["input_required"] * 3 + ["complete"] * 2
    assert heard == [{"q": ACCEPTED}, {"q": {"action": "decline"}}]
    assert log.count("sent") == 1


@with_database
def test_of_those_who_wait_only_the_last_to_leave_cancels() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        of = context(Client(), is_modern=True, capabilities=ELICITATION)
        parked = inputs.ParkedCall(of, frame(of), here, Exchange(of, here).answer)
        topic, is_cancelled = inputs.parked_topic(parked.id), asyncio.Event()

        async def come(who: str) -> None:
            with here.bus.mailbox(who) as box:
                note = {"answers": {}, "turn": 0, "reply_to": who}
                assert await there.bus.send(topic, json.dumps(note).encode())
                assert await box.next(5) == b""

        async def leave(who: str) -> None:
            await there.bus.send(topic, json.dumps({"reply_to": who}).encode())

        with here.bus.mailbox(topic) as box:
            hearing = asyncio.create_task(parked.hear(box, is_cancelled.set))
            await come("a")
            await come("b")
            await leave("a")
            await leave("who never came")
            await come("c")
            before = is_cancelled.is_set()
            await leave("b")
            await leave("c")
            await asyncio.wait_for(is_cancelled.wait(), 20)
            hearing.cancel()
        return before

    assert run_twice(use) is False


@with_database
def test_a_retry_at_a_process_that_ends_is_sent_to_another_and_loses_nothing() -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        is_answered, go_on = asyncio.Event(), asyncio.Event()
        talk = asking(heard)

        async def slowly(relay: Relay) -> None:
            await talk(relay)
            is_answered.set()
            await go_on.wait()

        here.conversation = slowly
        first, serving = begin(here)
        await first.is_complete.wait()
        retry = {"requestState": first.result["requestState"], "inputResponses": {"q": ACCEPTED}}
        waiting = asyncio.create_task(serve(there, **retry))
        await is_answered.wait()
        there.waiting.end()
        turned_away = await waiting
        go_on.set()
        again = await serve(here, **retry)
        await serving
        return turned_away.status, turned_away.headers[b"retry-after"], again.result["content"], here.log

    status, pause, content, log = run_twice(use)
    assert (status, pause) == (503, b"1")
    assert content == [{"type": "text", "text": "done"}]
    assert (heard, log.count("sent")) == ([{"q": ACCEPTED}], 1)


@with_database
def test_a_call_that_is_on_record_is_not_sent_again() -> None:
    """The database says so: a second intent of the same call finds no room."""

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.upstream = there.upstream = question_first
        state = (await serve(here)).result["requestState"]
        retry = {"requestState": state, "inputResponses": {"q": ACCEPTED}}
        await serve(here, **retry)
        there.verdicts = [Verdict.DUPLICATE]
        again = await serve(there, **retry)
        ids = [entry.event.call_id for ports in (here, there) for entry in ports.entries]
        return again.result, there.log, len(set(ids[2:4])), here.entries[2].event.call_id

    result, log, distinct, call_id = run_twice(use)
    assert log == ["DUPLICATE", "call.refused"]
    assert result["_meta"]["com.gatehouse/decision"]["code"] == "repeated"
    assert str(call_id) in result["content"][0]["text"]
    assert distinct == 1


@with_database
def test_what_was_not_sent_in_time_may_still_be_sent() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.upstream = question_first
        state = (await serve(here)).result["requestState"]
        here.log.clear()
        here.held_up_ns = 10_000_000_000
        done = await serve(here, requestState=state, inputResponses={"q": ACCEPTED})
        first, second = [entry.event.call_id for entry in here.entries if entry.event.kind == "call.intent"][1:]
        return done.result["resultType"], here.log, first == second

    assert run_twice(use) == (
        "complete",
        ["call.intent", "call.outcome", "call.intent", "sent", "call.outcome"],
        False,
    )


@with_database
def test_retries_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "ACKNOWLEDGED_SECONDS", 0.01)
    monkeypatch.setattr(inputs, "LOOKED_SECONDS", 0.01)
    monkeypatch.setattr(postage, "AT_ONCE", 2.5)
    monkeypatch.setattr(postage, "PER_SECOND", 0.0)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        of = context(Client(), call_message(), is_modern=True)
        state = inputs.seal_state(of, frame(of), parked="nowhere", process_id=str(here.process_id))
        told = [await serve(here, requestState=state) for _ in range(2)]
        with pytest.raises(Crowded):
            await serve(here, requestState=state)
        return [client.result["isError"] for client in told]

    assert run_twice(use) == [True, True]


@with_database
def test_who_leaves_while_it_waits_for_the_result_cancels_the_call() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        answered = asyncio.Event()

        async def talk(relay: Relay) -> None:
            await relay.ask({"q": QUESTION})
            answered.set()
            await asyncio.Event().wait()

        here.conversation = talk
        first, serving = begin(here)
        await first.is_complete.wait()
        client = Client()
        params = {"requestState": first.result["requestState"], "inputResponses": {"q": ACCEPTED}}
        of = context(client, call_message(2, **params), is_modern=True, capabilities=ELICITATION)
        retrying = asyncio.create_task(calls.serve(of, frame(of), there))
        await answered.wait()
        client.left.set()
        await asyncio.gather(serving, retrying)
        return here

    ports = run_twice(use)
    assert ports.cancelled.is_set()
    assert ports.log[-1] == "call.outcome"


@with_database
@pytest.mark.parametrize("lost", ["credentials", "bundles"])
def test_a_result_is_not_for_whoever_lost_the_key_or_the_endpoint_while_waiting_for_it(lost: str) -> None:
    """An agent may have two keys: one of them made the call, the other one brought the answers."""

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        async def talk(relay: Relay) -> None:
            await relay.ask({"q": QUESTION})
            there.views = [replace(there.snapshot(), **{lost: {}})]

        here.conversation = talk
        first, serving = begin(here)
        await first.is_complete.wait()
        retry = await serve(there, requestState=first.result["requestState"], inputResponses={"q": ACCEPTED})
        await serving
        return retry.result

    result = run_twice(use)
    assert result["isError"] is True
    assert "unknown" in result["content"][0]["text"]


@with_database
@pytest.mark.parametrize("how", ["died", "never waited"])
def test_a_call_that_was_lost_with_its_process_is_told_as_unknown(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "ACKNOWLEDGED_SECONDS", 0.1)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()

        async def talk(relay: Relay) -> None:
            await relay.ask({"q": QUESTION})
            await go_on.wait()

        here.conversation = talk
        first, serving = begin(here)
        await first.is_complete.wait()
        state = first.result["requestState"]
        if how == "died":
            await asyncio.to_thread(bury, here.process_id)
        else:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        retry = await serve(there, requestState=state, inputResponses={"q": ACCEPTED})
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return retry.result

    def bury(process_id: Any) -> None:
        GatewayProcess.objects.filter(id=process_id).update(ended_at=datetime.now(UTC))
        connection.close()

    result = run_twice(use)
    assert result["isError"] is True
    assert "unknown" in result["content"][0]["text"]


@with_database
def test_only_so_many_calls_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.waiting.calls.is_closed = True
        here.conversation = asking(heard)
        return (await serve(here)).result

    assert run_twice(use)["content"] == [{"type": "text", "text": "done"}]
    assert heard == ["Too many calls wait for answers now."]
