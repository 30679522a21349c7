"""An upstream with every bad habit."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from tests.connectors.servers import Turn

TIMEOUT_SECONDS = 1.0
"""How long the gateway waits for the upstream."""
EMPTY_FORM = {"mode": "form", "message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}}
QUESTION = {"sure": {"method": "elicitation/create", "params": EMPTY_FORM}}


def done(arguments: Mapping[str, Any]) -> dict[str, Any]:
    text = f"done {arguments['nonce']}"
    return {"content": [{"type": "text", "text": text}], "resultType": "complete"}


async def works(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.result(done(arguments))


async def is_slow(turn: Turn, arguments: dict[str, Any]) -> None:
    await asyncio.sleep(0.4)
    await turn.result(done(arguments))


async def is_late(turn: Turn, arguments: dict[str, Any]) -> None:
    """Answers when nobody waits any more."""
    await asyncio.sleep(TIMEOUT_SECONDS + 0.3)
    with suppress(ConnectionError):
        await turn.result(done(arguments))


async def talks(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.stream_head()
    token = turn.seen.message["params"]["_meta"].get("progressToken")
    for step in range(4 if token is not None else 0):
        params = {"progressToken": token, "progress": step, "message": "still at it"}
        await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await asyncio.sleep(0.05)
    await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": done(arguments)})
    await turn.stream_end()


async def asks(turn: Turn, arguments: dict[str, Any]) -> None:
    if "inputResponses" in turn.seen.message["params"]:
        await turn.result(done(arguments))
        return
    state = f"state-{arguments['nonce']}"
    await turn.result({"resultType": "input_required", "inputRequests": QUESTION, "requestState": state})


async def resets(turn: Turn, arguments: dict[str, Any]) -> None:
    turn.reset()


async def goes_half(turn: Turn, arguments: dict[str, Any]) -> None:
    """Half of an answer, then silence on an open connection."""
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")
    await asyncio.sleep(3600)


async def drips(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await turn.raw(b" ")
        await asyncio.sleep(0.05)


async def breaks_off(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.stream_head()
    turn.reset()


HABITS: dict[str, Callable[[Turn, dict[str, Any]], Awaitable[None]]] = {
    "works": works,
    "is-slow": is_slow,
    "is-late": is_late,
    "talks": talks,
    "asks": asks,
    "resets": resets,
    "goes-half": goes_half,
    "drips": drips,
    "breaks-off": breaks_off,
}
BAD_HABITS = ("is-late", "resets", "goes-half", "drips", "breaks-off")
