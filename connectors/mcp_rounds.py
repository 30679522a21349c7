"""One request to an upstream with all that it may want in between: answers to its questions, patience for a task."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors.base import NotAnswered, Question, RawResult, UpstreamFailure
from connectors.mcp_peer import (
    INVALID_PARAMS,
    RESOURCE_NOT_FOUND,
    URL_ELICITATION_REQUIRED,
    Channel,
    Reply,
    Request,
    bad_answer,
    not_answered,
    status_failure,
)
from connectors.mcp_talk import Talk
from connectors.mcp_tasks import finished, task_of

MAX_ROUNDS: Final = 10
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0

_MAY_ASK_BACK: Final = frozenset(("tools/call", "prompts/get", "resources/read"))


@dataclass(frozen=True, slots=True)
class Input:
    """What an upstream wants before it goes on: answers to `requests`, and its `state` back."""

    requests: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    state: str | None = None

    def as_result(self) -> dict[str, Any]:
        """The shape of the modern era, for a caller who answers by a later request."""
        result: dict[str, Any] = {"resultType": "input_required"}
        if self.requests:
            result["inputRequests"] = dict(self.requests)
        if self.state is not None:
            result["requestState"] = self.state
        return result


async def converse(channel: Channel, question: Question, talk: Talk) -> RawResult:
    """The final answer, or what is asked back where the relay can resume. Raises UpstreamFailure."""
    request = Request.of(question)
    reply = await channel.exchange(request, talk)
    if _is_final(reply):
        return _raw(request, reply, talk)
    try:
        return await _further(channel, request, reply, talk)
    except UpstreamFailure as failure:
        # The request has arrived once, however the later ones fared.
        raise UpstreamFailure(failure.code, failure.message, reached=True) from failure


def _is_final(reply: Reply) -> bool:
    message = reply.message
    if message is None:
        raise status_failure(reply.status)
    result = message.get("result")
    if result is None:
        return reply.wire.is_modern or reply.error_code != URL_ELICITATION_REQUIRED
    if reply.wire.is_modern:
        return result.get("resultType", "complete") == "complete"  # type: ignore[no-any-return]
    return task_of(reply) is None


async def _further(channel: Channel, request: Request, reply: Reply, talk: Talk) -> RawResult:
    pause = FIRST_PAUSE_SECONDS
    for _ in range(MAX_ROUNDS):
        if task_of(reply) is not None:
            return _raw(request, await finished(channel, reply, talk), talk)
        wanted = _wanted(request, reply, talk)
        if wanted is None:
            return _raw(request, reply, talk)
        if talk.relay.can_resume:
            return replace(_raw(request, reply, talk), result=wanted.as_result(), error=None)
        responses = await _responses(wanted, reply, talk)
        if responses is None:
            return _raw(request, reply, talk)
        if not wanted.requests or not reply.wire.is_modern:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        reply = await channel.exchange(_resumed(request, wanted, responses), talk)
        if _is_final(reply):
            return _raw(request, reply, talk)
    raise bad_answer("The upstream asks again and again.")


def _wanted(request: Request, reply: Reply, talk: Talk) -> Input | None:
    """None for a legacy error whose questions the caller cannot be asked: it is the answer then."""
    if not reply.wire.is_modern:
        return _addresses_to_open(reply, talk)
    result = (reply.message or {})["result"]
    requests, state = result.get("inputRequests", {}), result.get("requestState")
    is_proper = isinstance(requests, dict) and isinstance(state, str | None) and (requests or state is not None)
    if result["resultType"] != "input_required" or request.method not in _MAY_ASK_BACK or not is_proper:
        raise bad_answer("The upstream answered in a way that Gatehouse does not know.")
    if not talk.may_ask(requests):
        raise bad_answer("The upstream wants something in return that it was not offered.")
    return Input(requests, state)


def _addresses_to_open(reply: Reply, talk: Talk) -> Input | None:
    """The questions in an error -32042 of 2025-11-25."""
    data = (reply.message or {})["error"].get("data")
    listed = data.get("elicitations") if isinstance(data, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        return None
    requests = {
        str(each.get("elicitationId", number)): {"method": "elicitation/create", "params": {**each, "mode": "url"}}
        for number, each in enumerate(listed)
    }
    return Input(requests) if requests and talk.may_ask(requests) else None


async def _responses(wanted: Input, reply: Reply, talk: Talk) -> dict[str, dict[str, Any]] | None:
    """None when a legacy upstream's error stays the answer, because somebody did not open what it wants opened."""
    if not wanted.requests:
        return {}
    try:
        responses = await talk.ask(wanted.requests)
    except NotAnswered as refusal:
        if reply.wire.is_modern:
            raise not_answered(refusal) from None
        return None
    if not reply.wire.is_modern and any(each.get("action") != "accept" for each in responses.values()):
        return None
    return responses


def _resumed(request: Request, wanted: Input, responses: dict[str, dict[str, Any]]) -> Request:
    resumed: dict[str, Any] = {"inputResponses": responses} if responses else {}
    if wanted.state is not None:
        resumed["requestState"] = wanted.state
    return replace(request, resumed=resumed, send_before_ns=None)


def _raw(request: Request, reply: Reply, talk: Talk) -> RawResult:
    message = reply.message
    if message is None:
        raise status_failure(reply.status)
    error = message.get("error")
    return RawResult(
        result=message.get("result"),
        error=error if error is None else _in_our_words(request, reply, error),
        upstream_ms=(talk.upstream_seconds - talk.asked_seconds) * 1000,
        size_bytes=talk.size_bytes,
    )


def _in_our_words(request: Request, reply: Reply, error: dict[str, Any]) -> dict[str, Any]:
    """A modern upstream has no code of its own for a resource that is not there; callers of the earlier era do."""
    is_missing = request.method == "resources/read" and error["code"] == INVALID_PARAMS and reply.wire.is_modern
    return {**error, "code": RESOURCE_NOT_FOUND} if is_missing else error
