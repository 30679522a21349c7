"""What stands before the pages: turns, and the door of the WebSockets; and the headers of every page."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from gateway.pages import InTurns, OurScreensOnly, is_same_origin

END = {"type": "http.request", "body": b"", "more_body": False}
PART = {"type": "http.request", "body": b"x", "more_body": True}
START = {"type": "http.response.start", "status": 200, "headers": []}


class Slow:
    """An application that reads its request and then waits before it answers, and once more before it ends."""

    def __init__(self) -> None:
        self.at_work = 0
        self.answer = asyncio.Event()
        self.end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        self.at_work += 1
        await self.answer.wait()
        await send(START)
        await self.end.wait()


class Asked:
    def __init__(self, app: Any, *messages: Any) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        for message in messages:
            self.messages.put_nowait(message)
        self.task = asyncio.create_task(app({}, self.messages.get, self._send))

    async def _send(self, message: Any) -> None:
        """Nobody looks at the answers."""


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_as_many_requests_are_at_work_as_there_are_turns():
    slow = Slow()
    app = InTurns(slow, turns=2)
    asked = [Asked(app, END) for _ in range(3)]
    await settle()
    assert slow.at_work == 2
    slow.answer.set()
    await settle()
    assert slow.at_work == 3, "an answer that has begun holds no turn"
    slow.end.set()
    await asyncio.gather(*(one.task for one in asked))


async def test_who_sends_slowly_holds_no_turn_and_who_leaves_gives_it_back():
    slow = Slow()
    app = InTurns(slow, turns=1)
    dripping = [Asked(app, PART) for _ in range(3)]
    first = Asked(app, END)
    await settle()
    assert slow.at_work == 1
    first.task.cancel()
    await settle()
    dripping[0].messages.put_nowait(END)
    await settle()
    assert slow.at_work == 2
    for one in dripping:
        one.task.cancel()
    await asyncio.gather(first.task, *(one.task for one in dripping), return_exceptions=True)


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize(
    ("origin", "is_signed_in", "is_open"),
    [
        ("http://127.0.0.1:8000", True, True),
        ("http://127.0.0.1:8000", False, False),
        ("http://127.0.0.1:3000", True, False),
        ("https://127.0.0.1:8000", True, False),
        ("http://localhost:8000", True, False),
        ("http://evil.example", True, False),
        ("null", True, False),
        ("", True, False),
    ],
)
async def test_screens_open_from_our_own_pages_for_people_signed_in(origin: str, is_signed_in: bool, is_open: bool):
    headers = [(b"host", b"127.0.0.1:8000"), (b"origin", origin.encode())]
    said: list[str] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    person = SimpleNamespace(is_authenticated=is_signed_in)
    await OurScreensOnly(accept)({"headers": headers, "user": person, "scheme": "ws"}, receive, send)
    assert said == ["websocket.accept" if is_open else "websocket.close"]


def test_behind_a_proxy_the_public_address_is_ours(settings):
    settings.PUBLIC_URL = "https://gate.example.com"
    settings.ALLOWED_HOSTS = ["gate.example.com"]
    told = {"scheme": "ws", "headers": [(b"host", b"gate.example.com"), (b"origin", b"https://gate.example.com")]}
    assert is_same_origin(told)
    told["headers"] = [(b"host", b"evil.example"), (b"origin", b"http://evil.example")]
    assert not is_same_origin(told), "DNS rebinding"


@pytest.mark.django_db
def test_every_page_is_closed_to_frames_caches_and_foreign_code():
    answer = Client().get("/account/login/")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "'unsafe-eval'" in Client().get("/admin/").headers["Content-Security-Policy"]


@pytest.mark.django_db
def test_files_may_be_kept_for_a_while():
    answer = Client().get("/static/gatehouse/console.css")
    answer.close()
    assert answer.headers["Cache-Control"].startswith("max-age=")
    assert (
        Client().get("/static/gatehouse/console.css", headers={"If-None-Match": answer.headers["ETag"]}).status_code
        == 304
    )
