"""The methods by which a client asks for its tasks, ends them and answers what they ask. Asking for one that has waited
for humans also takes it up, where the process that waited with it is gone.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from connectors.base import NotAnswered
from gateway.call import Answer
from gateway.mcp.asking import AtPost
from gateway.mcp.calls import take_up_task
from gateway.mcp.context import Context
from gateway.mcp.dressing import RELATED
from gateway.mcp.errors import INTERNAL_ERROR, INVALID_PARAMS
from gateway.mcp.exchange import Exchange, end_with_client, may_hear
from gateway.mcp.task_table import OWNER_DIED, Status, Task
from gateway.mcp.tasks import CANCEL, find_task, legacy, modern
from gateway.mcp.waiting import ENDING
from gateway.ports import Ports
from gateway.sealing import NotOurs
from governance import canonical

ASK_ELSEWHERE = Answer(
    error={"code": INTERNAL_ERROR, "message": f"{ENDING} Ask for the task's result again."},
    status=503,
    retry_after_seconds=1,
)
ANSWERS_LIMIT = 1024 * 1024
UNKNOWN = "Unknown task"
CANCELLED = {"code": INTERNAL_ERROR, "message": "The task was cancelled."}


async def _get(context: Context, ports: Ports) -> Answer:
    task = await find_task(context, context.message.params.get("taskId"), ports)
    if task is None:
        return _unknown()
    await take_up_task(context, task, ports)
    return Answer(result=modern(task) if context.is_modern else legacy(task))


async def _update(context: Context, ports: Ports) -> Answer:
    answers = context.message.params.get("inputResponses")
    if not isinstance(answers, dict):
        return _invalid("'inputResponses' must be an object.")
    if len(canonical.encode(answers)) > ANSWERS_LIMIT:
        return _invalid(f"'inputResponses' is over the limit of {ANSWERS_LIMIT} bytes.")
    task = await find_task(context, context.message.params.get("taskId"), ports)
    if task is None:
        return _unknown()
    await ports.tasks.give(task, answers)
    return Answer(result={})


async def _cancel(context: Context, ports: Ports) -> Answer:
    task = await find_task(context, context.message.params.get("taskId"), ports)
    if task is None:
        return _unknown()
    is_cancelled = await ports.tasks.change(task, Status.CANCELLED, {}, message="Cancelled by the client.")
    if is_cancelled:
        await _withdraw(task, ports)
    elif not context.is_modern:
        return _invalid("The task has ended.")
    if context.is_modern:
        return Answer(result={})
    task = await find_task(context, task.id, ports)
    return Answer(result=legacy(task)) if task is not None else _unknown()


async def _withdraw(task: Task, ports: Ports) -> None:
    """Nobody need decide any more, or the process that runs it breaks it off."""
    if task.awaits is not None:
        await ports.held.withdraw(task.awaits)
    await ports.bus.send(task.topic, CANCEL)


async def _list(context: Context, ports: Ports) -> Answer:
    cursor = context.message.params.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        return _invalid("'cursor' must be a string.")
    try:
        tasks, following = await ports.tasks.page(
            context.agent_id, context.bundle, is_modern=context.is_modern, cursor=cursor
        )
    except NotOurs:
        return _invalid("This cursor was not issued here.")
    listed: dict[str, Any] = {"tasks": [legacy(task) for task in tasks]}
    return Answer(result=listed | {"nextCursor": following} if following else listed)


async def _result(context: Context, ports: Ports) -> Answer | None:
    """Waits for the task's end. Meanwhile it passes its questions on to the client, on this answer's stream. None if
    it has answered there."""
    exchange = Exchange(context, ports)
    try:
        with ports.waiting.answers.taken(context.agent_id):
            async with ports.waiting.at_most(None) as scope:
                with exchange.attended(partial(end_with_client, context, scope)):
                    answer = await _ended(context, AtPost(exchange, ports), ports)
    except TimeoutError:
        answer = ASK_ELSEWHERE
    if not exchange.is_streaming:
        return answer
    await exchange.answer(answer)
    return None


async def _ended(context: Context, post: AtPost, ports: Ports) -> Answer:
    task = await find_task(context, context.message.params.get("taskId"), ports)
    if task is None:
        return _unknown()
    asked = set[str]()
    with ports.tasks.bell(context.agent_id) as bell:
        while task is not None and not task.is_over and may_hear(context, ports):
            await take_up_task(context, task, ports)
            await _pass_on(task, post, asked, ports)
            await bell()
            task = await find_task(context, task.id, ports)
    return _outcome(task) if task is not None and task.is_over and may_hear(context, ports) else _unknown()


async def _pass_on(task: Task, post: AtPost, asked: set[str], ports: Ports) -> None:
    """Each question once."""
    fresh = {key: it for key, it in task.content.get("requests", {}).items() if key not in asked}
    if not fresh or not post.can_ask:
        return
    asked.update(fresh)
    with suppress(NotAnswered):
        await ports.tasks.give(task, await post.ask(fresh, meta={RELATED: {"taskId": task.id}}))


def _outcome(task: Task) -> Answer:
    """What the call itself would have been answered."""
    if task.status == Status.CANCELLED:
        return Answer(error=CANCELLED)
    if "result" not in task.content:
        return Answer(error=task.content.get("error") or {"code": INTERNAL_ERROR, "message": OWNER_DIED})
    result = task.content["result"]
    meta = result["_meta"] if isinstance(result.get("_meta"), dict) else {}
    return Answer(result={**result, "_meta": {**meta, RELATED: {"taskId": task.id}}})


def _unknown() -> Answer:
    return _invalid(UNKNOWN)


def _invalid(text: str) -> Answer:
    return Answer(error={"code": INVALID_PARAMS, "message": text})


METHODS: Mapping[str, Callable[[Context, Ports], Awaitable[Answer | None]]] = {
    "tasks/get": _get,
    "tasks/result": _result,
    "tasks/list": _list,
    "tasks/cancel": _cancel,
    "tasks/update": _update,
}
"""None where the answer has been given already, on a stream."""
