"""Tasks in both of the protocol's forms: 2025-11-25, where the client asks for one, and the 2026-07-28 extension, where
we decide. Whoever may ask is settled by agent and endpoint: another's task is unknown.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from connectors.base import NotAnswered
from gateway.bus import Mailbox
from gateway.call import Answer
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp.asking import QUESTION_SECONDS, TOO_LATE
from gateway.mcp.context import Context
from gateway.mcp.errors import INTERNAL_ERROR
from gateway.mcp.exchange import may_hear
from gateway.mcp.revisions import NEWEST_LEGACY, TASKS_EXTENSION
from gateway.mcp.task_table import OWNER_DIED, Status, Task
from gateway.ports import Ports

logger = logging.getLogger(__name__)

POLL_MS = 1_000
HELD_POLL_MS = 3_000
"""Humans take their time."""
RECORD_TRIES = 30
CANCEL = b"cancel"
"""The letter to the process that runs it; any other says that there are answers."""


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
        "pollIntervalMs": _poll_ms(task),
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
        "pollInterval": _poll_ms(task),
    }
    return told | {"statusMessage": task.status_message} if task.status_message else told


def _poll_ms(task: Task) -> int:
    return POLL_MS if task.awaits is None else HELD_POLL_MS


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
