"""A governed request that runs, on behalf of its client: what its upstream may say meanwhile, and who hears its end.

The client may be at its POST, may have got a task instead, or may have gone to answer a question and come back with
another POST. A quick call that asks nothing costs no more than awaiting the pipeline.
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from connectors.base import NotAnswered
from gateway.bus import topic_of
from gateway.call import Answer, Frame, Held
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp.asking import POWERS, AtPost, powers_of
from gateway.mcp.attendance import WATCH_AFTER_SECONDS, Watch
from gateway.mcp.context import Context
from gateway.mcp.errors import INTERNAL_ERROR
from gateway.mcp.exchange import Exchange
from gateway.mcp.holding import Vigil, awaited_by, pending
from gateway.mcp.inputs import ASKABLE, ParkedCall, State, hand_back, is_question, parked_topic, resumed
from gateway.mcp.pages import to_page
from gateway.mcp.revisions import LOG_LEVELS
from gateway.mcp.session_ends import until_ended
from gateway.mcp.task_table import Task
from gateway.mcp.tasks import TaskAudience, bears_task, created, make_task, wants_task
from gateway.mcp.waiting import Crowded
from gateway.pipeline import run
from gateway.ports import Ports
from gateway.values import changed

logger = logging.getLogger(__name__)

TASK_AFTER_SECONDS = 5.0
NO_ANSWERS: Mapping[str, Any] = {}
PROGRESS, MESSAGE = "notifications/progress", "notifications/message"
NO_TASK = Answer(
    error={"code": INTERNAL_ERROR, "message": "No task can be made now; the call was not made."},
    status=503,
    retry_after_seconds=1,
)
FAILED = Answer(error={"code": INTERNAL_ERROR, "message": "Internal error."}, status=500)

Suspend = Callable[[Task], Awaitable[Task | None]]
"""Lets a task wait for humans."""


class RunningCall:
    """Is the relay of its own request: what the upstream says and asks comes here, screened."""

    def __init__(
        self,
        context: Context,
        frame: Frame,
        ports: Ports,
        *,
        state: State | None = None,
        answers: Mapping[str, Any] = NO_ANSWERS,
    ) -> None:
        self._context = context
        self._frame = frame
        self._resumption = resumed(state, answers)
        self._ports = ports
        self._exchange = Exchange(context, ports)
        self._retry = state, answers
        self._vigil: Vigil | None = None
        self.suspended: Task | None = None
        """What it became, if that waits for humans now: who wants to wait with it does so without this."""
        self._runner: asyncio.Task[Any] | None = None
        self._task: TaskAudience | None = None
        self._parked: ParkedCall | None = None
        self._moving = asyncio.Lock()
        self._held: ExitStack | None = None
        self._is_cancelled = False
        self._progress = -math.inf

    async def serve(self) -> None:
        self._runner = asyncio.current_task()
        try:
            with self._exchange.attended(*self._watches()):
                if wants_task(self._context):
                    await self._become_task()
                    if self._task is None:
                        await self._exchange.answer(NO_TASK)
                        return
                await self._deliver(await self._run())
        finally:
            self._let_go()

    async def run_as(self, task: Task) -> None:
        """For what is a task already, and its POST long answered."""
        self._runner = asyncio.current_task()
        self._exchange.is_over = True
        try:
            self._be(task)
            await self._deliver(await self._run())
        finally:
            self._let_go()

    async def keep_promise(self) -> None:
        """What is left to do for a client that has its answer."""
        if self._vigil is not None:
            await self._vigil.keep_promise()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()

    # -- what the upstream may do, and what it says

    @property
    def powers(self) -> Mapping[str, Any]:
        if not self._context.is_modern:
            return powers_of(self._context) if self._exchange.can_ask or self._task is not None else {}
        if self._frame.method not in ASKABLE:
            return {}
        return {name: self._context.capabilities[name] for name in POWERS if name in self._context.capabilities}

    @property
    def wants_progress(self) -> bool:
        return self._context.progress_token is not None and self._exchange.can_stream

    @property
    def log_level(self) -> str:
        level = self._context.log_level
        return level if level and self._exchange.can_stream else ""

    @property
    def can_resume(self) -> bool:
        is_at_post = self._task is None and self._parked is None
        return self._context.is_modern and is_at_post and self._frame.method in ASKABLE

    @property
    def takes_tasks(self) -> bool:
        return self._task is not None or bears_task(self._context)

    @property
    def polls_tasks(self) -> bool:
        return self.takes_tasks or not self._context.is_modern

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        told = self._progressed(params) if method == PROGRESS else self._logged(params) if method == MESSAGE else None
        if told is not None:
            await self._exchange.tell({"jsonrpc": "2.0", "method": method, "params": told})

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if self._task is not None:
            return await self._task.ask(requests)
        if self._context.is_modern:
            return await self._ask_by_retry(requests)
        return await AtPost(self._exchange, self._ports).ask(requests)

    async def became_task(self) -> None:
        if bears_task(self._context):
            await self._become_task()

    def _progressed(self, params: dict[str, Any]) -> dict[str, Any] | None:
        """Under the client's own token, and only forward."""
        progress = params.get("progress")
        if not self.wants_progress or isinstance(progress, bool) or not isinstance(progress, int | float):
            return None
        if not progress > self._progress:
            return None
        self._progress = progress
        return {**params, "progressToken": self._context.progress_token}

    def _logged(self, params: dict[str, Any]) -> dict[str, Any] | None:
        level, least = params.get("level"), self.log_level
        if level not in LOG_LEVELS or least not in LOG_LEVELS:
            return None
        return params if LOG_LEVELS.index(level) >= LOG_LEVELS.index(least) else None

    # -- running, and how it ends

    async def _run(self) -> Answer:
        """Whatever happens, somebody waits for an answer: a task would stay as it is for ever."""
        try:
            is_heard = self._context.is_modern or self.wants_progress or self.log_level or self.powers
            frame = changed(self._frame, relay=self, resumed=self._resumption) if is_heard else self._frame
            answer = await self._once(frame)
            return await self._await_humans(frame, answer, held) if (held := pending(answer)) else answer
        except Exception:
            logger.exception("unforeseen failure of a running call")
            return FAILED

    async def _once(self, frame: Frame) -> Answer:
        answer = await run(frame, self._ports)
        while self._task is not None and is_question(answer) and answer.result is not None:
            frame = changed(frame, resumed=await self._answers_for(self._task, answer.result), call_id=None)
            answer = await run(frame, self._ports)
        return to_page(self._context, frame, hand_back(self._context, frame, answer), self._retry[0])

    async def _await_humans(self, frame: Frame, answer: Answer, held: Held) -> Answer:
        """A task waits without us. Any other client is told, asked, or kept waiting."""
        if bears_task(self._context):
            await self._become_task(partial(self._suspend, frame=frame, held=held))
        if self._task is not None and self.suspended is None:
            with suppress(EvidenceUnavailable):
                self.suspended = await self._suspend(self._task.task, frame, held)
        if self._task is not None or self._is_cancelled:
            return answer
        self._vigil = Vigil(self._context, self._ports, self._exchange, *self._retry)
        return await self._vigil.keep(frame, answer, lambda key: self._once(changed(frame, awaited=key)))

    async def _suspend(self, task: Task, frame: Frame, held: Held) -> Task | None:
        return await self._ports.tasks.suspend(task, awaited_by(frame, held))

    async def _answers_for(self, task: TaskAudience, question: Mapping[str, Any]) -> dict[str, Any]:
        """The upstream asked by its result when the call was a task already, which has no other way to go on."""
        members = {"requestState": question["requestState"]} if "requestState" in question else {}
        try:
            return members | {"inputResponses": await task.ask(question.get("inputRequests", {}))}
        except NotAnswered:
            return members | {"inputResponses": {}}

    async def _deliver(self, answer: Answer) -> None:
        """Waits for a move under way. Where there is none it takes no lock, because who was answered moves no more."""
        if self._moving.locked():
            async with self._moving:
                await self._hand_over(answer)
        else:
            await self._hand_over(answer)

    async def _hand_over(self, answer: Answer) -> None:
        if self.suspended is not None:
            return
        if self._task is not None:
            await self._task.answer(answer)
        elif self._parked is not None:
            await self._parked.answer(answer)
        elif self._is_cancelled:
            await self._exchange.close()
        else:
            await self._exchange.answer(answer)

    # -- whom it is for

    async def _become_task(self, suspend: Suspend | None = None) -> None:
        """The client at the POST gets a task instead of the result. Nothing happens if none can be made."""
        async with self._moving:
            if self._task is not None or self._parked is not None or self._exchange.is_over:
                return
            with ExitStack() as place, suppress(Crowded, EvidenceUnavailable):
                place.enter_context(self._ports.waiting.calls.taken(self._context.agent_id))
                task = await make_task(self._context, self._ports)
                if suspend is not None:
                    task = self.suspended = await suspend(task) or task
                self._hold().enter_context(place.pop_all())
                self._be(task)
                await self._exchange.answer(created(task))

    def _be(self, task: Task) -> None:
        box = self._hold().enter_context(self._ports.bus.mailbox(task.topic))
        self._task = TaskAudience(task, self._ports)
        self._help(self._task.hear(box, self._cancel_soon))

    async def _ask_by_retry(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        async with self._moving:
            if self._parked is None:
                self._parked = self._park()
        return await self._parked.ask(requests)

    def _park(self) -> ParkedCall:
        try:
            self._hold().enter_context(self._ports.waiting.calls.taken(self._context.agent_id))
        except Crowded:
            raise NotAnswered("Too many calls wait for answers now.") from None
        parked = ParkedCall(self._context, self._frame, self._ports, self._exchange.answer)
        box = self._hold().enter_context(self._ports.bus.mailbox(parked_topic(parked.id)))
        self._help(parked.hear(box, self._cancel_soon))
        return parked

    # -- breaking off

    def _watches(self) -> list[Watch]:
        context = self._context
        if context.is_modern:
            return [self._watch_client, self._watch_clock] if bears_task(context) else [self._watch_client]
        if context.session is None or context.message.id is None or wants_task(context):
            return []
        session = context.session.digest
        return [
            partial(self._watch_for_notice, session, context.message.id),
            partial(self._watch_for_end, session),
        ]

    async def _watch_client(self) -> None:
        """Who leaves cancels, in this era."""
        if await self._exchange.client_left():
            await self._cancel()

    async def _watch_clock(self) -> None:
        await asyncio.sleep(TASK_AFTER_SECONDS - WATCH_AFTER_SECONDS)
        await self._become_task()

    async def _watch_for_notice(self, session: bytes, request_id: str | int) -> None:
        with self._ports.bus.mailbox(cancel_topic(session, request_id)) as box:
            await box.next()
        await self._cancel()

    async def _watch_for_end(self, session: bytes) -> None:
        await until_ended(session, self._ports.bus)
        await self._cancel()

    async def _cancel(self) -> None:
        """Breaks off the upstream's work and nothing else: the outcome is recorded as that of any other call. Before
        the request is sent there is nothing to break off, but a moment later there may be."""
        self._is_cancelled = True
        if self._vigil is not None:
            self._vigil.leave()
        while self._runner is not None and not self._ports.cancel(self._runner):  # noqa: ASYNC110  (rarely more than once)
            await asyncio.sleep(WATCH_AFTER_SECONDS)

    def _cancel_soon(self) -> None:
        self._help(self._cancel())

    def _help(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs beside the call and ends with it."""
        self._hold().callback(asyncio.create_task(work).cancel)

    def _hold(self) -> ExitStack:
        """What is given back when the call is over; hardly any call has something."""
        if self._held is None:
            self._held = ExitStack()
        return self._held


def cancel_topic(session: bytes, request_id: str | int) -> str:
    """Where `notifications/cancelled` for this request is heard, at whichever process."""
    return topic_of("cancel", session.hex(), json.dumps(request_id))
