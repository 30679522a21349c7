"""A body that never comes is not waited for, and one that comes late is of whoever holds the key then."""

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.mcp import http
from gateway.mcp.errors import ProtocolError
from gateway.mcp.http import Request, read_body
from tests.gateway.mcp_surface import McpPorts, Surface, modern_headers, modern_message, world

PARTS = [{"type": "http.request", "body": b"{", "more_body": True}]


@pytest.mark.parametrize("parts", [[], PARTS, PARTS * 3], ids=["not a byte", "its beginning", "some of it"])
async def test_a_body_that_stays_away_has_its_time(monkeypatch: pytest.MonkeyPatch, parts: list[Any]) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    coming = iter(parts)

    async def receive() -> MutableMapping[str, Any]:
        for part in coming:
            return dict(part)
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ProtocolError) as refused:
        async with asyncio.timeout(30):
            await read_body(Request("POST", None, {}, ""), receive)
    assert refused.value.status == 408


@pytest.mark.parametrize("is_revoked", [False, True], ids=["live", "revoked"])
async def test_a_key_that_was_revoked_while_the_body_came_opens_nothing(is_revoked: bool) -> None:
    surface = Surface(McpPorts(world()))
    message = modern_message("server/discover")

    async def receive() -> MutableMapping[str, Any]:
        if is_revoked:
            surface.ports.swap(replace(world(epoch=2), credentials={}))
        return {"type": "http.request", "body": json.dumps(message).encode(), "more_body": False}

    sent: list[MutableMapping[str, Any]] = []

    async def send(part: MutableMapping[str, Any]) -> None:
        sent.append(part)

    await surface.app(surface._scope("POST", modern_headers(message)), receive, send)
    assert sent[0]["status"] == (401 if is_revoked else 200)
