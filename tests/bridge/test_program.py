"""The program as a client starts it: its settings, its file, its end."""

import io
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from gatehouse_bridge.address import BadSetting, address_of
from gatehouse_bridge.keys import Key, KeyFile, key_of
from gateway.bridge_client import is_admitted
from gateway.bridge_file import bridge_digest, bridge_file
from governance.models import OAuthClient
from tests.bridge.desk import KEY, SOON_SECONDS, scripted_gateway, until
from tests.gateway.signing_in import person

HELLO = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}\n'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("downloads") / "bridge.pyz"
    path.write_bytes(bridge_file())
    return path


def start(program: Path, *words: str, **environment: str) -> "subprocess.Popen[bytes]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-I", str(program), *words], env=environment, cwd="/", **pipes)


@pytest.mark.parametrize(
    "url",
    [
        "http://gatehouse.example.com/mcp",
        "https://user:gate_ak_secret@gatehouse.example.com/mcp",
        "https://gatehouse.example.com/mcp?key=gate_ak_secret",
        "https://gatehouse.example.com/mcp#gate_ak_secret",
        "ftp://gatehouse.example.com/",
        "https://[::1/mcp",
        "https://gatehouse.example.com:99999/mcp",
        "https:///mcp",
        "https://gatehouse.example.com/m cp",
        "",
    ],
)
def test_addresses_that_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(BadSetting) as refused:
        address_of(url)
    assert "gate_ak_secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/mcp", "http://localhost/mcp", "http://[::1]:80/mcp"])
def test_what_does_not_leave_the_machine_may_be_plain(url: str) -> None:
    assert not address_of(url).is_secure


class TestKey:
    def test_a_file_goes_before_the_variable(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.write_text(f"{KEY}\n")
        path.chmod(0o600)
        key = key_of({"GATEHOUSE_KEY": "gate_ak_other", "GATEHOUSE_KEY_FILE": str(path)})
        assert isinstance(key, KeyFile)
        assert key.current() == KEY

    def test_it_shows_itself_nowhere(self) -> None:
        assert KEY not in repr(Key(KEY))
        with pytest.raises(BadSetting) as refused:
            Key(f"{KEY}\r\nX-Evil: 1")
        assert KEY not in str(refused.value)

    def test_a_file_that_others_may_read_is_warned_of(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "key"
        path.write_text(KEY)
        path.chmod(0o644)
        KeyFile(path)
        assert "chmod 600" in capsys.readouterr().err


def test_the_file_is_the_same_each_time_and_can_be_read() -> None:
    first = bridge_file()
    bridge_file.cache_clear()
    assert bridge_file() == first
    assert len(bridge_digest()) == 64
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert "gatehouse_bridge/program.py" in archive.namelist()


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bridge.pyz"
    call_command("bridge", write=path)
    assert path.read_bytes() == bridge_file()
    assert os.access(path, os.X_OK)
    assert bridge_digest() in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command("bridge")


@pytest.mark.django_db
def test_people_sign_in_with_it_when_it_is_admitted(capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_admitted()
    for told in ("People can sign in", "People could already sign in"):
        call_command("bridge", admit=True)
        assert told in capsys.readouterr().out
    person("aud@example.com", is_staff=True, duties=["auditor"])
    with pytest.raises(CommandError, match="may not do this"):
        call_command("bridge", admit=True, actor="aud@example.com")
    person("it@example.com", is_staff=True, duties=["it-admin"])
    call_command("bridge", admit=True, actor="it@example.com")
    client = OAuthClient.objects.get()
    assert (client.client_id, client.redirect_uris, client.is_confidential) == ("gatehouse-bridge", [], False)
    assert client.grant_types == ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
    with pytest.raises(CommandError):
        call_command("bridge", "https://gatehouse.example.com/mcp", admit=True)


def test_without_a_key_it_says_where_one_belongs(program: Path) -> None:
    process = start(program, "https://gatehouse.example.com/mcp")
    _, errors = process.communicate(timeout=SOON_SECONDS)
    assert (process.returncode, b"GATEHOUSE_KEY" in errors) == (2, True)


def test_it_ends_with_its_client(program: Path) -> None:
    with scripted_gateway() as gateway:
        process = start(program, gateway.url, GATEHOUSE_KEY=KEY)
        output, errors = process.communicate(HELLO, timeout=SOON_SECONDS)
        assert (process.returncode, output.count(b"\n"), errors) == (0, 1, b"")
        assert [visit.command for visit in gateway.seen] == ["POST", "DELETE"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_and_says_good_bye(program: Path, number: signal.Signals) -> None:
    with scripted_gateway() as gateway, start(program, gateway.url, GATEHOUSE_KEY=KEY) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(HELLO)
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(number)
        assert process.wait(SOON_SECONDS) == 0
        until(lambda: gateway.seen[-1].command == "DELETE")


def test_a_gateway_that_comes_a_moment_later_is_found(program: Path) -> None:
    """Both are started by the same person, who does not know in which order."""
    with scripted_gateway() as first:
        port = first.server_address[1]
    process = start(program, f"http://127.0.0.1:{port}/mcp", GATEHOUSE_KEY=KEY)
    assert process.stdin is not None
    process.stdin.write(HELLO)
    process.stdin.flush()
    with scripted_gateway(port) as gateway:
        output = process.stdout.readline() if process.stdout is not None else b""
        assert b'"result"' in output
        process.communicate(timeout=SOON_SECONDS)
        assert gateway.sent("initialize")
