"""Asking an identity provider or authorization server something, from synchronous code: bounded in size and time,
never following a redirect, never reaching an address that is not allowed. Not for use inside a transaction."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import orjson

from connectors.base import UpstreamFailure
from connectors.http1 import Answer
from connectors.json_depth import is_too_deep
from gateway.notices.sending import Reply, Undelivered, ways_out

FETCH_SECONDS: Final = 5.0
ANSWER_BYTES: Final = 256 * 1024


class NotFetched(Exception):
    """There is no usable answer; the message holds no secret and nothing of what the other side wrote."""


def fetch(
    method: str,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    seconds: float = FETCH_SECONDS,
    at_most: int = ANSWER_BYTES,
) -> Reply:
    """Whatever its status. Raises NotFetched."""
    return asyncio.run(fetch_async(method, url, headers=headers, body=body, seconds=seconds, at_most=at_most))


async def fetch_async(
    method: str,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    seconds: float = FETCH_SECONDS,
    at_most: int = ANSWER_BYTES,
) -> Reply:
    """As `fetch`; raises NotFetched."""

    async def read(answer: Answer) -> Reply:
        return Reply(answer.status, answer.headers, await answer.whole(at_most=at_most))

    try:
        with ways_out() as ways:
            return await ways.to(url).send(
                method, url, headers=tuple(headers), body=body, timeout_seconds=seconds, read=read
            )
    except UpstreamFailure as failure:
        raise NotFetched(f"{failure.code}: {failure.message}") from None
    except Undelivered as refusal:
        raise NotFetched(str(refusal)) from None


def json_object(reply: Reply) -> dict[str, Any]:
    """The body of a 200. Raises NotFetched."""
    if reply.status != 200:
        raise NotFetched(f"It answered {reply.status}.")
    return parsed_object(reply.body)


def parsed_object(body: bytes) -> dict[str, Any]:
    """Raises NotFetched for anything but a JSON object of sane depth."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or is_too_deep(body, found):
        raise NotFetched("It did not answer with a JSON object.")
    return found
