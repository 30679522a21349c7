"""Tasks in both forms: who decides, what is durable when, who may know, how they end, at every process."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from connectors.base import NotAnswered, Relay
from gateway.mcp import attendance, calls, running, task_methods, task_table, tasks
from gateway.mcp.message import Message
from gateway.mcp.task_methods import METHODS
from gateway.mcp.task_table import DEFAULT_TTL_MS, LEAST_TTL_MS, LIVE, MOST_TTL_MS, OWNER_DIED, Task
from gateway.mcp.tasks import bears_task, notification, wants_task
from gateway.mcp.waiting import CALLS_OF_ONE, ENDING
from gateway.models import GatewayProcess, McpTask
from gateway.store import forget_what_is_over
from tests import factories as make
from tests.connectors.servers import eventually
from tests.fakes import answer
from tests.gateway.storing import (
    AGENT,
    ELICITATION,
    OTHER_AGENT,
    TASKS,
    Client,
    StoredPorts,
    a_session,
    ask,
    call_message,
    context,
    empty_store,
    frame,
    module_database,
    run_twice,
    two_processes,
    until,
    with_database,
)

__all__ = ("empty_store", "module_database")

QUESTION = {"method": "elicitation/create", "params": {"message": "Which?", "requestedSchema": {"type": "object"}}}
ACCEPTED = {"action": "accept", "content": {"which": "this"}}
DONE = [{"type": "text", "text": "done"}]
UNKNOWN = {"code": -32602, "message": "Unknown task"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(running, "WATCH_AFTER_SECONDS", 0.001)
    monkeypatch.setattr(running, "TASK_AFTER_SECONDS", 0.02)


def start(ports: StoredPorts, *, is_modern: bool, session: Any = None, **fields: Any) -> tuple[Client, Any]:
    client = Client()
    if is_modern:
        fields = {"capabilities": TASKS | ELICITATION} | fields
    message = fields.pop("message", call_message(1) if is_modern else call_message(1, task={"ttl": 60_000}))
    of = context(client, message, is_modern=is_modern, session=session, **fields)
    return client, asyncio.create_task(calls.serve(of, frame(of), ports))


async def forever(relay: Relay) -> None:
    await asyncio.Event().wait()


# -- who decides


@pytest.mark.parametrize(
    ("message", "revision", "is_wanted"),
    [
        (call_message(task={}), "2025-11-25", True),
        (call_message(task={"ttl": None}), "2025-11-25", True),
        (call_message(task=True), "2025-11-25", False),
        (call_message(), "2025-11-25", False),
        (call_message(task={}), "2025-06-18", False),
        (Message("prompts/get", 1, {"name": "x", "task": {}}), "2025-11-25", False),
    ],
)
def test_a_client_of_2025_11_25_asks_for_a_task_with_the_call(message: Message, revision: str, is_wanted: bool) -> None:
    assert wants_task(replace(context(Client(), message), revision=revision)) is is_wanted


@pytest.mark.parametrize(
    ("fields", "bears"),
    [
        ({"is_modern": True, "capabilities": TASKS}, True),
        ({"is_modern": True, "capabilities": {}}, False),
        ({"is_modern": True, "capabilities": {"extensions": []}}, False),
        ({"is_modern": False, "capabilities": TASKS}, False),
    ],
)
def test_a_modern_call_becomes_a_task_only_where_this_request_says_it_may(fields: dict[str, Any], bears: bool) -> None:
    assert bears_task(context(Client(), **fields)) is bears


@with_database
def test_a_long_modern_call_becomes_a_task_and_a_quick_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with monkeypatch.context() as patient:
            patient.setattr(running, "TASK_AFTER_SECONDS", 5.0)
            quick, serving = start(here, is_modern=True)
            await serving
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        client, serving = start(here, is_modern=True)
        await client.is_complete.wait()
        task_id = client.result["taskId"]
        working = await ask(there, "tasks/get", taskId=task_id)
        go_on.set()
        await serving
        return quick.result, client.result, working, await ask(there, "tasks/get", taskId=task_id)

    quick, told, working, ended = run_twice(use)
    assert (quick["resultType"], quick["content"]) == ("complete", DONE)
    assert (told["resultType"], told["status"]) == ("task", "working")
    assert isinstance(told["ttlMs"], int)
    assert "requestState" not in told
    assert (working["status"], working["taskId"]) == ("working", told["taskId"])
    assert (ended["status"], ended["result"]["content"]) == ("completed", DONE)


@with_database
def test_an_upstream_that_makes_a_task_of_it_makes_it_one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "TASK_AFTER_SECONDS", 60.0)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        async def talk(relay: Relay) -> None:
            await relay.became_task()
            await relay.became_task()

        here.conversation = talk
        able, serving = start(here, is_modern=True)
        await serving
        unable, serving = start(here, is_modern=True, capabilities={})
        await serving
        return able.result, unable.result

    able, unable = run_twice(use)
    assert able["resultType"] == "task"
    assert unable["content"] == DONE


@with_database
def test_a_legacy_task_is_there_before_its_call_is_made() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        client, serving = start(here, is_modern=False)
        await client.is_complete.wait()
        told = client.result["task"]
        log = list(here.log)
        working = await ask(there, "tasks/get", is_modern=False, taskId=told["taskId"])
        go_on.set()
        await serving
        ended = await ask(there, "tasks/get", is_modern=False, taskId=told["taskId"])
        return told, log, working, ended, await ask(there, "tasks/result", is_modern=False, taskId=told["taskId"])

    told, log, working, ended, result = run_twice(use)
    assert "call.outcome" not in log
    assert (told["status"], told["ttl"], working["status"], ended["status"]) == (
        "working",
        60_000,
        "working",
        "completed",
    )
    assert "result" not in ended
    assert result["content"] == DONE
    assert result["_meta"]["io.modelcontextprotocol/related-task"] == {"taskId": told["taskId"]}


@with_database
def test_a_task_that_cannot_be_made_is_not_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.waiting.calls.is_closed = True
        legacy, serving = start(here, is_modern=False)
        await serving
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        modern, serving = start(here, is_modern=True)
        await asyncio.sleep(0.05)
        go_on.set()
        await serving
        return legacy, here.log.count("sent"), modern.result

    legacy, sent, modern = run_twice(use)
    assert (legacy.status, legacy.message["error"]["code"], sent) == (503, -32603, 1)
    assert modern["content"] == DONE, "the call itself is not lost"


@with_database
@pytest.mark.parametrize(
    ("wish", "granted"),
    [
        (60_000, 60_000),
        (1, LEAST_TTL_MS),
        (10**15, MOST_TTL_MS),
        (None, DEFAULT_TTL_MS),
        ("x", DEFAULT_TTL_MS),
        (True, DEFAULT_TTL_MS),
    ],
)
def test_a_time_to_live_is_the_nearest_that_can_be_had(wish: Any, granted: int) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        return (await here.tasks.create(AGENT, None, is_modern=False, ttl_ms=wish)).ttl_ms

    assert run_twice(use) == granted


# -- how they end


@with_database
@pytest.mark.parametrize("is_modern", [True, False], ids=["modern", "legacy"])
@pytest.mark.parametrize("kind", ["tool error", "error"])
def test_what_fails_is_told_in_the_words_of_its_form(is_modern: bool, kind: str) -> None:
    error = {"code": -32000, "message": "broken"}
    raw = answer(None, error) if kind == "error" else answer({"content": DONE, "isError": True})

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.upstream = lambda _: raw

        async def talk(relay: Relay) -> None:
            await relay.became_task()

        here.conversation = talk
        client, serving = start(here, is_modern=is_modern)
        await serving
        task_id = client.result["taskId"] if is_modern else client.result["task"]["taskId"]
        told = await ask(there, "tasks/get", is_modern=is_modern, taskId=task_id)
        return told, None if is_modern else await ask(there, "tasks/result", is_modern=False, taskId=task_id)

    told, result = run_twice(use)
    assert told["status"] == ("completed" if is_modern and kind == "tool error" else "failed")
    if is_modern:
        assert told.get("error") == (error if kind == "error" else None)
        assert told.get("result", {}).get("isError") == (True if kind == "tool error" else None)
    else:
        assert (result == error) if kind == "error" else result["isError"]


@with_database
@pytest.mark.parametrize("is_modern", [True, False], ids=["modern", "legacy"])
@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["elsewhere", "here"])
def test_cancelling_reaches_the_upstream_and_is_final(is_modern: bool, is_elsewhere: bool) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = forever
        client, serving = start(here, is_modern=is_modern)
        await client.is_complete.wait()
        task_id = client.result["taskId"] if is_modern else client.result["task"]["taskId"]
        by = there if is_elsewhere else here
        first = await ask(by, "tasks/cancel", is_modern=is_modern, taskId=task_id)
        await serving
        second = await ask(by, "tasks/cancel", is_modern=is_modern, taskId=task_id)
        return here, first, second, await ask(by, "tasks/get", is_modern=is_modern, taskId=task_id)

    ports, first, second, told = run_twice(use)
    assert ports.cancelled.is_set()
    assert ports.log[-1] == "call.outcome"
    assert told["status"] == "cancelled"
    if is_modern:
        assert first == second == {}
    else:
        assert (first["status"], second["code"]) == ("cancelled", -32602)


@with_database
def test_a_client_that_leaves_after_it_got_a_task_cancels_nothing() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        client, serving = start(here, is_modern=True)
        await client.is_complete.wait()
        client.left.set()
        go_on.set()
        await serving
        return await ask(there, "tasks/get", taskId=client.result["taskId"])

    assert run_twice(use)["status"] == "completed"


@with_database
def test_the_outcome_is_recorded_before_the_task_tells_it() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.broken_commits.add("call.outcome")
        client, serving = start(here, is_modern=False)
        await serving
        return await ask(there, "tasks/result", is_modern=False, taskId=client.result["task"]["taskId"])

    assert "unknown" in run_twice(use)["content"][0]["text"]


@with_database
@pytest.mark.parametrize("is_modern", [True, False], ids=["modern", "legacy"])
def test_a_task_whose_process_died_has_failed_with_an_unknown_outcome(is_modern: bool) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        task = await here.tasks.create(AGENT, "support", is_modern=is_modern)
        await asyncio.to_thread(bury, here.process_id)
        told = await ask(there, "tasks/get", is_modern=is_modern, taskId=task.id)
        late = await here.tasks.change(task, "completed", {"result": {}})
        result = None if is_modern else await ask(there, "tasks/result", is_modern=False, taskId=task.id)
        return told, late, result

    told, late, result = run_twice(use)
    assert told["status"] == "failed"
    assert OWNER_DIED in told["statusMessage"]
    assert not late
    assert (told["error"] if is_modern else result)["message"] == OWNER_DIED


def bury(process_id: UUID) -> None:
    GatewayProcess.objects.filter(id=process_id).update(ended_at=datetime.now(UTC))
    connection.close()


# -- who may know


@with_database
def test_somebody_elses_task_is_unknown_whatever_is_done_with_it() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        task = await here.tasks.create(AGENT, "support", is_modern=True)
        old = await here.tasks.create(AGENT, "support", is_modern=False)
        told = []
        for other in ({"agent_id": OTHER_AGENT}, {"bundle": "sales"}, {"bundle": None}):
            for method in ("tasks/get", "tasks/cancel", "tasks/update"):
                told.append(await ask(there, method, taskId=task.id, inputResponses={}, **other))
            for method in ("tasks/get", "tasks/cancel", "tasks/result"):
                told.append(await ask(there, method, is_modern=False, taskId=old.id, **other))
        told.append(await ask(there, "tasks/get", is_modern=False, taskId=task.id))
        for made_up in ("tasks-conformance-nonexistent-12345", "", None, 7, "x" * 500):
            told.append(await ask(there, "tasks/get", taskId=made_up))
        return told, await ask(there, "tasks/get", taskId=task.id)

    told, own = run_twice(use)
    assert all(each == UNKNOWN for each in told)
    assert own["status"] == "working"


@with_database
def test_an_agent_that_lost_the_bundle_lost_its_tasks() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        task = await here.tasks.create(AGENT, "support", is_modern=True)
        of = context(Client(), Message("tasks/get", 1, {"taskId": task.id}), is_modern=True)
        there.views = [make.snapshot(agents=(replace(of.caller.agent, roles=()),))]
        return (await METHODS["tasks/get"](of, there)).error  # type: ignore[union-attr]

    assert run_twice(use) == UNKNOWN


@with_database
def test_who_reads_the_database_reads_no_result_and_no_id() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        client, serving = start(here, is_modern=False)
        await serving
        return client.result["task"]["taskId"]

    task_id = run_twice(use)
    row = McpTask.objects.get()
    assert b"done" not in bytes(row.content)
    assert task_id.encode() not in bytes(row.content)
    assert len(task_id) >= 43


@with_database
def test_an_agent_lists_its_own_the_newest_first_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_table, "PAGE", 2)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = [await here.tasks.create(AGENT, "support", is_modern=False) for _ in range(5)]
        await here.tasks.create(OTHER_AGENT, "support", is_modern=False)
        pages = [await ask(there, "tasks/list", is_modern=False)]
        while cursor := pages[-1].get("nextCursor"):
            pages.append(await ask(there, "tasks/list", is_modern=False, cursor=cursor))
        cursor = pages[0]["nextCursor"]
        foreign = await ask(there, "tasks/list", is_modern=False, agent_id=OTHER_AGENT, cursor=cursor)
        bad = await ask(there, "tasks/list", is_modern=False, cursor="")
        return [task.id for task in made], pages, foreign, bad

    made, pages, foreign, bad = run_twice(use)
    assert [task["taskId"] for page in pages for task in page["tasks"]] == made[::-1]
    assert len(pages) == 3
    assert foreign["code"] == bad["code"] == -32602


# -- questions


@with_database
def test_a_modern_task_asks_through_its_state_and_hears_part_by_part() -> None:
    heard: list[Any] = []

    async def talk(relay: Relay) -> None:
        await relay.became_task()
        heard.append(await relay.ask({"a": QUESTION, "b": QUESTION}))
        heard.append(await relay.ask({"a": QUESTION}))

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        client, serving = start(here, is_modern=True)
        await client.is_complete.wait()
        task_id, seen, told = client.result["taskId"], [], []
        while not serving.done():
            told.append(await until(there, task_id, "input_required", "completed"))
            keys = sorted(told[-1].get("inputRequests", {}))
            if not keys:
                break
            seen.append(keys)
            await ask(there, "tasks/update", taskId=task_id, inputResponses={keys[0]: ACCEPTED, "unknown": ACCEPTED})
            left = (await ask(there, "tasks/get", taskId=task_id)).get("inputRequests", {})
            assert keys[0] not in left, "acknowledged means stored"
        await serving
        return seen, await ask(there, "tasks/get", taskId=task_id)

    seen, ended = run_twice(use)
    assert heard == [{"a": ACCEPTED, "b": ACCEPTED}, {"a": ACCEPTED}]
    assert [len(keys) for keys in seen] == [2, 1, 1]
    assert seen[1] == seen[0][1:]
    assert not set(seen[2]) & set(seen[0]), "a key is never used again"
    assert ended["status"] == "completed"


@with_database
def test_who_leaves_without_the_result_takes_no_place_any_more() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = forever
        client, serving = start(here, is_modern=False)
        await client.is_complete.wait()
        waiting = Client()
        of = context(waiting, Message("tasks/result", 2, {"taskId": client.result["task"]["taskId"]}))
        result = asyncio.create_task(METHODS["tasks/result"](of, there))  # type: ignore[arg-type,var-annotated]
        await eventually(lambda: there.waiting.answers.count == 1)
        waiting.left.set()
        await asyncio.wait_for(result, 20)
        serving.cancel()
        await asyncio.wait([serving])
        return there.waiting.answers.count

    assert run_twice(use) == 0


@with_database
@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["elsewhere", "here"])
def test_a_legacy_task_asks_on_the_stream_of_who_waits_for_its_result(is_elsewhere: bool) -> None:
    heard: list[Any] = []

    async def talk(relay: Relay) -> None:
        heard.append(await relay.ask({"q": QUESTION}))

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        session = await a_session(here, **ELICITATION)
        client, serving = start(here, is_modern=False, session=session)
        await client.is_complete.wait()
        task_id = client.result["task"]["taskId"]
        by = there if is_elsewhere else here
        waiting = Client()
        of = context(waiting, Message("tasks/result", 2, {"taskId": task_id}), session=session)
        result = asyncio.create_task(METHODS["tasks/result"](of, by))  # type: ignore[arg-type,var-annotated]
        question = await waiting.first_question()
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": ACCEPTED}
        await calls.take_reply(context(Client(), session=session), reply, here)
        assert await result is None, "answered on the stream"
        await serving
        return task_id, question, waiting.message

    task_id, question, told = run_twice(use)
    assert heard == [{"q": ACCEPTED}]
    assert question["params"]["_meta"]["io.modelcontextprotocol/related-task"] == {"taskId": task_id}
    assert (told["id"], told["result"]["content"]) == (2, DONE)


@with_database
def test_an_upstream_that_asks_by_its_result_after_the_call_became_a_task_is_asked_again() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        async def talk(relay: Relay) -> None:
            if relay.can_resume:
                await relay.became_task()
                return

        def upstream(intent: Any) -> Any:
            if intent.call.frame.resumed:
                return answer({"content": DONE, "structuredContent": dict(intent.call.frame.resumed)})
            return answer({"resultType": "input_required", "inputRequests": {"q": QUESTION}, "requestState": "s"})

        here.conversation, here.upstream = talk, upstream
        client, serving = start(here, is_modern=True)
        await client.is_complete.wait()
        return client, here, serving

    async def all_of_it(here: StoredPorts, there: StoredPorts) -> Any:
        client, _, serving = await use(here, there)
        task_id = client.result["taskId"]
        told = await until(there, task_id, "input_required", "completed", "failed")
        for key in told.get("inputRequests", {}):
            await ask(there, "tasks/update", taskId=task_id, inputResponses={key: ACCEPTED})
        await serving
        return await ask(there, "tasks/get", taskId=task_id)

    ended = run_twice(all_of_it)
    assert ended["status"] == "completed"


@with_database
def test_an_answer_that_was_acknowledged_is_there_though_its_letter_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    async def talk(relay: Relay) -> None:
        await relay.became_task()
        heard.append(await relay.ask({"a": QUESTION, "b": QUESTION}))

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        client, serving = start(here, is_modern=True)
        await client.is_complete.wait()
        task_id = client.result["taskId"]
        first, second = sorted((await until(there, task_id, "input_required"))["inputRequests"])
        with monkeypatch.context() as lost:
            lost.setattr(type(there.bus), "send", lambda *_, **__: asyncio.sleep(0))
            await ask(there, "tasks/update", taskId=task_id, inputResponses={first: ACCEPTED})
        left = await ask(there, "tasks/get", taskId=task_id)
        await ask(there, "tasks/update", taskId=task_id, inputResponses={second: ACCEPTED})
        await serving
        return [second], left

    keys, left = run_twice(use)
    assert (left["status"], list(left["inputRequests"])) == ("input_required", keys)
    assert heard == [{"a": ACCEPTED, "b": ACCEPTED}]


@with_database
def test_an_answer_is_given_once_and_not_kept_for_ever() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        task = await here.tasks.create(AGENT, "support", is_modern=True)
        await here.tasks.ask(task, {"1-q": QUESTION})
        await there.tasks.give(task, {"1-q": ACCEPTED, "1-x": ACCEPTED, "1-y": "no answer"})
        await there.tasks.give(task, {"1-q": {"action": "decline"}})
        given = await here.tasks.answers(task)
        await here.tasks.settle(task, ["1-q"])
        return given, await here.tasks.answers(task), (await ask(there, "tasks/get", taskId=task.id))["status"]

    assert run_twice(use) == ({"1-q": ACCEPTED}, {}, "working")


@with_database
def test_answers_that_are_too_long_are_refused() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        task = await here.tasks.create(AGENT, "support", is_modern=True)
        return await ask(
            there, "tasks/update", taskId=task.id, inputResponses={"q": {"x": "y" * task_methods.ANSWERS_LIMIT}}
        )

    assert run_twice(use)["code"] == -32602


@with_database
@pytest.mark.parametrize("what", ["question", "result"])
def test_a_process_that_ends_waits_for_nobody(what: str) -> None:
    heard: list[str] = []

    async def talk(relay: Relay) -> None:
        with pytest.raises(NotAnswered) as refusal:
            await relay.ask({"q": QUESTION})
        heard.append(refusal.value.message)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        client, serving = start(here, is_modern=False, session=await a_session(here, **ELICITATION))
        await client.is_complete.wait()
        task_id = client.result["task"]["taskId"]
        await until(there, task_id, "input_required", is_modern=False)
        if what == "result":
            waiting = asyncio.create_task(ask(there, "tasks/result", is_modern=False, taskId=task_id))
            await asyncio.sleep(0)
            there.waiting.end()
            told = await waiting
        here.waiting.end()
        await serving
        new, refused = start(here, is_modern=False)
        await refused
        ended = await ask(there, "tasks/get", is_modern=False, taskId=task_id)
        return told if what == "result" else ended["status"], new.status

    told, status = run_twice(use)
    assert heard == [ENDING]
    assert status == 503, "nothing new begins to wait"
    assert told == "completed" if what == "question" else ENDING in told["message"]


@with_database
def test_one_agent_does_not_take_every_place() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()
        here.conversation = lambda relay: go_on.wait()  # type: ignore[assignment,return-value]
        with ExitStack() as held:
            for _ in range(CALLS_OF_ONE):
                held.enter_context(here.waiting.calls.taken(AGENT))
            with here.waiting.calls.taken(OTHER_AGENT):
                client, serving = start(here, is_modern=False)
                await serving
        return client.status, here.waiting.calls.count

    assert run_twice(use) == (503, 0)


@with_database
def test_a_question_that_nobody_answers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(tasks, "QUESTION_SECONDS", 0.05)

    async def talk(relay: Relay) -> None:
        try:
            await relay.ask({"q": QUESTION})
        except NotAnswered as refusal:
            heard.append(refusal.message)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = talk
        client, serving = start(here, is_modern=False, session=await a_session(here, **ELICITATION))
        await serving
        return await ask(there, "tasks/get", is_modern=False, taskId=client.result["task"]["taskId"])

    assert run_twice(use)["status"] == "completed"
    assert heard == ["The caller's side did not answer in time."]


# -- being told


@with_database
def test_changes_are_told_at_every_process_to_their_own_agent_only() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        own: asyncio.Queue[Task] = asyncio.Queue()
        foreign: asyncio.Queue[Task] = asyncio.Queue()
        listening = [
            asyncio.create_task(there.tasks.changed(AGENT, "support", own.put, is_modern=True)),
            asyncio.create_task(there.tasks.changed(OTHER_AGENT, "support", foreign.put, is_modern=True)),
        ]
        await asyncio.sleep(0)
        task = await here.tasks.create(AGENT, "support", is_modern=True)
        await here.tasks.change(task, "input_required", {"requests": {"q": QUESTION}})
        first = await own.get()
        await here.tasks.change(task, "completed", {"result": {"content": DONE}})
        second = await own.get()
        for each in listening:
            each.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        return notification(first), notification(second), own.empty(), foreign.empty()

    first, second, is_all, nobody_else = run_twice(use)
    assert (first["method"], first["params"]["status"]) == ("notifications/tasks", "input_required")
    assert first["params"]["inputRequests"] == {"q": QUESTION}
    assert (second["params"]["status"], second["params"]["result"]) == ("completed", {"content": DONE})
    assert is_all
    assert nobody_else


@with_database
def test_tasks_are_forgotten_in_time() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        old, new = [await here.tasks.create(AGENT, "support", is_modern=True) for _ in range(2)]
        await asyncio.to_thread(expire, old.id)
        return new.id, await ask(there, "tasks/get", taskId=old.id), await ask(there, "tasks/get", taskId=new.id)

    new_id, old, new = run_twice(use)
    assert old == UNKNOWN, "before anybody cleaned up"
    assert new["taskId"] == new_id
    forget_what_is_over()
    assert McpTask.objects.count() == 1


def expire(task_id: str) -> None:
    rows = McpTask.objects.filter(digest=task_table._digest(task_id))
    rows.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    connection.close()


# -- every order of events


STATUSES = sorted(McpTask.Status)


class TaskLives(RuleBasedStateMachine):
    """Two processes change, cancel, lose and read the same tasks: what has ended never changes again."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.agent = uuid4().hex
        self.runner = asyncio.Runner()
        self.processes = two_processes()
        self.both = self.runner.run(self.processes.__aenter__())
        self.ended: dict[str, tuple[str, Any]] = {}
        self.live: dict[str, str] = {}
        self.dead: set[UUID] = set()

    @rule(target=made, by=some.sampled_from((0, 1)))
    def create(self, by: int) -> Task:
        task = self.runner.run(self.both[by].tasks.create(self.agent, "support", is_modern=True))
        if self.both[by].process_id in self.dead:
            self.ended[task.id] = ("failed", None)
        else:
            self.live[task.id] = "working"
        return task

    @rule(
        task=made, by=some.sampled_from((0, 1)), status=some.sampled_from(sorted(McpTask.Status)), mark=some.integers()
    )
    def change(self, task: Task, by: int, status: str, mark: int) -> None:
        is_changed = self.runner.run(self.both[by].tasks.change(task, status, {"result": {"mark": mark}}))
        assert is_changed is (task.id in self.live)
        if not is_changed:
            return
        if status in LIVE:
            self.live[task.id] = status
        else:
            del self.live[task.id]
            self.ended[task.id] = (status, {"mark": mark})

    @rule(by=some.sampled_from((0, 1)))
    def die(self, by: int) -> None:
        """Who is declared dead takes its live tasks along, at the next look."""
        self.dead.add(self.both[by].process_id)
        self.runner.run(asyncio.to_thread(bury, self.both[by].process_id))
        for task_id in self.runner.run(asyncio.to_thread(self._owned, self.both[by].process_id)):
            if self.live.pop(task_id, None):
                self.ended[task_id] = ("failed", None)

    @rule(by=some.sampled_from((0, 1)))
    def clean_up(self, by: int) -> None:
        self.runner.run(asyncio.to_thread(self._forget))

    @invariant()
    def all_read_the_same(self) -> None:
        for ports in self.both:
            page, _ = self.runner.run(ports.tasks.page(self.agent, "support", is_modern=True, cursor=None))
            read = {task.id: task for task in page}
            assert {task_id: task.status for task_id, task in read.items() if not task.is_over} == self.live
            assert {task_id for task_id, task in read.items() if task.is_over} == self.ended.keys()
            for task_id, (status, result) in self.ended.items():
                assert read[task_id].status == status
                assert result is None or read[task_id].content["result"] == result

    def teardown(self) -> None:
        self.runner.run(self.processes.__aexit__(None, None, None))
        self.runner.close()

    def _owned(self, process_id: UUID) -> list[str]:
        digests = {bytes(row.digest) for row in McpTask.objects.filter(process_id=process_id)}
        connection.close()
        return [task_id for task_id in (*self.live, *self.ended) if task_table._digest(task_id) in digests]

    def _forget(self) -> None:
        forget_what_is_over()
        connection.close()


@with_database
def test_a_task_keeps_its_end_in_every_order_of_events() -> None:
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    chosen = settings(max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(TaskLives, settings=chosen)
