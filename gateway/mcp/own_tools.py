"""Two tools of our own, where the organisation lets agents ask: for access for a time, and how their requests stand.

Nothing here decides. An agent asks for what the people it works for may use; whatever else it names does not exist.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.event import AuditEvent
from gateway import refusals
from gateway.call import Answer
from gateway.commit.entry import Entry, EvidenceUnavailable, Verdict
from gateway.mcp.context import Context
from gateway.mcp.errors import METHOD_NOT_FOUND
from gateway.mcp.exchange import Exchange, may_hear
from gateway.mcp.frames import bare_frame
from gateway.mcp.revisions import APPROVALS, REQUEST_ACCESS
from gateway.mcp.tasks import wants_task
from gateway.mcp.waiting import Crowded
from gateway.pipeline import DECISIONS, refused_answer
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.requests_of_agents import CannotAsk, Standing, Wish
from gateway.run_sessions import session_at
from governance.snapshot import Bundle, Tool

MOST_MINUTES = 24 * 60
REASON_LIMIT = 500
NO_TASKS = Answer(error={"code": METHOD_NOT_FOUND, "message": "This tool does not run as a task."})
UNKNOWN = "There is no such bundle or tool that you could ask for."

DEFINITIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        REQUEST_ACCESS: {
            "title": "Ask for access",
            "description": (
                "Asks the people in charge for a bundle, or for one tool, for some minutes. Nothing is given at once:"
                f" a human decides. Then see {APPROVALS}."
            ),
            "inputSchema": {
                "type": "object",
                "properties": {
                    "bundle": {"type": "string", "description": "Name of a bundle; or else say a tool."},
                    "tool": {"type": "string", "description": "As <connector>__<tool>."},
                    "minutes": {"type": "integer", "minimum": 1, "maximum": MOST_MINUTES},
                    "reason": {"type": "string", "minLength": 1, "maxLength": REASON_LIMIT},
                },
                "required": ["minutes", "reason"],
                "additionalProperties": False,
            },
        },
        APPROVALS: {
            "title": "How your requests for approval stand",
            "description": "Lists your latest requests; with the id of one, waits until it is decided, for a while.",
            "inputSchema": {
                "type": "object",
                "properties": {"id": {"type": "string", "description": "Wait for this one, e.g. APR-17."}},
                "additionalProperties": False,
            },
            "annotations": {"readOnlyHint": True},
        },
    }
)


class _Wrong(Exception):
    """Says which argument is wrong, and how it would be right."""


def is_own(context: Context, name: str) -> bool:
    return name in DEFINITIONS and context.caller.snapshot.agents_may_ask


async def serve(context: Context, name: str, arguments: Any, ports: Ports) -> None:
    """Never as a task of the client's: these answer in time, whatever they wait for."""
    exchange = Exchange(context, ports)
    if wants_task(context):
        await exchange.answer(NO_TASKS)
        return
    try:
        answer = await ACTS[name](context, arguments if isinstance(arguments, Mapping) else {}, exchange, ports)
    except (_Wrong, CannotAsk) as error:
        answer = _said(str(error), is_error=True)
    except EvidenceUnavailable:
        answer = refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))
    await exchange.answer(answer)


async def _request_access(context: Context, arguments: Mapping[str, Any], _: Exchange, ports: Ports) -> Answer:
    """The wish itself is the evidence. Raises CannotAsk."""
    minutes, reason = arguments.get("minutes"), arguments.get("reason")
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 0 < minutes <= MOST_MINUTES:
        raise _Wrong(f"'minutes' must be a number from 1 to {MOST_MINUTES}.")
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= REASON_LIMIT:
        raise _Wrong(f"'reason' must say what it is needed for, in at most {REASON_LIMIT} characters.")
    bundle, tool = _wanted(context, arguments, ports.now())
    tool_id, person_id = tool.id if tool is not None else "", context.caller.credential.person_id
    wish = Wish(context.agent_id, bundle.id, tool_id, minutes, reason.strip(), person_id)
    return _told(await ports.requests.ask(wish, context.caller.snapshot), ports.now())


def _wanted(context: Context, arguments: Mapping[str, Any], now: datetime) -> tuple[Bundle, Tool | None]:
    """Among what the people hold for whom the agent works. Raises _Wrong, the same for what is not there at all."""
    snapshot, caller = context.caller.snapshot, context.caller
    held = snapshot.person_bundles(caller.person.id, now)
    if isinstance(name := arguments.get("bundle"), str):
        for bundle in held:
            if bundle.name == name:
                return bundle, None
    elif isinstance(name := arguments.get("tool"), str):
        for bundle in held:
            if (tool := bundle.by_union_name.get(name)) is not None:
                return bundle, tool
    raise _Wrong(UNKNOWN)


async def _approvals(context: Context, arguments: Mapping[str, Any], exchange: Exchange, ports: Ports) -> Answer:
    found = await ports.requests.latest(context.agent_id)
    wanted = arguments.get("id")
    if wanted is not None:
        found = [standing for standing in found if standing.name == wanted]
        if not found:
            raise _Wrong("You have no such request.")
        if found[0].state == "pending":
            await _wait(context, found[0].key, exchange, ports)
            found = [standing for standing in await ports.requests.latest(context.agent_id) if standing.name == wanted]
    if not await _is_recorded(context, len(found), ports):
        return refused_answer(Refusal(refusals.BAD_TOKEN))
    text = "\n".join(_line(standing) for standing in found) or "You have no requests."
    return _said(text, {"requests": [_as_json(standing) for standing in found]})


async def _wait(context: Context, key: UUID, exchange: Exchange, ports: Ports) -> None:
    if not exchange.can_stream:
        return
    with suppress(Crowded, TimeoutError), ports.waiting.held.taken(context.agent_id):
        await exchange.begin()
        with exchange.attended():
            async with ports.waiting.at_most(None):
                await ports.held.changed(key, settings.GATEWAY_HOLD_SECONDS, while_=partial(may_hear, context, ports))


async def _is_recorded(context: Context, count: int, ports: Ports) -> bool:
    """What was decided meanwhile may have changed what the agent may do: it hears of it as it is now, or not at all.

    Raises EvidenceUnavailable.
    """
    for _ in range(DECISIONS):
        if not may_hear(context, ports):
            return False
        committed = await ports.commit(_disclosed(context, count, ports))
        if committed.verdict is Verdict.COMMITTED:
            return True
        await ports.snapshot_at_least(committed.epoch)
    raise EvidenceUnavailable("permissions change too fast")


def _disclosed(context: Context, count: int, ports: Ports) -> Entry:
    caller = context.caller
    at = ports.now()
    event = AuditEvent(
        kind="approvals.listed",
        at=at,
        actor=f"agent:{caller.agent.name}",
        agent=caller.agent.name,
        person=caller.person.email,
        decision="permit",
        process_id=ports.process_id,
        session=session_at(bare_frame(context), caller.agent.name, caller.person.email, at),
        decided_epoch=ports.snapshot().epoch,
        details={"endpoint": context.bundle or "*", "requests": count, "source_ip": context.request.source_ip},
    )
    reads = {f"agent:{caller.agent.id}", f"person:{caller.agent.owner.id}", f"credential:{caller.credential.id}"}
    reads |= caller.credential.reads
    return Entry(event, read_set=frozenset(reads))


def _told(standing: Standing, now: datetime) -> Answer:
    seconds = max(0, int((standing.expires_at - now).total_seconds()))
    text = f"{standing.name} waits for a human, {seconds // 60} minutes at most. See {APPROVALS}. {standing.url}"
    return _said(text, _as_json(standing))


def _line(standing: Standing) -> str:
    because = f" ({standing.because})" if standing.because else ""
    return f"{standing.name}: {standing.about}: {standing.state}{because}"


def _as_json(standing: Standing) -> dict[str, Any]:
    return {
        "id": standing.name,
        "about": standing.about,
        "state": standing.state,
        "url": standing.url,
        "expires_at": standing.expires_at.isoformat(),
    }


def _said(text: str, facts: dict[str, Any] | None = None, *, is_error: bool = False) -> Answer:
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": is_error}
    return Answer(result=result | ({"structuredContent": facts} if facts is not None else {}))


ACTS: Mapping[str, Callable[[Context, Mapping[str, Any], Exchange, Ports], Awaitable[Answer]]] = MappingProxyType(
    {REQUEST_ACCESS: _request_access, APPROVALS: _approvals}
)
