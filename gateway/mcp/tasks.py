"""Tasks in both of the protocol's forms: 2025-11-25, where the client asks for one, and the 2026-07-28 extension, where
we decide. Whoever may ask is settled by agent and endpoint: another's task is unknown.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from connectors.base import NotAnswered
from gateway.bus import Mailbox
from gateway.call import Answer
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp.asking import QUESTION_SECONDS, TOO_LATE, AtPost
from gateway.mcp.context import Context
from gateway.mcp.dressing import RELATED
from gateway.mcp.errors import INTERNAL_ERROR, INVALID_PARAMS
from gateway.mcp.exchange import Exchange, end_with_client, may_hear
from gateway.mcp.revisions import NEWEST_LEGACY, TASKS_EXTENSION
from gateway.mcp.task_table import OWNER_DIED, Status, Task
from gateway.mcp.waiting import ENDING
from gateway.ports import Ports
from gateway.sealing import NotOurs
from governance import canonical

logger = logging.getLogger(__name__)

ASK_ELSEWHERE = Answer(
    error={"code": INTERNAL_ERROR, "message": f"{ENDING} Ask for the task's result again."},
    status=503,
    retry_after_seconds=1,
)
POLL_MS = 1_000
RECORD_TRIES = 30
ANSWERS_LIMIT = 1024 * 1024
UNKNOWN = "Unknown task"
CANCEL = b"cancel"
"""The letter to the process that runs it; any other says that there are answers."""
CANCELLED = {"code": INTERNAL_ERROR, "message": "The task was cancelled."}


def wants_task(context: Context) -> bool:
    """2025-11-25: the client says so with the call."""
    return (
        context.revision == NEWEST_LEGACY
        and context.message.method == "tools/call"
        and isinstance(context.message.params.get("task"), dict)
    )


def bears_task(context: Context) -> bool:
    """2026-07-28: this request may be answered with a task."""
    extensions = context.capabilities.get("extensions")
    return (
        context.is_modern
        and context.message.method == "tools/call"
        and isinstance(extensions, Mapping)
        and TASKS_EXTENSION in extensions
    )


async def make_task(context: Context, ports: Ports) -> Task:
    """Raises EvidenceUnavailable."""
    wish = context.message.params.get("task")
    ttl = wish.get("ttl") if isinstance(wish, dict) and not context.is_modern else None
    return await ports.tasks.create(context.agent_id, context.bundle, is_modern=context.is_modern, ttl_ms=ttl)


def created(task: Task) -> Answer:
    """What the call is answered with."""
    return Answer(result={"resultType": "task", **modern(task)} if task.is_modern else {"task": legacy(task)})


class TaskAudience:
    """The client of a call that became a task: it asks for the status, and is asked through it."""

    def __init__(self, task: Task, ports: Ports) -> None:
        self.task = task
        self._tasks = ports.tasks
        self._waiting = ports.waiting
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._rounds = 0

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Keys are never used again in the task's life. Raises NotAnswered."""
        self._rounds += 1
        names = {key: f"{self._rounds}-{key}" for key in requests}
        waiting = {key: asyncio.get_running_loop().create_future() for key in requests}
        self._answers |= {names[key]: future for key, future in waiting.items()}
        try:
            async with self._waiting.at_most(QUESTION_SECONDS):
                await self._tasks.ask(self.task, {names[key]: request for key, request in requests.items()})
                return {key: await future for key, future in waiting.items()}
        except TimeoutError:
            raise NotAnswered(self._waiting.why(TOO_LATE)) from None
        except EvidenceUnavailable:
            raise NotAnswered("The question cannot be stored now.") from None
        finally:
            for name in names.values():
                del self._answers[name]
            with suppress(EvidenceUnavailable):
                await self._tasks.settle(self.task, names.values())

    async def hear(self, box: Mailbox, cancel: Callable[[], None]) -> None:
        """Takes what the client says of the task, at whichever process it says it."""
        while (letter := await box.next()) is not None:
            if letter == CANCEL:
                cancel()
                continue
            with suppress(EvidenceUnavailable):
                self._take(await self._tasks.answers(self.task))

    def _take(self, answers: Mapping[str, Any]) -> None:
        for name, answer in answers.items():
            future = self._answers.get(name)
            if future is not None and not future.done():
                future.set_result(answer)

    async def answer(self, answer: Answer) -> None:
        """The outcome is recorded already; here it becomes the client's, however long the database is away."""
        status, content, message = _ending(answer, is_modern=self.task.is_modern)
        for _ in range(RECORD_TRIES):
            try:
                await self._tasks.change(self.task, status, content, message=message)
                return
            except EvidenceUnavailable:
                await asyncio.sleep(1)
        logger.error("the end of a task could not be stored; it expires as it is")


def _ending(answer: Answer, *, is_modern: bool) -> tuple[str, dict[str, Any], str]:
    if answer.error is not None:
        return Status.FAILED, {"error": answer.error}, str(answer.error.get("message", ""))
    result = answer.result or {}
    is_failure = result.get("isError") is True and not is_modern
    return (Status.FAILED if is_failure else Status.COMPLETED), {"result": result}, ""


def modern(task: Task) -> dict[str, Any]:
    """The state of a task as `tasks/get` and `notifications/tasks` tell it."""
    told: dict[str, Any] = {
        "taskId": task.id,
        "status": task.status,
        "createdAt": _moment(task.created_at),
        "lastUpdatedAt": _moment(task.updated_at),
        "ttlMs": task.ttl_ms,
        "pollIntervalMs": POLL_MS,
    }
    if task.status_message:
        told["statusMessage"] = task.status_message
    if task.status == Status.INPUT_REQUIRED:
        told["inputRequests"] = task.content.get("requests", {})
    elif task.status == Status.COMPLETED:
        told["result"] = task.content["result"]
    elif task.status == Status.FAILED:
        told["error"] = task.content.get("error") or {"code": INTERNAL_ERROR, "message": OWNER_DIED}
    return told


def legacy(task: Task) -> dict[str, Any]:
    """The state of a task as `tasks/get`, `tasks/list` and `notifications/tasks/status` tell it."""
    told: dict[str, Any] = {
        "taskId": task.id,
        "status": task.status,
        "createdAt": _moment(task.created_at),
        "lastUpdatedAt": _moment(task.updated_at),
        "ttl": task.ttl_ms,
        "pollInterval": POLL_MS,
    }
    return told | {"statusMessage": task.status_message} if task.status_message else told


def notification(task: Task) -> dict[str, Any]:
    """Of a task that changed."""
    if task.is_modern:
        return {"jsonrpc": "2.0", "method": "notifications/tasks", "params": modern(task)}
    return {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": legacy(task)}


async def find_task(context: Context, task_id: Any, ports: Ports) -> Task | None:
    """None, too, for a task at an endpoint that the agent has lost. Raises EvidenceUnavailable."""
    if not may_hear(context, ports):
        return None
    return await ports.tasks.find(task_id, context.agent_id, context.bundle, is_modern=context.is_modern)


async def _get(context: Context, ports: Ports) -> Answer:
    task = await find_task(context, context.message.params.get("taskId"), ports)
    if task is None:
        return _unknown()
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
        await ports.bus.send(task.topic, CANCEL)
    elif not context.is_modern:
        return _invalid("The task has ended.")
    if context.is_modern:
        return Answer(result={})
    task = await find_task(context, task.id, ports)
    return Answer(result=legacy(task)) if task is not None else _unknown()


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


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


METHODS: Mapping[str, Callable[[Context, Ports], Awaitable[Answer | None]]] = {
    "tasks/get": _get,
    "tasks/result": _result,
    "tasks/list": _list,
    "tasks/cancel": _cancel,
    "tasks/update": _update,
}
"""None where the answer has been given already, on a stream."""
