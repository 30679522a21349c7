"""Signing in with the bridge at the real authorization server, as a person does in her browser."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test import Client
from django.test.testcases import QuietWSGIRequestHandler

from gatehouse_bridge import CLIENT_ID, sign_in
from gatehouse_bridge.address import address_of
from gatehouse_bridge.http import NotSent
from gatehouse_bridge.sign_in import SignedIn
from gatehouse_bridge.token_file import TokenFile, Tokens
from gateway.bridge_client import admit_bridge
from governance import oauth_tokens
from governance.models import AccessToken, Authorization, DeviceCode
from tests.bridge.desk import SOON_SECONDS, until
from tests.fresh_database import fresh_database
from tests.gateway.letting_in import World

__all__ = ("fresh_database",)

pytestmark = pytest.mark.usefixtures("fresh_database")


class Quiet(QuietWSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def origin(fresh_database: None) -> Iterator[str]:
    """The pages on a port of their own; here their threads may answer at once."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet, allow_reuse_address=False)
    server.set_app(WSGIHandler())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SOON_SECONDS)


class Bridge:
    def __init__(self, origin: str, folder: Path) -> None:
        self.url = f"{origin}/mcp/support"
        self.file = TokenFile(folder / "tokens", url=self.url, client_id=CLIENT_ID)

    def signed_in(self) -> SignedIn:
        return SignedIn(address_of(self.url), url=self.url, client_id=CLIENT_ID, file=self.file, opens_browser=False)

    @contextmanager
    def waiting(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, "queue.SimpleQueue[str]"]]:
        """The code that she is told, and where the token will be, or why there is none."""
        told: queue.SimpleQueue[str] = queue.SimpleQueue()
        came: queue.SimpleQueue[str] = queue.SimpleQueue()
        monkeypatch.setattr(sign_in, "say", told.put)
        monkeypatch.setattr(sign_in, "SHORTEST_PAUSE", 0.01)

        def wait() -> None:
            try:
                came.put(self.signed_in().current())
            except NotSent as reason:
                came.put(str(reason))

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        words = told.get(timeout=SOON_SECONDS).split()
        yield words[-1], came
        thread.join(SOON_SECONDS)


@pytest.fixture
def world(settings: Any, origin: str) -> World:
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = origin, ["*"]
    made = World()
    admit_bridge(by="test")
    return made


@pytest.fixture
def bridge(origin: str, tmp_path: Path) -> Bridge:
    return Bridge(origin, tmp_path)


def answer(browser: Client, code: str, verdict: str) -> str:
    shown = browser.post("/oauth/device", {"user_code": code}).content.decode()
    assert "Gatehouse bridge" in shown
    return browser.post("/oauth/device", {"user_code": code, "answer": verdict}).content.decode()


def test_she_agrees_and_the_bridge_has_a_token_of_hers(
    world: World, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bridge.waiting(monkeypatch) as (code, came):
        answer(world.browser, code, "allow")
        token = came.get(timeout=SOON_SECONDS)
    row = oauth_tokens.find_live(token, now=world.now)
    assert row is not None
    assert (row.person, row.resource) == (world.ana, bridge.url)
    assert row.agent.takes_owner_roles
    assert Authorization.objects.get().basis == "device"


def test_she_denies_and_it_is_told(world: World, bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    with bridge.waiting(monkeypatch) as (code, came):
        answer(world.browser, code, "deny")
        assert "access_denied" in came.get(timeout=SOON_SECONDS)
    assert not AccessToken.objects.exists()


def test_it_renews_at_the_real_server_and_ends_with_the_authorization(
    world: World, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bridge.waiting(monkeypatch) as (code, came):
        answer(world.browser, code, "allow")
        first = came.get(timeout=SOON_SECONDS)
    kept = bridge.file.read()
    assert kept is not None
    bridge.file.write(Tokens(kept.access, kept.refresh, time.time()))
    second = bridge.signed_in().current()
    assert second != first
    world.browser.post(f"/me/apps/{Authorization.objects.get().pk}/end/")
    assert oauth_tokens.find_live(second, now=world.now) is None
    renewing = threading.Thread(target=bridge.signed_in().renew, args=(second,), daemon=True)
    renewing.start()
    until(lambda: DeviceCode.objects.count() == 2 and bridge.file.read() is None)
