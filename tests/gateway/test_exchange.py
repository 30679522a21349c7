"""One governed request over HTTP: JSON or a late stream, progress and log messages, questions, leaving, cancelling."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import connection

from connectors.base import NotAnswered, Relay
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp import attendance, calls, exchange, running
from gateway.models import Letter
from tests.gateway.storing import (
    ELICITATION,
    Client,
    StoredPorts,
    a_session,
    call_message,
    context,
    empty_store,
    end_as_its_person,
    frame,
    module_database,
    run_twice,
    with_database,
)

__all__ = ("empty_store", "module_database")

QUESTION = {"method": "elicitation/create", "params": {"message": "Which?", "requestedSchema": {"type": "object"}}}
ACCEPTED = {"action": "accept", "content": {"which": "this"}}
Talk = Callable[[Relay], Awaitable[None]]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(running, "WATCH_AFTER_SECONDS", 0.001)


async def forever(relay: Relay) -> None:
    await asyncio.Event().wait()


def serve(ports: StoredPorts, client: Client, **fields: Any) -> asyncio.Task[None]:
    of = context(client, **fields)
    return asyncio.create_task(calls.serve(of, frame(of), ports))


async def served(ports: StoredPorts, client: Client, **fields: Any) -> None:
    await serve(ports, client, **fields)


def replies_kept() -> int:
    try:
        return Letter.objects.filter(topic__startswith="reply").count()
    finally:
        connection.close()


# -- JSON or stream


@with_database
@pytest.mark.parametrize("is_modern", [True, False], ids=["modern", "legacy"])
def test_a_quick_call_is_answered_as_json_and_starts_nothing_beside_itself(
    is_modern: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 5.0)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        client = Client()
        of = context(client, is_modern=is_modern)
        before = asyncio.all_tasks()
        await calls.serve(of, frame(of), here)
        return client, asyncio.all_tasks() - before

    client, started = run_twice(use)
    assert (client.status, client.is_stream, started) == (200, False, set())
    assert client.result["content"] == [{"type": "text", "text": "done"}]
    assert client.result.get("resultType") == ("complete" if is_modern else None)


@with_database
def test_what_is_wrong_keeps_its_http_status() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.broken_commits.add("call.intent")
        client = Client()
        await served(here, client)
        return client

    client = run_twice(use)
    assert (client.status, client.is_stream, client.headers[b"retry-after"]) == (503, False, b"1")


@with_database
def test_the_first_thing_to_pass_on_makes_a_stream_of_it() -> None:
    async def talk(relay: Relay) -> None:
        await relay.notify("notifications/progress", {"progressToken": "theirs", "progress": 1, "total": 2})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        client = Client()
        await served(here, client, is_modern=True, progress_token="ours")
        return client

    client = run_twice(use)
    assert client.is_stream
    assert client.headers[b"x-accel-buffering"] == b"no"
    assert b"no-cache" in client.headers[b"cache-control"]
    progress, answer = client.messages
    assert progress["params"] == {"progressToken": "ours", "progress": 1, "total": 2}
    assert answer["result"]["content"] == [{"type": "text", "text": "done"}]
    assert client.event_ids == [], "streams of the modern era cannot be resumed"


@with_database
def test_who_takes_only_json_gets_json_whatever_the_upstream_says() -> None:
    async def talk(relay: Relay) -> None:
        assert not relay.wants_progress
        await relay.notify("notifications/progress", {"progressToken": "theirs", "progress": 1})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        client = Client()
        of = context(client, is_modern=True, progress_token="ours")
        of.request.headers[b"accept"] = b"application/json"
        await calls.serve(of, frame(of), here)
        return client

    assert not run_twice(use).is_stream


@with_database
def test_a_long_call_is_kept_alive_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "KEEP_ALIVE_SECONDS", 0.01)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        client = Client()
        serving = serve(here, client, is_modern=True)
        await client.until(lambda client: client.body.count(b": ping\n\n") >= 3)
        go_on.set()
        await serving
        return client

    client = run_twice(use)
    assert len(client.messages) == 1
    assert client.result["content"] == [{"type": "text", "text": "done"}]


@with_database
def test_progress_only_goes_forward_and_only_where_it_is_wanted() -> None:
    async def talk(relay: Relay) -> None:
        for said in (1, 3, 2, 3, True, "4", 3.5):
            await relay.notify("notifications/progress", {"progressToken": "theirs", "progress": said})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        wanting, other = Client(), Client()
        await served(here, wanting, is_modern=True, progress_token=0)
        await served(here, other, is_modern=True)
        return wanting, other

    wanting, other = run_twice(use)
    assert [message["params"]["progress"] for message in wanting.messages[:-1]] == [1, 3, 3.5]
    assert not other.is_stream


@with_database
def test_log_messages_pass_from_the_level_that_is_wanted() -> None:
    async def talk(relay: Relay) -> None:
        for level in ("debug", "warning", "emergency", "loud"):
            await relay.notify("notifications/message", {"level": level, "data": level})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        wanting, other = Client(), Client()
        await served(here, wanting, is_modern=True, log_level="warning")
        await served(here, other, is_modern=True)
        return wanting, other

    wanting, other = run_twice(use)
    assert [message["params"]["level"] for message in wanting.messages[:-1]] == ["warning", "emergency"]
    assert not other.is_stream


@with_database
def test_what_comes_after_the_answer_is_dropped() -> None:
    kept: list[Relay] = []

    async def talk(relay: Relay) -> None:
        kept.append(relay)
        await relay.notify("notifications/progress", {"progress": 1})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        client = Client()
        await served(here, client, is_modern=True, progress_token=1)
        before = client.body
        await kept[0].notify("notifications/progress", {"progress": 2})
        return client.body == before

    assert run_twice(use)


@with_database
def test_the_outcome_is_durable_before_the_answer_leaves_on_a_stream_too() -> None:
    async def talk(relay: Relay) -> None:
        await relay.notify("notifications/progress", {"progress": 1})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        here.broken_commits.add("call.outcome")
        client = Client()
        await served(here, client, is_modern=True, progress_token=1)
        return client

    result = run_twice(use).result
    assert "unknown" in result["content"][0]["text"]


# -- leaving and cancelling


@with_database
def test_a_modern_client_that_leaves_cancels_and_the_outcome_is_recorded() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = forever
        client = Client()
        serving = serve(here, client, is_modern=True)
        client.left.set()
        await serving
        return here

    ports = run_twice(use)
    assert ports.cancelled.is_set()
    assert ports.log == ["call.intent", "sent", "call.outcome"]
    assert ports.entries[-1].event.details["code"] == "cancelled"


@with_database
def test_a_client_of_before_that_leaves_cancels_nothing() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        client = Client()
        serving = serve(here, client, session=await a_session(here))
        client.left.set()
        await asyncio.sleep(0.05)
        go_on.set()
        await serving
        return here, client

    ports, client = run_twice(use)
    assert not ports.cancelled.is_set()
    assert client.result["content"] == [{"type": "text", "text": "done"}]


@with_database
@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["elsewhere", "here"])
def test_cancelled_reaches_the_request_at_whichever_process_runs_it(is_elsewhere: bool) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = forever
        session = await a_session(here)
        client = Client()
        serving = serve(here, client, session=session, message=call_message("req-1"))
        await calls.cancel(context(Client(), session=session), "req-1", there if is_elsewhere else here)
        await serving
        return here, client

    ports, client = run_twice(use)
    assert ports.cancelled.is_set()
    assert ports.log[-1] == "call.outcome"
    assert client.is_complete.is_set()
    assert client.messages == [], "a cancelled request is not answered"


@with_database
@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["elsewhere", "here"])
def test_a_session_that_its_person_ends_breaks_off_its_calls_and_no_others(is_elsewhere: bool) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        running = here if is_elsewhere else there
        running.conversation = forever
        ended, other = await a_session(here), await a_session(here)
        clients = Client(), Client()
        serving = [serve(running, client, session=each) for client, each in zip(clients, (ended, other), strict=True)]
        facts = await asyncio.to_thread(end_as_its_person, ended.digest)
        await serving[0]
        is_other_over = serving[1].done()
        await asyncio.to_thread(end_as_its_person, other.digest)
        await serving[1]
        return running, clients[0], is_other_over, facts

    ports, client, is_other_over, facts = run_twice(use)
    assert ports.log[-1] == "call.outcome"
    assert (client.messages, is_other_over) == ([], False)
    assert [fact.kind for fact in facts] == ["mcp_session.ended"]


@with_database
@pytest.mark.parametrize("what", ["another id", "another type", "another session", "no session"])
def test_nothing_else_is_cancelled(what: str) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        session, other = await a_session(here), await a_session(here)
        client = Client()
        serving = serve(here, client, session=session, message=call_message(1))
        by = {"another session": other, "no session": None}.get(what, session)
        request_id: Any = {"another id": 2, "another type": "1"}.get(what, 1)
        await calls.cancel(context(Client(), session=by), request_id, there)
        await asyncio.sleep(0.1)
        go_on.set()
        await serving
        return here.cancelled.is_set(), client.result

    is_cancelled, result = run_twice(use)
    assert not is_cancelled
    assert result["content"] == [{"type": "text", "text": "done"}]


# -- questions to a client of before


def asking(answers: list[Any]) -> Talk:
    async def talk(relay: Relay) -> None:
        try:
            answers.append(await relay.ask({"q": QUESTION}))
        except NotAnswered as refusal:
            answers.append(refusal.message)

    return talk


@with_database
@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["elsewhere", "here"])
def test_an_answer_finds_its_question_from_whichever_process_it_reaches(is_elsewhere: bool) -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking(heard)
        session = await a_session(here, **ELICITATION)
        client = Client()
        serving = serve(here, client, session=session)
        question = await client.first_question()
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": ACCEPTED}
        await calls.take_reply(context(Client(), session=session), reply, there if is_elsewhere else here)
        await serving
        return here, client, question

    ports, client, question = run_twice(use)
    assert question["method"] == "elicitation/create"
    assert heard == [{"q": ACCEPTED}]
    assert ports.log == ["call.intent", "sent", "call.asked", "call.told", "call.outcome"]
    assert client.result["content"] == [{"type": "text", "text": "done"}]


@with_database
def test_a_refusal_of_the_client_is_told_to_the_upstream() -> None:
    heard: list[Any] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking(heard)
        session = await a_session(here, **ELICITATION)
        client = Client()
        serving = serve(here, client, session=session)
        question = await client.first_question()
        reply = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "User says no"}}
        await calls.take_reply(context(Client(), session=session), reply, there)
        await serving

    run_twice(use)
    assert heard == ["The caller's side refused: User says no"]


@with_database
def test_an_answer_of_another_session_or_to_no_question_is_dropped_unseen() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = asking([])
        session, other = await a_session(here, **ELICITATION), await a_session(here, **ELICITATION)
        client = Client()
        serving = serve(here, client, session=session)
        question = await client.first_question()
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": ACCEPTED}
        await calls.take_reply(context(Client(), session=other), reply, there)
        await calls.take_reply(context(Client()), reply, there)
        for made_up in ("abc", "\u00e9", 7, None, "x" * 5000):
            await calls.take_reply(context(Client(), session=session), {**reply, "id": made_up}, there)
        dropped = await asyncio.to_thread(replies_kept)
        await calls.take_reply(context(Client(), session=session), reply, here)
        await serving
        return dropped

    assert run_twice(use) == 0


@with_database
@pytest.mark.parametrize(
    ("revision", "declared", "powers"),
    [
        ("2025-03-26", {**ELICITATION, "roots": {}}, {"roots": {}}),
        ("2025-06-18", {"elicitation": {"url": {}}}, {"elicitation": {}}),
        ("2025-11-25", {"elicitation": {"url": {}}, "sampling": {}}, {"elicitation": {"url": {}}, "sampling": {}}),
        ("2025-11-25", {"tasks": {}}, {}),
    ],
)
def test_only_what_was_declared_can_be_asked(revision: str, declared: dict[str, Any], powers: dict[str, Any]) -> None:
    seen: list[Any] = []

    async def talk(relay: Relay) -> None:
        seen.append(dict(relay.powers))

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        session = await a_session(here, revision, **declared)
        await served(here, Client(), session=session, log_level="info")
        await served(here, Client(), capabilities=declared, log_level="info")

    run_twice(use)
    assert seen == [powers, {}], "without a session there is nobody to ask"


@with_database
def test_an_unforeseen_failure_is_answered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("unforeseen")

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        monkeypatch.setattr(running, "run", broken)
        client = Client()
        await served(here, client)
        return client

    client = run_twice(use)
    assert (client.status, client.message["error"]["code"]) == (500, -32603)


@with_database
def test_a_stream_whose_events_cannot_be_kept_is_sent_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(relay: Relay) -> None:
        await relay.notify("notifications/progress", {"progress": 1})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        session = await a_session(here)

        async def away(work: Any) -> Any:
            raise EvidenceUnavailable("away")

        monkeypatch.setattr(here.sessions.streams._thread, "run", away)
        client = Client()
        await served(here, client, session=session, progress_token=1)
        monkeypatch.undo()
        return client

    client = run_twice(use)
    assert [message.get("method", "answer") for message in client.messages] == ["notifications/progress", "answer"]
    assert client.event_ids == [next(iter(client.event_ids))], "only of the beginning, which needs no row"
