"""Requests of several rounds: what is asked of a 2026-07-28 client, and how its retry finds its way back.

A `requestState` of ours wraps the upstream's. The client holds it, so it is hostile: sealed, bound to principal,
endpoint, method, name and arguments, and short-lived. An upstream that cannot be called again with the answers is kept
waiting in its process, and the retry reaches it from any other.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from audit.event import uuid7
from connectors.base import NotAnswered
from gateway import refusals
from gateway.bus import Mailbox, topic_of
from gateway.call import Answer, Frame
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp.asking import TOO_LATE
from gateway.mcp.context import Context
from gateway.mcp.errors import INTERNAL_ERROR, INVALID_PARAMS, URL_ELICITATION_REQUIRED, ProtocolError
from gateway.mcp.exchange import Exchange, may_hear
from gateway.mcp.waiting import ENDING, Crowded
from gateway.pipeline import refused_answer
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.sealing import NotOurs, seal_text, unseal_text
from governance import canonical

PURPOSE = "request state"
RETRY = {"inputResponses", "requestState"}
ASKABLE = ("tools/call", "prompts/get", "resources/read")
"""Methods that may be answered with a question."""
LIFETIME_SECONDS = 600
ANSWERS_LIMIT = 1024 * 1024
ACKNOWLEDGED_SECONDS = 5.0
"""After that long without a word somebody asks whether the process that holds the call is still there."""
LOOKED_SECONDS = 1.0
"""What was written long before is found within this time."""
LOST = (
    "The call waited for these answers, but the gateway process that held it has ended, or it waits no more. It had"
    " been sent: its outcome is unknown and it may have had an effect. Do not repeat it blindly."
)
COME_AGAIN = Answer(
    error={"code": INTERNAL_ERROR, "message": f"{ENDING} Repeat this request: the call itself goes on."},
    status=503,
    retry_after_seconds=1,
)


@dataclass(frozen=True, slots=True)
class State:
    """What a retry brings back. `parked` names the waiting call, if one waits, in the process `process_id`; `turn` is
    which of its questions was asked. Where none waits, `call_id` is the one call that a tool may be called with it.
    `held` is the request for approval that the call waits for; then `turn` says how often the client was asked to come
    again, as it does where we only sent its human to a `page`."""

    target: str
    expires_at: int
    upstream: str | None = field(default=None, repr=False)
    parked: str = field(default="", repr=False)
    process_id: str = ""
    turn: int = 0
    call_id: str = ""
    held: str = ""
    page: bool = False


def take_up(context: Context, frame: Frame) -> tuple[State | None, dict[str, Any]]:
    """What a retry brings: our state, if it has one, and its answers. Raises ProtocolError -32602."""
    params = context.message.params
    if not context.is_modern or frame.method not in ASKABLE or not (params.keys() & RETRY):
        return None, {}
    answers, state = params.get("inputResponses", {}), params.get("requestState")
    if not isinstance(answers, dict):
        raise ProtocolError(INVALID_PARAMS, "'inputResponses' must be an object.")
    if len(canonical.encode(answers)) > ANSWERS_LIMIT:
        raise ProtocolError(INVALID_PARAMS, f"'inputResponses' is over the limit of {ANSWERS_LIMIT} bytes.")
    return (open_state(context, frame, state) if state is not None else None), answers


def resumed(state: State | None, answers: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the upstream gets of a retry: nothing of what only we had asked."""
    if state is not None and (state.held or state.page):
        return {}
    members: dict[str, Any] = {"inputResponses": answers} if answers else {}
    if state is not None and state.upstream is not None:
        members["requestState"] = state.upstream
    return members


def awaited_by_retry(state: State) -> UUID | None:
    """The request for approval that the client was asked to wait for."""
    return UUID(state.held) if state.held else None


def call_id_of(state: State) -> UUID | None:
    """Evidence has room for one intent of each id: a client that lost the answer to a retry, and repeats the retry,
    must not make a tool act twice."""
    return UUID(state.call_id) if state.call_id else None


def open_state(context: Context, frame: Frame, sealed: Any) -> State:
    """Raises ProtocolError -32602, the same for whatever is wrong with it."""
    with suppress(NotOurs):
        if isinstance(sealed, str):
            state = State(**json.loads(unseal_text(PURPOSE, sealed, bound_to=_principal(context))))
            if state.target == _target(frame) and time.time() < state.expires_at:
                return state
    raise ProtocolError(INVALID_PARAMS, "This 'requestState' is not valid for this request, or too old.")


def seal_state(context: Context, frame: Frame, *, until: datetime | None = None, **members: str | int | None) -> str:
    expires_at = max(time.time() + LIFETIME_SECONDS, until.timestamp() if until is not None else 0)
    state = State(_target(frame), int(expires_at), **members)  # type: ignore[arg-type]
    return seal_text(PURPOSE, json.dumps(asdict(state)).encode(), bound_to=_principal(context))


def hand_back(context: Context, frame: Frame, answer: Answer) -> Answer:
    """The upstream's question as our client may have it; other answers are the same."""
    if not context.is_modern:
        return answer
    if answer.error is not None and answer.error.get("code") == URL_ELICITATION_REQUIRED:
        return asked(_pages(answer.error), seal_state(context, frame, call_id=_only_call(frame)))
    result = answer.result or {}
    if result.get("resultType") != "input_required":
        return answer
    state = seal_state(context, frame, upstream=result.get("requestState"), call_id=_only_call(frame))
    return Answer(result={**result, "requestState": state})


def _only_call(frame: Frame) -> str:
    return uuid7().hex if frame.method == "tools/call" else ""


def is_question(answer: Answer) -> bool:
    return answer.result is not None and answer.result.get("resultType") == "input_required"


def pack_answer(answer: Answer) -> bytes:
    return canonical.encode(asdict(answer))


def unpack_answer(packed: bytes) -> Answer:
    return Answer(**json.loads(packed))


class ParkedCall:
    """A call whose upstream waits for answers, which retries of the client bring. Its audience is whoever retries, also
    who repeats a retry because the answer was lost: all hear the same, and nothing is done twice.

    Until the first retry its own POST is: `first` answers that one.
    """

    def __init__(
        self, context: Context, frame: Frame, ports: Ports, first: Callable[[Answer], Awaitable[None]]
    ) -> None:
        self.id = secrets.token_hex(16)
        self._context = context
        self._frame = frame
        self._bus = ports.bus
        self._waiting = ports.waiting
        self._process_id = str(ports.process_id)
        self._first: Callable[[Answer], Awaitable[None]] | None = first
        self._audience: set[str] = set()
        self._turn = 0
        self._given: dict[str, dict[str, Any]] = {}
        self._came = asyncio.Event()
        self._asking = asyncio.Lock()

    async def hear(self, box: Mailbox, cancel: Callable[[], None]) -> None:
        """Takes what retries say, at whichever process they do. When the last of them leaves, the call is cancelled."""
        while (letter := await box.next()) is not None:
            note = json.loads(letter)
            reply_to: str = note["reply_to"]
            if "answers" in note:
                await self._take(note, reply_to)
            elif reply_to in self._audience:
                self._audience.discard(reply_to)
                if not self._audience:
                    cancel()

    async def _take(self, note: Mapping[str, Any], reply_to: str) -> None:
        """Answers to an earlier question were taken already; who repeats them only hears what comes next."""
        self._audience.add(reply_to)
        if note["turn"] == self._turn:
            self._given |= {key: answer for key, answer in note["answers"].items() if isinstance(answer, dict)}
        self._came.set()
        with suppress(EvidenceUnavailable):
            await self._bus.send(reply_to, b"")

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Asks for what is missing until nothing is. Raises NotAnswered."""
        async with self._asking:
            self._turn += 1
            self._given = {}
            while missing := {key: request for key, request in requests.items() if key not in self._given}:
                self._came.clear()
                await self._say(asked(missing, self._state()))
                await self._somebody()
            return {key: self._given[key] for key in requests}

    async def answer(self, answer: Answer) -> None:
        """To whoever waits for it, and to whoever comes for it in time, also when this process has ended."""
        if self._first is not None:
            await self._say(answer)
            return
        with suppress(EvidenceUnavailable):
            await self._bus.announce(left_topic(self.id), pack_answer(answer))

    async def _say(self, answer: Answer) -> None:
        first, self._first = self._first, None
        audience, self._audience = self._audience, set()
        if first is not None:
            await first(answer)
        for reply_to in audience:
            with suppress(EvidenceUnavailable):
                await self._bus.send(reply_to, pack_answer(answer))

    async def _somebody(self) -> None:
        """Waits for the next retry."""
        try:
            async with self._waiting.at_most(LIFETIME_SECONDS):
                await self._came.wait()
        except TimeoutError:
            raise NotAnswered(self._waiting.why(TOO_LATE)) from None

    def _state(self) -> str:
        here, turn = self._process_id, self._turn
        return seal_state(self._context, self._frame, parked=self.id, process_id=here, turn=turn)


async def rejoin(context: Context, frame: Frame, state: State, answers: dict[str, Any], ports: Ports) -> None:
    """Brings answers to the call that waits for them, in whichever process, and its next question or result back.

    Raises Crowded before anything is done.
    """
    exchange = Exchange(context, ports)
    reply_to = topic_of("retry", secrets.token_hex(16))

    async def abandon() -> None:
        if await exchange.client_left():
            with suppress(EvidenceUnavailable):
                await ports.bus.send(parked_topic(state.parked), json.dumps({"reply_to": reply_to}).encode())

    letter = json.dumps({"answers": answers, "reply_to": reply_to, "turn": state.turn}).encode()
    is_ours = state.process_id == str(ports.process_id)
    with ports.waiting.answers.taken(context.agent_id), ports.bus.mailbox(reply_to) as box, exchange.attended(abandon):
        try:
            async with nullcontext() if is_ours else ports.waiting.at_most(None):
                if not await ports.bus.send(parked_topic(state.parked), letter, sender=context.agent_id):
                    raise Crowded
                answer = await _brought_back(box, context, state, ports) or _lost(frame)
        except TimeoutError:
            answer = COME_AGAIN
        except EvidenceUnavailable:
            answer = refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))
        await exchange.answer(answer)


async def _brought_back(box: Mailbox, context: Context, state: State, ports: Ports) -> Answer | None:
    """None when it cannot come any more. An empty letter acknowledges ours."""
    is_acknowledged = False
    look_back = timedelta(seconds=LIFETIME_SECONDS)
    with ports.bus.mailbox(left_topic(state.parked), look_back=look_back) as left:
        while True:
            letter = await _next_of(left, box)
            if not may_hear(context, ports):
                return None
            if letter:
                return unpack_answer(letter)
            if letter is not None:
                is_acknowledged = True
            elif not is_acknowledged or not await ports.tasks.is_alive(state.process_id):
                letter = await left.next(LOOKED_SECONDS)
                return unpack_answer(letter) if letter else None


async def _next_of(*boxes: Mailbox) -> bytes | None:
    """The next letter in any of them, the first box first; None when none comes for long."""
    reading = [asyncio.create_task(box.next()) for box in boxes]
    try:
        done, _ = await asyncio.wait(reading, timeout=ACKNOWLEDGED_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return next((task.result() for task in reading if task in done), None)
    finally:
        for task in reading:
            task.cancel()


def _lost(frame: Frame) -> Answer:
    if frame.method != "tools/call":
        return Answer(error={"code": INTERNAL_ERROR, "message": LOST})
    meta = {"com.gatehouse/decision": {"code": "outcome_unknown"}}
    return Answer(result={"content": [{"type": "text", "text": LOST}], "isError": True, "_meta": meta})


def parked_topic(parked_id: str) -> str:
    return topic_of("parked", parked_id)


def left_topic(parked_id: str) -> str:
    """Has the call's answer, for as long as a state is good."""
    return topic_of("left", parked_id)


def asked(requests: Mapping[str, Any], state: str) -> Answer:
    return Answer(result={"resultType": "input_required", "inputRequests": dict(requests), "requestState": state})


def _pages(error: Mapping[str, Any]) -> dict[str, Any]:
    """A 2025-11-25 upstream wants web pages opened before the call is repeated (URL elicitation)."""
    pages = error["data"]["elicitations"]
    return {f"page-{i}": {"method": "elicitation/create", "params": page} for i, page in enumerate(pages, 1)}


def _principal(context: Context) -> str:
    return f"{context.agent_id} {context.bundle or ''}"


def _target(frame: Frame) -> str:
    said = [frame.method, frame.name, frame.arguments]
    return sha256(canonical.encode(said)).hexdigest()
