"""The trial of a connector, watched live through its socket."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.db import OperationalError
from django.test import Client

from gateway import asked as asking
from gateway.console.connecting import consumers, examine
from gateway.console.sockets import websocket_urlpatterns
from governance.models import Connector, ToolDefinition, User
from tests.connectors.servers import ScriptedServer, Turn, eventually
from tests.gateway.connecting import TOOLS, add, reachable, tried, upstream
from tests.gateway.signing_in import sign_in

__all__ = ("reachable", "upstream")

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql, pytest.mark.usefixtures("reachable")]


class Socket(ApplicationCommunicator):
    """A browser's end of the live list, as the pages process would hand it on: signed in, same origin."""

    def __init__(self, connector: Connector, person: User | None) -> None:
        path = f"/ws/discoveries/{connector.pk}/"
        super().__init__(URLRouter(websocket_urlpatterns), {"type": "websocket", "path": path, "user": person})

    async def open(self) -> bool:
        await self.send_input({"type": "websocket.connect"})
        return (await self.receive_output(timeout=20))["type"] == "websocket.accept"

    async def heard(self) -> list[dict[str, Any]]:
        """Everything up to the end."""
        messages: list[dict[str, Any]] = []
        while not (messages and messages[-1].get("done")):
            messages.append(orjson.loads((await self.receive_output(timeout=20))["text"]))
        return messages

    async def leave(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.wait(timeout=5)


def test_the_checks_tick_in_live(owner: Client, upstream: ScriptedServer) -> None:
    connector, person = add(owner, upstream.url), User.objects.get()

    async def watch() -> list[dict[str, Any]]:
        communicator = Socket(connector, person)
        assert await communicator.open()
        messages = await communicator.heard()
        assert (await communicator.receive_output(timeout=20))["code"] == 1000
        return messages

    *checks, end = async_to_sync(watch)()
    assert end == {"done": True, "ok": True}
    running = [check["key"] for check in checks if check["state"] == "running"]
    assert running == ["address", "protocol", "access", "tools"]
    assert {check["key"]: check["state"] for check in checks}["kept"] == "warn"
    assert connector.tools.count() == 3


@pytest.mark.parametrize("duties", [(), ("security",), ("auditor",)])
def test_the_socket_is_shut_to_who_may_not_discover(upstream: ScriptedServer, duties: tuple[str, ...]) -> None:
    sign_in(*duties)
    connector, person = Connector.objects.create(name="helpdesk", urls=[upstream.url]), User.objects.get()

    async def knock() -> list[bool]:
        return [await Socket(connector, who).open() for who in (person, None)]

    assert async_to_sync(knock)() == [False, False]
    assert upstream.requests == []


def hanging(server: ScriptedServer) -> asyncio.Event:
    """Never answers the list of tools, until the line is cut; the event tells that it was asked."""
    is_asked = asyncio.Event()

    async def hang(turn: Turn) -> None:
        is_asked.set()
        await turn.reader.read()

    server.scripts["tools/list"] = hang
    return is_asked


def test_closing_the_page_ends_the_trial_and_keeps_nothing(owner: Client, upstream: ScriptedServer) -> None:
    is_asked = hanging(upstream)
    connector, person = add(owner, upstream.url), User.objects.get()

    async def leave() -> None:
        communicator = Socket(connector, person)
        await communicator.open()
        await eventually(is_asked.is_set)
        await communicator.leave()
        await eventually(lambda: upstream.cut_connections > 0)

    async_to_sync(leave)()
    connector.refresh_from_db()
    assert (connector.last_error, connector.last_seen_at) == ("", None)
    assert asking._running == set()


def test_two_tabs_ask_once(owner: Client, upstream: ScriptedServer) -> None:
    is_asked = hanging(upstream)
    connector, person = add(owner, upstream.url), User.objects.get()

    async def both() -> list[dict[str, Any]]:
        first, second = Socket(connector, person), Socket(connector, person)
        await first.open()
        await eventually(is_asked.is_set)
        await second.open()
        messages = await second.heard()
        await first.leave()
        return messages

    *_, busy, end = async_to_sync(both)()
    assert "right now" in busy["text"]
    assert not end["ok"]
    assert len(upstream.sent("tools/list")) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda: Connector.objects.update(urls=["https://elsewhere.example/"]),
        lambda: Connector.objects.all().delete(),
        lambda: User.objects.update(is_active=False),
    ],
)
def test_what_changed_meanwhile_keeps_the_answer_out(
    owner: Client, upstream: ScriptedServer, change: Callable[[], Any]
) -> None:
    """Else the tools of one address would be pinned for another, or by somebody who was offboarded."""
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def late(turn: Turn) -> None:
        is_asked.set()
        await may_answer.wait()
        await turn.result({"tools": TOOLS, "resultType": "complete"})

    upstream.scripts["tools/list"] = late
    connector, person = add(owner, upstream.url), User.objects.get()

    async def watch() -> list[dict[str, Any]]:
        communicator = Socket(connector, person)
        await communicator.open()
        await eventually(is_asked.is_set)
        await database_sync_to_async(change)()
        may_answer._loop.call_soon_threadsafe(may_answer.set)  # type: ignore[attr-defined]
        return await communicator.heard()

    *_, kept, end = async_to_sync(watch)()
    assert (kept["key"], kept["state"], end["ok"]) == ("kept", "bad", False)
    assert not ToolDefinition.objects.exists()


def test_a_busy_database_is_said_and_the_trial_ends(
    owner: Client, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> Any:
        raise OperationalError("locked")

    monkeypatch.setattr(examine, "act", busy)
    assert tried(owner, add(owner, upstream.url))["kept"] == "bad"
    assert asking._running == set()


def test_a_trial_that_breaks_off_hangs_up(
    owner: Client, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def burst(*_: Any, **__: Any) -> Any:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(consumers, "try_out", burst)
    connector, person = add(owner, upstream.url), User.objects.get()

    async def watch() -> int:
        communicator = Socket(connector, person)
        await communicator.open()
        return int((await communicator.receive_output(timeout=20))["code"])

    assert async_to_sync(watch)() == 1011
