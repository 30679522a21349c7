"""Tasks of upstreams, polled to their end: the extension of the modern era and the experimental ones of 2025-11-25."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from connectors.base import NotAnswered, UpstreamFailure
from connectors.mcp_peer import Channel, Reply, Request, bad_answer, is_error, not_answered
from connectors.mcp_talk import LONGEST_SECONDS, Talk

SHORTEST_POLL_SECONDS: Final = 0.2
LONGEST_POLL_SECONDS: Final = 10.0
USUAL_POLL_MS: Final = 1000
FAILED_POLLS: Final = 3
"""In a row; polling only reads, so a lost answer is asked for again."""
LONGEST_TASK_ID: Final = 1024

_RELATED: Final = "io.modelcontextprotocol/related-task"
_WORKING: Final = "working"
_WAITING: Final = "input_required"
_OVER: Final = frozenset(("completed", "failed", "cancelled"))
_CANCELLED: Final = {"code": -32603, "message": "The upstream cancelled its task."}


def task_of(reply: Reply) -> dict[str, Any] | None:
    """The task an upstream answers with instead of a result."""
    result = (reply.message or {}).get("result")
    if result is None:
        return None
    if reply.wire.is_modern:
        return result if result.get("resultType") == "task" else None
    task = result.get("task")
    return task if isinstance(task, dict) and "taskId" in task and "content" not in result else None


async def finished(channel: Channel, created: Reply, talk: Talk) -> Reply:
    """The answer to the request that became this task. When it is not waited for, the task is cancelled."""
    task = task_of(created) or {}
    task_id = task.get("taskId")
    if not isinstance(task_id, str) or not 0 < len(task_id) <= LONGEST_TASK_ID:
        raise bad_answer("The upstream made a task without an id.")
    await talk.become_task(task_id)
    try:
        polling = _Polling(channel, talk, task)
        return replace(created, message=await (_modern if created.wire.is_modern else _legacy)(polling))
    except (asyncio.CancelledError, UpstreamFailure):
        channel.cancel_task(task_id)
        raise


class _Polling:
    """One task as last heard of."""

    def __init__(self, channel: Channel, talk: Talk, task: Mapping[str, Any]) -> None:
        self.channel = channel
        self.talk = talk
        self.task = task
        self.task_id: str = task["taskId"]
        self._failures = 0

    async def send(self, method: str, *, seconds: float | None = None, **params: Any) -> Reply | None:
        """None when the answer was lost, which may not happen often in a row."""
        request = Request(method, {"taskId": self.task_id, **params}, self.task_id, seconds=seconds)
        try:
            reply = await self.channel.exchange(request, self.talk)
        except UpstreamFailure:
            self._failures += 1
            if self._failures >= FAILED_POLLS:
                raise
            return None
        self._failures = 0
        return reply

    async def next(self) -> str:
        """Waits as long as the upstream wants and asks again; the status."""
        await asyncio.sleep(_interval(self.task))
        self.talk.seconds_left()
        reply = await self.send("tasks/get")
        if reply is not None:
            self.task = _state(reply)
        status: str = self.task["status"]
        return status


async def _modern(polling: _Polling) -> dict[str, Any]:
    answered: set[str] = set()
    while (status := await polling.next()) not in _OVER:
        if status == _WAITING:
            await _answer_questions(polling, answered)
    task = polling.task
    if status == "completed" and isinstance(task.get("result"), dict):
        return {"result": task["result"]}
    if status == "failed" and is_error(task.get("error")):
        return {"error": task["error"]}
    if status == "cancelled":
        return {"error": _CANCELLED}
    raise bad_answer("The upstream's task ended without an outcome.")


async def _answer_questions(polling: _Polling, answered: set[str]) -> None:
    """A key names one question for the task's whole life: what was answered is not asked again."""
    asked = polling.task.get("inputRequests")
    if not isinstance(asked, dict):
        raise bad_answer("The upstream's task waits for an input that it does not name.")
    fresh = {key: question for key, question in asked.items() if key not in answered}
    if not fresh:
        return
    try:
        responses = await polling.talk.ask(fresh)
    except NotAnswered as refusal:
        raise not_answered(refusal) from None
    if await polling.send("tasks/update", inputResponses=responses) is not None:
        answered.update(fresh)


async def _legacy(polling: _Polling) -> dict[str, Any] | None:
    """`tasks/result` blocks until the task is over, and is where it asks its questions."""
    while True:
        if await polling.next() != _WORKING:
            reply = await polling.send("tasks/result", seconds=LONGEST_SECONDS)
            if reply is not None:
                return _by_itself(reply.message or {})


def _by_itself(message: dict[str, Any]) -> dict[str, Any]:
    """Without the upstream's name of its task, which is nobody else's."""
    result = message.get("result")
    meta = result.get("_meta") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(meta, dict) or _RELATED not in meta:
        return message
    kept = {key: value for key, value in meta.items() if key != _RELATED}
    bare = {key: value for key, value in result.items() if key != "_meta"}
    return {**message, "result": bare | ({"_meta": kept} if kept else {})}


def _interval(task: Mapping[str, Any]) -> float:
    wanted = task.get("pollIntervalMs", task.get("pollInterval"))
    milliseconds = wanted if isinstance(wanted, int | float) else USUAL_POLL_MS
    return min(max(milliseconds / 1000, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)


def _state(reply: Reply) -> dict[str, Any]:
    """An error here means that the task is not known any more, and with it what became of the request."""
    task: dict[str, Any] | None = (reply.message or {}).get("result")
    if task is None:
        raise bad_answer("The upstream does not know its task any more.")
    if task.get("status") not in (_WORKING, _WAITING, *_OVER):
        raise bad_answer("The upstream's task is in no state that Gatehouse knows.")
    return task
