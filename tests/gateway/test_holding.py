"""What clients see of a call that waits for humans, at two processes with one database: asked, held, decided, done.

The pipeline is a desk here, that only knows the request's row; see end_to_end/test_held_calls.py for the whole.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from gateway.bus import post
from gateway.call import Answer, Frame, Held
from gateway.held_rows import topic_of_request
from gateway.mcp import attendance, calls, holding, running
from gateway.mcp.holding import ELICITED, QUESTION, REASON_LIMIT, ROUNDS, elicits
from gateway.mcp.inputs import LIFETIME_SECONDS
from gateway.mcp.message import Message
from gateway.mcp.task_methods import METHODS
from gateway.mcp.task_table import NOBODY
from gateway.mcp.waiting import HELD_OF_ONE
from gateway.models import GatewayProcess, McpTask
from gateway.store import forget_what_is_over
from governance.models import ApprovalRequest
from tests import factories as make
from tests.gateway.storing import (
    AGENT,
    OTHER_AGENT,
    TASKS,
    Client,
    StoredPorts,
    a_session,
    call_message,
    context,
    empty_store,
    frame,
    module_database,
    run_twice,
    with_database,
)

__all__ = ("empty_store", "module_database")

State = ApprovalRequest.State
URL: dict[str, Any] = {"elicitation": {"url": {}}}
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
DONE = [{"type": "text", "text": "done"}]
DENIED = [{"type": "text", "text": "An approver said no."}]
WAITING = [{"type": "text", "text": "Call again after approval."}]


class Desk:
    """Stands for the pipeline: one call, its row, and what it had for effects. `wants_reason` as a rule may."""

    def __init__(self) -> None:
        self.effects = 0
        self.frames: list[Frame] = []
        self.wants_reason = False
        self.pending = timedelta(minutes=15)
        self.has_asked = asyncio.Event()

    async def run(self, frame: Frame, ports: StoredPorts) -> Answer:
        self.frames.append(frame)
        answer = await ports.tasks._thread.run(lambda: self._run(frame))
        self.has_asked.set()
        return answer

    def _run(self, frame: Frame) -> Answer:
        row = ApprovalRequest.objects.filter(state__in=ApprovalRequest.LIVE).first()
        is_new = row is None and frame.awaited is None
        if is_new:
            row = self._ask()
        elif row is None:
            row = ApprovalRequest.objects.filter(key=str(frame.awaited)).first()
        assert row is not None
        approved = ApprovalRequest.objects.filter(number=row.number, state=State.APPROVED)
        if approved.update(state=State.CONSUMED):
            self.effects += 1
            return Answer(result={"content": DONE})
        content = WAITING if row.state == State.PENDING else DENIED
        return Answer(result={"content": content, "isError": True}, held=self._view(row, is_new=is_new))

    def _ask(self) -> ApprovalRequest:
        now = datetime.now(UTC)
        return ApprovalRequest.objects.create(
            agent_id=UUID(AGENT),
            asked_digest=b"a" * 32,
            call_digest=b"c" * 32,
            created_at=now,
            expires_at=now + self.pending,
        )

    def _view(self, row: ApprovalRequest, *, is_new: bool) -> Held:
        url = f"https://gatehouse.example/approvals/{row.key}/"
        return Held(
            row.key, row.name, url, row.state, row.expires_at, 5, is_new, self.wants_reason and not row.stated_reason
        )


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(running, "WATCH_AFTER_SECONDS", 0.001)
    monkeypatch.setattr(running, "run", desk.run)
    return desk


def serve(ports: StoredPorts, message: Message | None = None, **fields: Any) -> tuple[Client, asyncio.Task[None]]:
    client = Client()
    of = context(client, message or call_message(1), **fields)
    return client, asyncio.create_task(calls.serve(of, frame(of), ports))


def modern(ports: StoredPorts, capabilities: Any = None, **params: Any) -> tuple[Client, asyncio.Task[None]]:
    return serve(ports, call_message(1, **params), is_modern=True, capabilities=capabilities or {})


async def decide(ports: StoredPorts, state: str) -> None:
    def write() -> None:
        rows = ApprovalRequest.objects.filter(state=State.PENDING)
        key = rows.values_list("key", flat=True).get()
        assert rows.update(state=state, revision=F("revision") + 1)
        post(topic_of_request(key), b"")

    await ports.tasks._thread.run(write)


async def row_of(ports: StoredPorts) -> ApprovalRequest:
    return await ports.tasks._thread.run(ApprovalRequest.objects.order_by("number").reverse()[:1].get)


async def is_waiting(ports: StoredPorts) -> None:
    """Until somebody waits for the row to change."""
    async with asyncio.timeout(10):
        while not any(topic.startswith("approval:") for topic in ports.bus._boxes):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def ask(ports: StoredPorts, method: str, *, is_modern: bool = True, **params: Any) -> Any:
    agent = params.pop("agent_id", AGENT)
    of = context(Client(), Message(method, 9, params), is_modern=is_modern, agent_id=agent)
    found = await METHODS[method](of, ports)
    assert found is not None
    return found.result if found.error is None else found.error


async def until(ports: StoredPorts, task_id: str, *statuses: str, is_modern: bool = True) -> Any:
    with ports.tasks.bell(AGENT) as bell:
        while True:
            told = await ask(ports, "tasks/get", is_modern=is_modern, taskId=task_id)
            if told["status"] in statuses:
                return told
            await bell()


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


# -- tasks


async def a_task(ports: StoredPorts) -> tuple[dict[str, Any], asyncio.Task[None]]:
    client, serving = modern(ports, TASKS)
    await client.is_complete.wait()
    return client.result, serving


@with_database
def test_a_task_waits_and_tells_for_what_and_until_when(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        told, serving = await a_task(here)
        await is_waiting(here)
        row, task = await row_of(here), await here.tasks._thread.run(McpTask.objects.get)
        got = await ask(there, "tasks/get", taskId=told["taskId"])
        stranger = await ask(there, "tasks/get", taskId=told["taskId"], agent_id=OTHER_AGENT)
        await decide(there, State.APPROVED)
        await serving
        return told, got, stranger, row, task, await until(there, told["taskId"], "completed")

    told, got, stranger, row, task, ended = run_twice(use)
    assert (told["resultType"], told["status"], told["pollIntervalMs"]) == ("task", "working", 3_000)
    assert told["statusMessage"].startswith(f"Waiting for approval {row.name}")
    assert timedelta(milliseconds=told["ttlMs"]) > row.expires_at - row.created_at
    assert (got["statusMessage"], got["ttlMs"]) == (told["statusMessage"], told["ttlMs"])
    assert stranger["message"] == "Unknown task"
    assert (task.process_id, task.approval_key) == (NOBODY, row.key)
    assert b"ticket_get" not in bytes(task.held_call)
    assert (ended["result"]["content"], desk.effects) == (DONE, 1)


@with_database
def test_denied_a_modern_task_completes_with_the_error_and_a_legacy_one_fails(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        told, serving = await a_task(here)
        await is_waiting(here)
        await decide(there, State.DENIED)
        await serving
        modern_end = await ask(here, "tasks/get", taskId=told["taskId"])
        session = await a_session(here)
        client, serving = serve(here, call_message(1, task={"ttl": 60_000}), session=session)
        await is_waiting(here)
        await decide(there, State.DENIED)
        await serving
        task_id = client.result["task"]["taskId"]
        legacy_end = await ask(here, "tasks/get", is_modern=False, taskId=task_id)
        return modern_end, legacy_end, await ask(there, "tasks/result", is_modern=False, taskId=task_id)

    modern_end, legacy_end, result = run_twice(use)
    assert (modern_end["status"], modern_end["result"]["isError"]) == ("completed", True)
    assert legacy_end["status"] == "failed"
    assert (result["content"], result["isError"]) == (DENIED, True)


@with_database
def test_the_process_that_waited_is_gone_and_another_takes_the_task_up_when_it_is_asked_for(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        told, serving = await a_task(here)
        await is_waiting(here)
        here.waiting.end()
        await serving
        undecided = await ask(there, "tasks/get", taskId=told["taskId"])
        await decide(there, State.APPROVED)
        return undecided, await until(there, told["taskId"], "completed", "failed")

    undecided, ended = run_twice(use)
    assert undecided["status"] == "working"
    assert (ended["status"], ended["result"]["content"], desk.effects) == ("completed", DONE, 1)


@with_database
def test_a_legacy_client_that_waits_for_the_result_takes_it_up_too(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here)
        client, serving = serve(here, call_message(1, task={"ttl": 60_000}), session=session)
        await is_waiting(here)
        here.waiting.end()
        await serving
        await decide(there, State.APPROVED)
        return await ask(there, "tasks/result", is_modern=False, taskId=client.result["task"]["taskId"])

    assert run_twice(use)["content"] == DONE
    assert desk.effects == 1


@with_database
def test_however_many_take_it_up_at_once_it_runs_once(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        told, serving = await a_task(here)
        await is_waiting(here)
        await decide(there, State.APPROVED)
        asking = [ask(ports, "tasks/get", taskId=told["taskId"]) for ports in (here, there) * 8]
        await asyncio.gather(serving, *asking)
        return await until(there, told["taskId"], "completed", "failed")

    ended = run_twice(use)
    assert (ended["result"]["content"], desk.effects) == (DONE, 1)
    assert len({found.call_id for found in desk.frames[1:]}) == 1


@with_database
@pytest.mark.parametrize(("state", "status"), [(State.APPROVED, "completed"), (State.CONSUMED, "failed")])
def test_what_a_dead_process_had_taken_up_goes_on_only_if_nothing_happened(desk: Desk, state: str, status: str) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        told, serving = await a_task(here)
        await is_waiting(here)
        here.waiting.end()
        await serving
        await decide(there, State.APPROVED)

        def die() -> None:
            McpTask.objects.update(process_id=here.process_id)
            ApprovalRequest.objects.update(state=state)
            GatewayProcess.objects.filter(id=here.process_id).update(ended_at=datetime.now(UTC))
            forget_what_is_over()

        await there.tasks._thread.run(die)
        return await until(there, told["taskId"], "completed", "failed")

    assert run_twice(use)["status"] == status


@with_database
def test_cancelling_the_task_withdraws_the_request(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        told, serving = await a_task(here)
        await is_waiting(here)
        acknowledged = await ask(there, "tasks/cancel", taskId=told["taskId"])
        await serving
        return acknowledged, await ask(here, "tasks/get", taskId=told["taskId"]), await row_of(here)

    acknowledged, ended, row = run_twice(use)
    assert acknowledged == {}
    assert ended["status"] == "cancelled"
    assert (row.state, desk.effects) == (State.CANCELLED, 0)


@with_database
def test_where_no_task_can_be_made_the_client_is_held(desk: Desk) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Client:
        here.waiting.calls.is_closed = True
        client, serving = modern(here, TASKS)
        await is_waiting(here)
        await decide(here, State.APPROVED)
        await serving
        return client

    assert run_twice(use).result["content"] == DONE


# -- 2025-11-25 and before


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
