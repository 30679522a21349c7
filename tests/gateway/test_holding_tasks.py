"""A task that waits for humans: told until when, taken up by any process, run once, in both forms."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.mcp.task_table import NOBODY
from gateway.models import GatewayProcess, McpTask
from gateway.store import forget_what_is_over
from governance.models import ApprovalRequest
from tests.gateway.holding import (
    DENIED,
    DONE,
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
    OTHER_AGENT,
    TASKS,
    Client,
    StoredPorts,
    a_session,
    ask,
    call_message,
    empty_store,
    module_database,
    run_twice,
    until,
    with_database,
)

__all__ = ("desk", "empty_store", "module_database")


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
