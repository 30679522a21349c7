"""What a client sees of a call that waits for humans, as its revision and capabilities allow.

Every view is the same act: wait until the request for approval changes, then run the call again. Nothing decides here
but the request's row, so a client may say what it likes: its own user's yes is no approval.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.event import uuid7
from connectors.base import NotAnswered
from gateway.bus import topic_of
from gateway.call import Answer, Frame, Held
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp.asking import AtPost
from gateway.mcp.context import Context
from gateway.mcp.errors import URL_ELICITATION_REQUIRED
from gateway.mcp.exchange import Exchange, may_hear
from gateway.mcp.inputs import ASKABLE, State, asked, seal_state
from gateway.mcp.revisions import NEWEST_LEGACY, OLDEST_LEGACY
from gateway.mcp.task_table import Awaited
from gateway.mcp.waiting import Crowded
from gateway.ports import Ports
from governance import canonical

QUESTION = "approval"
"""Key of our own question among a client's answers."""
RETRY_SECONDS = 20.0
"""A retry is held so long before it is asked to come again: SDK clients repeat at once, and give up after ten times."""
ROUNDS = 8
PROGRESS_SECONDS = 10.0
REASON_LIMIT = 500
RUNNING = timedelta(minutes=15)
"""How much longer than its approval can come a task is kept: to run, and to be asked for its result."""
ELICITED = topic_of("elicited")
"""Topic on which processes tell each other that a page which a session was sent to has nothing more to ask."""
STORED = (
    "bundle",
    "name",
    "arguments",
    "revision",
    "session_id",
    "trace",
    "client",
    "method",
    "resumed",
    "stated_reason",
    "stated_context",
)
"""Of a call that is kept with its task: all but the agent's key, which whoever runs it brings."""

Again = Callable[[UUID], Awaitable[Answer]]
"""Runs the call again for somebody who has waited for this request."""


def pending(answer: Answer) -> Held | None:
    """What humans have not decided yet, if the answer says that the call waits for it."""
    return answer.held if answer.held is not None and answer.held.state == "pending" else None


def elicits(context: Context, mode: str) -> bool:
    """Whether this client can ask its user in this way; a bare `elicitation` means forms."""
    declared = context.capabilities.get("elicitation")
    if not isinstance(declared, Mapping) or context.revision == OLDEST_LEGACY:
        return False
    return mode in declared or (mode == "form" and "url" not in declared)


def waiting_text(held: Held) -> str:
    until = held.expires_at.strftime("%H:%M UTC")
    return f"Waiting for approval {held.name}, until {until}. {held.url}"[:300]


def awaited_by(frame: Frame, held: Held) -> Awaited:
    """What a task keeps. Evidence has room for one intent of each id, so whoever runs it, it happens once."""
    call = {name: getattr(frame, name) for name in STORED} | {"call_id": str(uuid7())}
    return Awaited(held.key, waiting_text(held), held.expires_at + RUNNING, call)


def kept_call(call: Mapping[str, Any], context: Context, awaited: UUID | None) -> Frame:
    """The call of a task, for whoever of the same agent brings a key and an address."""
    fields = {**call, "call_id": UUID(call["call_id"])}
    return Frame(token=context.token, source_ip=context.request.source_ip, awaited=awaited, **fields)


class Vigil:
    """A client that waits at its POST. `state` and `answers` are what its retry brought."""

    def __init__(
        self, context: Context, ports: Ports, exchange: Exchange, state: State | None, answers: Mapping[str, Any]
    ) -> None:
        self._context = context
        self._ports = ports
        self._exchange = exchange
        self._turn = state.turn if state is not None and state.held else 0
        self._reply = answers.get(QUESTION) if self._turn else None
        self._scope: asyncio.Timeout | None = None
        self._has_left = False
        self._told = 0
        self._promised: Held | None = None
        self._may_hear = partial(may_hear, context, ports)

    async def keep(self, frame: Frame, answer: Answer, again: Again) -> Answer:
        """The call's own answer, a question to the client, or `answer` as it is, when nobody decided in time."""
        assert answer.held is not None, "only what is pending is waited for"
        context, held = self._context, answer.held
        if context.is_modern and frame.method in ASKABLE and not frame.resumed:
            if elicits(context, "url"):
                return await self._by_page(frame, answer, again)
            if elicits(context, "form"):
                return await self._by_form(frame, answer, again)
        elif _reads_pages(context) and held.is_new:
            self._promised = held
            return _page_required(held)
        elif held.wants_reason and self._exchange.can_ask and elicits(context, "form"):
            await self._ask_why(held)
        return await self._hold(answer, again, settings.GATEWAY_HOLD_SECONDS)

    def leave(self) -> None:
        """The client waits no more. What it asked for may still be decided, and found when it comes back."""
        self._has_left = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def keep_promise(self) -> None:
        """2025-11-25: a client that was sent to a page hears when there is nothing more to see, if it has a stream."""
        session, held = self._context.session, self._promised
        if session is None or held is None:
            return
        letter = json.dumps({"session": session.digest.hex(), "elicitation": str(held.key)}).encode()
        with suppress(Crowded, TimeoutError, EvidenceUnavailable):
            with self._ports.waiting.held.taken(self._context.agent_id):
                async with self._ports.waiting.at_most(None):
                    await self._ports.held.decided(held.key)
            await self._ports.bus.announce(ELICITED, letter)

    # -- asking by input_required (2026-07-28)

    async def _by_page(self, frame: Frame, answer: Answer, again: Again) -> Answer:
        if self._turn and self._action != "accept":
            return await self._hold(answer, again, settings.GATEWAY_HOLD_SECONDS)
        if self._turn:
            answer = await self._hold(answer, again, RETRY_SECONDS)
        return self._ask_again(frame, answer, _page)

    async def _by_form(self, frame: Frame, answer: Answer, again: Again) -> Answer:
        if not self._turn:
            return self._ask_again(frame, answer, _first_form)
        content = self._content
        if self._action != "accept" or content.get("wait") is False:
            return answer
        assert answer.held is not None, "it is pending"
        await self._say(answer.held.key, content)
        return self._ask_again(frame, await self._hold(answer, again, settings.GATEWAY_HOLD_SECONDS), _form)

    def _ask_again(self, frame: Frame, answer: Answer, question: Callable[[Held], dict[str, Any]]) -> Answer:
        held = pending(answer)
        if held is None or self._turn >= ROUNDS or self._has_left:
            return answer
        state = seal_state(self._context, frame, until=held.expires_at, held=held.key.hex, turn=self._turn + 1)
        return asked({QUESTION: question(held)}, state)

    @property
    def _action(self) -> str:
        action = self._reply.get("action") if isinstance(self._reply, Mapping) else None
        return action if isinstance(action, str) else "accept"

    @property
    def _content(self) -> Mapping[str, Any]:
        content = self._reply.get("content") if isinstance(self._reply, Mapping) else None
        return content if isinstance(content, Mapping) else {}

    # -- asking on the stream (2025-06-18, 2025-11-25)

    async def _ask_why(self, held: Held) -> None:
        with suppress(NotAnswered):
            replies = await AtPost(self._exchange, self._ports).ask({QUESTION: _why(held)})
            content = replies[QUESTION].get("content")
            await self._say(held.key, content if isinstance(content, Mapping) else {})

    async def _say(self, key: UUID, content: Mapping[str, Any]) -> None:
        """It is shown to the approver as what the asking side says, and is nothing more than that."""
        reason = content.get("reason")
        said = reason.strip()[:REASON_LIMIT] if isinstance(reason, str) else ""
        if said and not self._tells_a_secret(said):
            with suppress(EvidenceUnavailable):
                await self._ports.held.say(key, said, self._ports.now())

    def _tells_a_secret(self, text: str) -> bool:
        vault = self._ports.vault_index(self._ports.snapshot())
        return self._context.token in text or bool(vault.find(canonical.encode(text)))

    # -- waiting

    async def _hold(self, answer: Answer, again: Again, seconds: float) -> Answer:
        if seconds <= 0 or not self._exchange.can_stream:
            return answer
        try:
            with self._ports.waiting.held.taken(self._context.agent_id):
                await self._exchange.begin()
                return await self._until_decided(answer, again, seconds)
        except Crowded:
            return answer

    async def _until_decided(self, answer: Answer, again: Again, seconds: float) -> Answer:
        until = _now() + seconds
        while (held := pending(answer)) is not None and await self._changes(held, until):
            answer = await again(held.key)
        return answer

    async def _changes(self, held: Held, until: float) -> bool:
        """False when there is nothing more to wait for: the time is up, the client has left, the process ends."""
        left = until - _now()
        if left <= 0 or self._has_left:
            return False
        telling = asyncio.create_task(self._tell(held))
        try:
            async with self._ports.waiting.at_most(None) as self._scope:
                await self._ports.held.changed(held.key, left, while_=self._may_hear)
        except (TimeoutError, EvidenceUnavailable):
            return False
        finally:
            telling.cancel()
        return not (self._context.is_modern and await self._exchange.has_left())

    async def _tell(self, held: Held) -> None:
        """Small steps, so that the tool's own progress, which comes after it, is more."""
        token = self._context.progress_token
        if token is None:
            return
        while True:
            self._told += 1
            params = {"progressToken": token, "progress": self._told / 1000, "message": waiting_text(held)}
            await self._exchange.tell({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
            await asyncio.sleep(PROGRESS_SECONDS)


def _reads_pages(context: Context) -> bool:
    return context.revision == NEWEST_LEGACY and context.session is not None and elicits(context, "url")


def _page_required(held: Held) -> Answer:
    page = _page(held)["params"] | {"elicitationId": str(held.key)}
    error = {"code": URL_ELICITATION_REQUIRED, "message": waiting_text(held), "data": {"elicitations": [page]}}
    return Answer(error=error)


def page_done(elicitation_id: str) -> dict[str, Any]:
    params = {"elicitationId": elicitation_id}
    return {"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": params}


def _page(held: Held) -> dict[str, Any]:
    params = {"mode": "url", "url": held.url, "message": f"{waiting_text(held)} See there how it stands."}
    return {"method": "elicitation/create", "params": params}


def _question(held: Held, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    params = {"mode": "form", "message": waiting_text(held), "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


REASON = {
    "type": "string",
    "title": "Why is this needed?",
    "description": "Shown to those who decide.",
    "maxLength": REASON_LIMIT,
}
WAIT = {"type": "boolean", "title": "Keep waiting?", "default": True}


def _why(held: Held) -> dict[str, Any]:
    return _question(held, {"reason": REASON})


def _first_form(held: Held) -> dict[str, Any]:
    return _question(held, {"reason": REASON, "wait": WAIT})


def _form(held: Held) -> dict[str, Any]:
    return _question(held, {"wait": WAIT})


def _now() -> float:
    return asyncio.get_running_loop().time()
