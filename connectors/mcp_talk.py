"""What an upstream says while one of our requests runs: told or asked through the relay, bounded in number and time."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

from connectors.base import SILENCE, Heard, NotAnswered, Relay, UpstreamFailure

Say = Callable[[bytes], Awaitable[None]]
"""Sends our answer to a question of the upstream. Never raises UpstreamFailure."""

MAX_QUESTIONS: Final = 16
"""What one upstream may ask during one request."""
PATIENCE_FACTOR: Final = 10
LONGEST_SECONDS: Final = 3600.0

TASKS: Final = "io.modelcontextprotocol/tasks"
_POLLING: Final[Mapping[str, Any]] = {"extensions": {TASKS: {}}}
_POWER_OF: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
_SEVERITY: Final = {
    level: rank
    for rank, level in enumerate(
        ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
    )
}  # fmt: skip
_NOT_FOUND: Final = {"code": -32601, "message": "Method not found: the caller's side cannot be asked this."}
_NOT_ANSWERED: Final = -1


class Movable(Protocol):
    """A deadline: `asyncio.Timeout` or ours."""

    def expired(self) -> bool: ...

    def reschedule(self, when: float, /) -> None: ...


def can_be_asked(powers: Mapping[str, Any], question: object) -> bool:
    """Whether the caller's side declared that it can be asked this. An address to open must be one of the web: any
    other scheme could start a program on the user's machine."""
    if not isinstance(question, dict) or not isinstance(question.get("params", {}), dict):
        return False
    method, params = question.get("method"), question.get("params", {})
    power = _POWER_OF.get(method) if isinstance(method, str) else None
    if power is None or powers.get(power) is None:
        return False
    return power != "elicitation" or _is_in_mode(powers[power], params)


def _is_in_mode(modes: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    mode = params.get("mode", "form")
    if mode == "url":
        return "url" in modes and _is_web_address(params.get("url"))
    return mode == "form" and (not modes or "form" in modes)


def _is_web_address(url: object) -> bool:
    try:
        return isinstance(url, str) and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


class Talk:
    """The upstream's side of one request, over all its rounds and polls.

    `seconds` is the time for an answer; each real progress begins it anew, and it stands still while the caller is
    asked. All together takes at most ten times as long, and an hour.
    """

    task_id = ""
    size_bytes = 0
    asked_seconds = 0.0
    upstream_seconds = 0.0
    _turn_seconds = 0.0
    _progress = -math.inf
    _questions = 0
    _asked_at = 0.0
    _hard_at = 0.0
    _deadline: Movable | None = None
    _say: Say | None = None
    _heard: Heard | None = None

    def __init__(self, relay: Relay = SILENCE, *, seconds: float, polls_tasks: bool = False) -> None:
        self.relay = relay
        self.seconds = seconds
        self.capabilities = _capabilities(relay.powers, polls_tasks=polls_tasks)
        self.log_level = relay.log_level
        self.wants_progress = relay.wants_progress
        self._asking: dict[str | int, asyncio.Task[None]] = {}

    # -- time

    def seconds_left(self, wanted: float | None = None) -> float:
        """For the next exchange; `wanted` instead of the usual time. Raises UpstreamFailure once all time is used."""
        self._turn_seconds = wanted or self.seconds
        if not self._hard_at:
            self._hard_at = _now() + min(self.seconds * PATIENCE_FACTOR, LONGEST_SECONDS)
            return self._turn_seconds
        left = self._hard_at - _now()
        if left <= 0:
            raise UpstreamFailure("timeout", "The upstream did not come to an end in time.", reached=True)
        return min(self._turn_seconds, left)

    async def become_task(self, task_id: str) -> None:
        """From now on the hour counts."""
        self.task_id = task_id
        self._hard_at = _now() + LONGEST_SECONDS
        await self.relay.became_task()

    def _give_time(self, seconds: float) -> None:
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(min(_now() + seconds, self._hard_at))

    # -- what comes while an answer is awaited

    def attend(self, deadline: Movable, *, say: Say | None, heard: Heard | None = None) -> None:
        """An exchange begins to be heard. Without `say` the upstream may not ask; `heard` gets news that are not about
        this request."""
        self._deadline = deadline
        self._say = say
        self._heard = heard

    def hush(self) -> None:
        """The exchange is over: what was still asked needs no answer any more."""
        if self._asking:
            self._count_asking()
        self._deadline = None
        for task in self._asking.values():
            task.cancel()

    async def heed(self, message: dict[str, Any], *, token: int) -> None:
        """A notification or a question; `token` is the id of our request. Raises UpstreamFailure when the upstream
        overdoes it."""
        params = message.get("params", {})
        if not isinstance(message["method"], str) or not isinstance(params, dict):
            return
        if isinstance(message.get("id"), str | int):
            await self._take_question(message)
        elif message["method"] == "notifications/progress":
            await self._take_progress(params, token)
        elif message["method"] == "notifications/message":
            await self._take_log(params)
        elif message["method"] == "notifications/cancelled":
            self._withdraw(params.get("requestId"))
        elif self._heard is not None:
            await self._heard(message["method"], params)

    async def _take_progress(self, params: dict[str, Any], token: int) -> None:
        progress = params.get("progress")
        is_ours = self.wants_progress and params.get("progressToken") == token and not isinstance(progress, bool)
        if is_ours and isinstance(progress, int | float) and progress > self._progress:
            self._progress = progress
            self._give_time(self._turn_seconds)
            await self.relay.notify("notifications/progress", params)

    async def _take_log(self, params: dict[str, Any]) -> None:
        if self.log_level and severity(params.get("level")) >= severity(self.log_level):
            await self.relay.notify("notifications/message", params)

    # -- questions

    async def _take_question(self, message: dict[str, Any]) -> None:
        if self._say is None:
            return
        self._questions += 1
        if self._questions > MAX_QUESTIONS:
            raise UpstreamFailure("bad_answer", "The upstream asks us more than it answers.", reached=True)
        is_new = message["id"] not in self._asking
        if not can_be_asked(self.relay.powers, message):
            await self._say(refusal_of(message))
        elif is_new:
            self._stand_still()
            task = asyncio.create_task(self._answer(message, self._say))
            self._asking[message["id"]] = task
            task.add_done_callback(lambda _: self._settle(message["id"]))

    async def _answer(self, message: dict[str, Any], say: Say) -> None:
        key = str(message["id"])
        question = {"method": message["method"], "params": message.get("params", {})}
        try:
            answers = await self.relay.ask({key: question})
            if key not in answers:
                raise NotAnswered("No answer was given.")
            answer = response(message, result=answers[key])
        except NotAnswered as refusal:
            answer = response(message, error={"code": _NOT_ANSWERED, "message": refusal.message})
        await say(answer)

    def _settle(self, question_id: str | int) -> None:
        del self._asking[question_id]
        if not self._asking and self._deadline is not None:
            self._count_asking()
            self._give_time(self._turn_seconds)

    def _count_asking(self) -> None:
        self.asked_seconds += _now() - self._asked_at

    def _stand_still(self) -> None:
        if not self._asking:
            self._asked_at = _now()
            self._give_time(LONGEST_SECONDS)

    def is_asking(self, question_id: object) -> bool:
        return isinstance(question_id, str | int) and question_id in self._asking

    def _withdraw(self, question_id: object) -> None:
        if isinstance(question_id, str | int) and question_id in self._asking:
            self._asking[question_id].cancel()

    def may_ask(self, requests: Mapping[str, Any]) -> bool:
        powers = self.relay.powers
        return len(requests) <= MAX_QUESTIONS and all(can_be_asked(powers, each) for each in requests.values())

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Asks the caller between two exchanges. Raises NotAnswered, and UpstreamFailure once all time is used."""
        if not self.may_ask(requests):
            raise NotAnswered("The upstream asked what it may not ask.")
        try:
            async with asyncio.timeout_at(self._hard_at):
                return await self.relay.ask(requests)
        except TimeoutError:
            raise UpstreamFailure(
                "timeout", "What the upstream asked was not answered in time.", reached=True
            ) from None


def _now() -> float:
    return asyncio.get_running_loop().time()


def severity(level: object) -> int:
    """-1 for what is no level."""
    return _SEVERITY.get(level, -1) if isinstance(level, str) else -1


def _capabilities(powers: Mapping[str, Any], *, polls_tasks: bool) -> Mapping[str, Any]:
    polling = _POLLING if polls_tasks else {}
    return {**powers, **polling} if powers else polling


def refusal_of(question: Mapping[str, Any]) -> bytes:
    """Our answer to what cannot be asked; a `ping` is always answered."""
    return response(question, result={}) if question["method"] == "ping" else response(question, error=_NOT_FOUND)


def response(question: Mapping[str, Any], **outcome: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": question["id"], **outcome})
