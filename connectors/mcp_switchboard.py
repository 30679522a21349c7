"""Many requests over one stream in each direction, as stdio and the old HTTP+SSE have it: whom a message is for."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from connectors.base import Heard, UpstreamFailure
from connectors.mcp_peer import decoded, matched
from connectors.mcp_talk import Say, Talk, refusal_of

_RELATED_TASK: Final = "io.modelcontextprotocol/related-task"


class Running:
    """One of our requests that awaits its answer: await `answer` for the JSON-RPC response."""

    __slots__ = ("answer", "request_id", "size_bytes", "talk")

    def __init__(self, request_id: int, talk: Talk) -> None:
        self.request_id = request_id
        self.talk = talk
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.size_bytes = 0

    def fail(self, failure: UpstreamFailure) -> None:
        if not self.answer.done():
            self.answer.set_exception(failure)


class Switchboard:
    """Feed it each message of the upstream with `take`.

    Progress is found by its token. A question or a log message that does not say what it is about belongs to the one
    request that runs; while several run, it is nobody's: a question is refused, for it could reach the wrong caller.
    """

    def __init__(self, say: Say, *, heard: Heard | None = None) -> None:
        self._say = say
        self._heard = heard
        self._running: dict[int, Running] = {}

    @asynccontextmanager
    async def running(self, request_id: int, talk: Talk, deadline: asyncio.Timeout) -> AsyncIterator[Running]:
        """Registers a request before it is sent; `deadline` is what awaiting its answer is bounded by."""
        talk.attend(deadline, say=self._say, heard=self._heard)
        running = self._running[request_id] = Running(request_id, talk)
        try:
            yield running
        finally:
            del self._running[request_id]
            talk.hush()
            if running.answer.done() and not running.answer.cancelled():
                running.answer.exception()
            running.answer.cancel()

    @property
    def is_idle(self) -> bool:
        return not self._running

    async def take(self, document: bytes) -> None:
        """One message. Raises UpstreamFailure (`bad_answer`) for what is none; answers nobody waits for are dropped."""
        message = decoded(document)
        if "method" not in message:
            self._deliver(message, len(document))
            return
        running = self._whose(message)
        if running is None:
            await self._take_stray(message)
            return
        try:
            await running.talk.heed(message, token=running.request_id)
        except UpstreamFailure as failure:
            running.fail(failure)

    def fail(self, request_ids: Iterable[int], failure: UpstreamFailure) -> None:
        """Of an answer that cannot be read only guesses are known whom it is for; where one runs, it is that one."""
        named = [self._running[each] for each in set(request_ids) if each in self._running]
        alone = list(self._running.values()) if len(self._running) == 1 else []
        for running in named or alone:
            running.fail(failure)

    def fail_all(self, failure: UpstreamFailure) -> None:
        """The stream is gone."""
        for running in self._running.values():
            running.fail(failure)

    def _deliver(self, message: dict[str, Any], size_bytes: int) -> None:
        request_id = message.get("id")
        running = self._running.get(request_id) if type(request_id) is int else None
        if running is None or running.answer.done():
            return
        running.size_bytes = size_bytes
        try:
            running.answer.set_result(matched(message, running.request_id))
        except UpstreamFailure as failure:
            running.fail(failure)

    def _whose(self, message: dict[str, Any]) -> Running | None:
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if message["method"] == "notifications/progress":
            token = params.get("progressToken")
            return self._running.get(token) if type(token) is int else None
        if message["method"] == "notifications/cancelled":
            asked = params.get("requestId")
            return next((each for each in self._running.values() if each.talk.is_asking(asked)), None)
        meta = params.get("_meta")
        task = meta.get(_RELATED_TASK) if isinstance(meta, dict) else None
        if isinstance(task, dict):
            task_id = task.get("taskId")
            return next((each for each in self._running.values() if each.talk.task_id == task_id != ""), None)
        return next(iter(self._running.values())) if len(self._running) == 1 else None

    async def _take_stray(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if isinstance(message.get("id"), str | int):
            await self._say(refusal_of(message))
        elif self._heard is not None and isinstance(message["method"], str) and isinstance(params, dict):
            await self._heard(message["method"], params)
