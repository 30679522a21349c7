"""Governed requests: how one begins, is taken up again, is cancelled, and goes on when humans have decided."""

from contextlib import suppress
from functools import partial
from typing import Any

from gateway.call import Frame
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp.asking import take_reply
from gateway.mcp.context import Context
from gateway.mcp.exchange import may_hear
from gateway.mcp.holding import kept_call
from gateway.mcp.inputs import awaited_by_retry, call_id_of, rejoin, take_up
from gateway.mcp.running import RunningCall, cancel_topic
from gateway.mcp.task_table import Task
from gateway.mcp.waiting import Crowded
from gateway.ports import Ports
from gateway.values import changed

__all__ = ("cancel", "serve", "take_reply", "take_up_task")

LOOK_AGAIN_SECONDS = 60.0
"""How long a task waits for humans until somebody looks whether their time is over."""


async def serve(context: Context, frame: Frame, ports: Ports) -> None:
    """Runs the request and answers it. Raises ProtocolError before anything is done."""
    state, answers = take_up(context, frame)
    if state is not None and state.parked:
        await rejoin(context, frame, state, answers, ports)
    else:
        once = (
            changed(frame, call_id=call_id_of(state), awaited=awaited_by_retry(state)) if state is not None else frame
        )
        call = RunningCall(context, once, ports, state=state, answers=answers)
        await call.serve()
        if call.suspended is not None:
            await _stay_with(context, call.suspended, ports)
        await call.keep_promise()


async def cancel(context: Context, request_id: Any, ports: Ports) -> None:
    """`notifications/cancelled`: reaches the request at whichever process runs it. Raises EvidenceUnavailable."""
    if context.session is not None and isinstance(request_id, str | int):
        await ports.bus.send(cancel_topic(context.session.digest, request_id), b"", sender=context.agent_id)


async def take_up_task(context: Context, task: Task, ports: Ports) -> None:
    """Runs a task for which humans have decided, beside the request that asks for it, unless another process does."""
    if task.awaits is not None and not task.is_over:
        ports.waiting.go_on(_take_up(context, task, ports))


async def _take_up(context: Context, task: Task, ports: Ports) -> None:
    """Where there is no place for it now, it is for whoever comes next."""
    with suppress(Crowded, EvidenceUnavailable), ports.waiting.calls.taken(context.agent_id):
        call = await ports.tasks.claim(task)
        if call is not None:
            await RunningCall(context, kept_call(call, context, task.awaits), ports).run_as(task)


async def _stay_with(context: Context, task: Task, ports: Ports) -> None:
    """Waits for humans with a task, and runs it. The task does not need us: it belongs to nobody."""
    with suppress(Crowded, TimeoutError, EvidenceUnavailable), ports.waiting.held.taken(context.agent_id):
        is_heard = partial(may_hear, context, ports)
        while task.awaits is not None and not task.is_over:
            async with ports.waiting.at_most(None):
                await ports.held.changed(task.awaits, LOOK_AGAIN_SECONDS, while_=is_heard)
            if not is_heard():
                return
            await _take_up(context, task, ports)
            found = await ports.tasks.find(task.id, task.agent_id, task.bundle, is_modern=task.is_modern)
            if found is None:
                return
            task = found
