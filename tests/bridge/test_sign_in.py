"""Signing in instead of a key: the person's browser, tokens that are kept, renewed and shared, and what is refused."""

import json
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatehouse_bridge import sign_in
from gatehouse_bridge.address import address_of
from gatehouse_bridge.http import NotSent
from gatehouse_bridge.sign_in import SignedIn
from gatehouse_bridge.token_file import TokenFile, Tokens
from tests.bridge.desk import SOON_SECONDS, Desk, ScriptedGateway, Visit, opened_desk, scripted_gateway

CLIENT = "client-of-the-bridge"
DEVICE = "/oauth/device_authorization"
TOKEN = "/oauth/token"
PENDING = {"error": "authorization_pending"}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "SHORTEST_PAUSE", 0.01)


def prepared(gateway: ScriptedGateway, **changed: Any) -> None:
    """With an authorization server that lets everybody in at the second look."""
    origin = gateway.url.removesuffix("/mcp")
    metadata = {"issuer": origin, "token_endpoint": origin + TOKEN, "device_authorization_endpoint": origin + DEVICE}
    codes = {
        "device_code": "d-1",
        "user_code": "ABCD-EFGH",
        "verification_uri": f"{origin}/oauth/device",
        "interval": 0,
    }
    gateway.scripts[sign_in.METADATA] = [lambda visit: visit.say(200, {**metadata, **changed})]
    gateway.scripts[DEVICE] = [lambda visit: visit.say(200, codes)]
    gateway.scripts[TOKEN] = [lambda visit: visit.say(400, PENDING), granted("1"), granted("2"), granted("3")]


def granted(mark: str, **changed: Any) -> Callable[[Visit], None]:
    tokens = {"access_token": f"gate_at_{mark * 20}", "refresh_token": f"gate_rt_{mark * 20}", "expires_in": 600}
    return lambda visit: visit.say(200, {**tokens, **changed})


def signed_in(url: str, folder: Path) -> SignedIn:
    file = TokenFile(folder / "tokens", url=url, client_id=CLIENT)
    return SignedIn(address_of(url), url=url, client_id=CLIENT, file=file, opens_browser=False)


def kept(url: str, folder: Path) -> TokenFile:
    return TokenFile(folder / "tokens", url=url, client_id=CLIENT)


def test_she_is_told_where_and_then_the_call_goes_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened_desk(lambda url: signed_in(url, tmp_path)) as desk:
        prepared(desk.gateway)
        desk.gateway.scripts["ping"] = [lambda visit: visit.answer({})]
        assert desk.ask("ping")["result"] == {}
        (seen,) = desk.gateway.sent("ping")
        assert seen.headers["Authorization"] == f"Bearer gate_at_{'1' * 20}"
        (asked,) = desk.gateway.sent(DEVICE)
        assert asked.message == {"client_id": CLIENT, "resource": desk.gateway.url}
        polls = desk.gateway.sent(TOKEN)
        assert {poll.message["device_code"] for poll in polls} == {"d-1"}
    told = capsys.readouterr()
    assert "/oauth/device" in told.err
    assert "ABCD-EFGH" in told.err
    assert (told.out, "gate_at_" in told.err) == ("", False)


def test_what_is_kept_is_for_its_owner_alone_and_is_used_at_the_next_start(tmp_path: Path) -> None:
    with scripted_gateway() as gateway:
        prepared(gateway)
        first = signed_in(gateway.url, tmp_path).current()
        asked = len(gateway.seen)
        assert signed_in(gateway.url, tmp_path).current() == first
        assert len(gateway.seen) == asked
    for path in (tmp_path / "tokens").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o700


def test_a_token_that_ends_is_renewed_and_the_new_one_kept_before_it_is_used(tmp_path: Path) -> None:
    with scripted_gateway() as gateway:
        prepared(gateway)
        file = kept(gateway.url, tmp_path)
        with file.held():
            file.write(Tokens("gate_at_old00000", "gate_rt_old00000", time.time() + 5))
        gateway.scripts[TOKEN] = [granted("2")]
        assert signed_in(gateway.url, tmp_path).current() == f"gate_at_{'2' * 20}"
        (renewal,) = gateway.sent(TOKEN)
        assert renewal.message["refresh_token"] == "gate_rt_old00000"
        assert renewal.message["resource"] == gateway.url
        found = file.read()
        assert found is not None
        assert found.refresh == f"gate_rt_{'2' * 20}"


def test_many_bridges_renew_once(tmp_path: Path) -> None:
    """A refresh token is good for one time: the second to show it would end the whole family."""
    with scripted_gateway() as gateway:
        prepared(gateway)
        file = kept(gateway.url, tmp_path)
        with file.held():
            file.write(Tokens("gate_at_old00000", "gate_rt_old00000", time.time() + 5))
        gateway.scripts[TOKEN] = [granted("2"), lambda visit: visit.say(400, {"error": "invalid_grant"})]
        bridges = [signed_in(gateway.url, tmp_path) for _ in range(8)]
        found: list[str] = []
        threads = [threading.Thread(target=lambda each=each: found.append(each.current())) for each in bridges]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON_SECONDS)
        assert found == [f"gate_at_{'2' * 20}"] * 8
        assert len(gateway.sent(TOKEN)) == 1


def test_who_was_ended_signs_in_anew(tmp_path: Path) -> None:
    with opened_desk(lambda url: signed_in(url, tmp_path)) as desk:
        prepared(desk.gateway)
        new = f"gate_at_{'9' * 20}"

        def check(visit: Visit) -> None:
            if visit.headers["Authorization"] == f"Bearer {new}":
                visit.answer({})
            else:
                visit.say(401, {"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "ended"}})

        desk.gateway.scripts["ping"] = [check]
        refused = [lambda visit: visit.say(400, {"error": "invalid_grant"})]
        desk.gateway.scripts[TOKEN] = [granted("1"), *refused, granted("9")]
        assert desk.ask("ping")["result"] == {}
        assert len(desk.gateway.sent(DEVICE)) == 2


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_client"])
def test_who_does_not_agree_is_told_and_nothing_is_sent(tmp_path: Path, error: str) -> None:
    with opened_desk(lambda url: signed_in(url, tmp_path)) as desk:
        prepared(desk.gateway)
        desk.gateway.scripts[TOKEN] = [lambda visit: visit.say(400, {"error": error})]
        desk.gateway.scripts["tools/call"] = [lambda visit: visit.answer({})]
        told = desk.ask("tools/call", {"name": "refund"})["error"]["message"]
        assert "not signed in" in told
        assert desk.gateway.sent("tools/call") == []


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example.com"},
        {"token_endpoint": "https://evil.example.com/oauth/token"},
        {"device_authorization_endpoint": "http://127.0.0.1:1/oauth/device_authorization"},
        {"token_endpoint": ""},
    ],
)
def test_no_code_or_token_goes_elsewhere(tmp_path: Path, changed: dict[str, str]) -> None:
    with scripted_gateway() as gateway:
        prepared(gateway, **changed)
        with pytest.raises(NotSent, match="not signed in"):
            signed_in(gateway.url, tmp_path).current()
        assert gateway.sent(DEVICE) == gateway.sent(TOKEN) == []


def test_a_page_elsewhere_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_gateway() as gateway:
        prepared(gateway)
        codes = {"device_code": "d", "user_code": "u", "verification_uri": "https://evil.example.com/device"}
        gateway.scripts[DEVICE] = [lambda visit: visit.say(200, codes)]
        with pytest.raises(NotSent):
            signed_in(gateway.url, tmp_path).current()
    assert "evil" not in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"access": 1}', json.dumps([1]).encode()])
def test_a_broken_file_is_no_file(tmp_path: Path, content: bytes) -> None:
    file = kept("http://127.0.0.1/mcp", tmp_path)
    with file.held():
        file.write(Tokens("gate_at_00000000", "gate_rt_00000000", 0))
    (path,) = (tmp_path / "tokens").glob("*.json")
    path.write_bytes(content)
    assert file.read() is None


def test_nobody_is_asked_to_sign_in_for_a_good_bye(tmp_path: Path, desk: Desk) -> None:
    with scripted_gateway() as gateway:
        prepared(gateway)
        assert signed_in(gateway.url, tmp_path).at_hand() == ""
        assert gateway.seen == []
