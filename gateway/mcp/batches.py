"""Batches of 2025-03-26, the only revision that has them: many messages in one body, their answers in one array."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any

from gateway.mcp.errors import INVALID_REQUEST, ProtocolError
from gateway.mcp.http import Request
from gateway.mcp.revisions import OLDEST_LEGACY

LIMIT = 50
AT_ONCE = 8
"""One body must not take more of the house than a few clients do."""


class Capture:
    """Takes the answer of one message that was meant for a connection of its own; nothing ever comes from the
    client's side."""

    def __init__(self) -> None:
        self._body = bytearray()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self._body += message.get("body", b"")

    async def receive(self) -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    @property
    def answer(self) -> bytes | None:
        """None when there was none to give."""
        return bytes(self._body) or None


def as_member(request: Request) -> Request:
    """In a batch nobody hears anything but answers: nothing is streamed, and so nothing can be asked."""
    return replace(request, headers={**request.headers, b"accept": b"application/json"})


def check_batch(members: list[Any], revision: str) -> None:
    """Raises ProtocolError -32600 for a batch as a whole."""
    if revision != OLDEST_LEGACY:
        raise ProtocolError(INVALID_REQUEST, "Batches are not accepted; send one message per request.")
    if not 0 < len(members) <= LIMIT:
        raise ProtocolError(INVALID_REQUEST, f"A batch holds 1 to {LIMIT} messages.")
    if any(isinstance(member, dict) and member.get("method") == "initialize" for member in members):
        raise ProtocolError(INVALID_REQUEST, "'initialize' must not be part of a batch.")


async def serve_all(members: list[Any], serve: Callable[[Any], Awaitable[bytes | None]]) -> bytes | None:
    """The array of all answers; None when nothing in it wants one."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(member: Any) -> bytes | None:
        async with places:
            return await serve(member)

    answers = [answer for answer in await asyncio.gather(*map(one, members)) if answer is not None]
    return b"[" + b",".join(answers) + b"]" if answers else None
