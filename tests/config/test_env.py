import base64
from ipaddress import ip_network
from pathlib import Path
from pprint import pformat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import env

KEY = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def setenv(monkeypatch):
    def apply(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return apply


def complaint(read, *args, **kwargs) -> str:
    with pytest.raises(env.WrongSetting) as stopped:
        read(*args, **kwargs)
    line = str(stopped.value.code)
    assert "\n" not in line
    return line


def test_unset_and_empty_mean_the_default(setenv):
    setenv(EMPTY="  ")
    for name in ("EMPTY", "NEVER_SET"):
        assert env.text(name, default="x") == "x"
        assert env.flag(name, default=True) is True
        assert env.number(name, default=3, low=1, high=9) == 3
        assert env.networks(name) == ()
        assert env.secret(name) == ""


@pytest.mark.parametrize(("value", "meaning"), [("1", True), ("Yes", True), ("off", False), ("0", False)])
def test_flag(setenv, value, meaning):
    setenv(X=value)
    assert env.flag("X", default=not meaning) is meaning


@pytest.mark.parametrize("value", ["2", "maybe", "tru"])
def test_a_flag_that_is_neither_is_refused(setenv, value):
    setenv(X=value)
    assert complaint(env.flag, "X", default=False).startswith("X: ")


@pytest.mark.parametrize("value", ["0", "10", "-1", "1.5", "x", "²", "1e3"])
def test_a_number_out_of_range_or_none_is_refused(setenv, value):
    setenv(PORT=value)
    assert "from 1 to 9" in complaint(env.number, "PORT", default=1, low=1, high=9)


@pytest.mark.parametrize(
    "value",
    ["x", "ftp://host", "https://", "https://host/path", "https://u@host", "https://h:99999", "http://[::1"],
)
def test_a_wrong_origin_is_refused(setenv, value):
    setenv(PUBLIC_URL=value)
    assert complaint(env.origin, "PUBLIC_URL", default="").startswith("PUBLIC_URL: ")


def test_origin_drops_the_last_slash(setenv):
    setenv(PUBLIC_URL="https://gate.example.com:8443/")
    assert env.origin("PUBLIC_URL", default="") == "https://gate.example.com:8443"


def test_networks(setenv):
    setenv(X="10.0.0.0/8, fd00::/8")
    assert env.networks("X") == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    setenv(X="10.0.0.1/8")
    assert "'10.0.0.1/8' is not a network" in complaint(env.networks, "X")


def test_a_secret_comes_from_its_variable_its_file_or_the_default_file(setenv, monkeypatch, tmp_path: Path):
    default, named = tmp_path / "default", tmp_path / "named"
    default.write_text("from-default\n")
    named.write_text("from-named\n")
    assert env.secret("X", file=default) == "from-default"
    setenv(X_FILE=str(named))
    assert env.secret("X", file=default) == "from-named"
    setenv(X="from-variable")
    assert "not both" in complaint(env.secret, "X", file=default)
    monkeypatch.delenv("X_FILE")
    assert env.secret("X", file=default) == "from-variable"


def test_an_unreadable_or_empty_secret_file_is_named(setenv, tmp_path: Path):
    setenv(X_FILE=str(tmp_path / "missing"))
    assert "missing (No such file" in complaint(env.secret, "X")
    (tmp_path / "missing").write_bytes(b"\xff\xfe")
    assert "not text" in complaint(env.secret, "X")
    (tmp_path / "missing").write_text(" \n")
    assert "is empty" in complaint(env.secret, "X")


def test_a_missing_secret_names_the_way_out(tmp_path: Path):
    line = complaint(env.required_secret, "SOME_KEY", file=tmp_path / "some.key")
    assert "SOME_KEY_FILE" in line
    assert "make up" in line


@pytest.mark.parametrize("value", ["short", KEY[:-4], KEY + KEY, "é" * 44, KEY.replace("A", "*")])
def test_a_wrong_key_is_refused_without_showing_it(setenv, tmp_path: Path, value):
    setenv(KEK=value)
    line = complaint(env.key, "KEK", file=tmp_path / "kek")
    assert "32 random bytes" in line
    assert value not in line


def test_previous_keys_are_a_list(setenv):
    setenv(OLD=f"{KEY}, {KEY}\n{KEY}")
    assert env.keys("OLD") == [bytes(32)] * 3
    assert env.keys("NEVER_SET") == []


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_a_url_with_a_password_is_never_repeated(value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", f"mysql://user:pw-{value}@host/x")
        assert f"pw-{value}" not in complaint(env.secret_url, "DATABASE_URL", schemes=("postgresql",))


def test_secrets_do_not_show():
    values = {
        "a": env.HiddenText("hunter2"),
        "b": env.HiddenBytes(b"hunter2"),
        "c": [env.HiddenText("hunter2")],
    }
    assert "hunter2" not in repr(values)
    assert "hunter2" not in pformat(values)
    assert values["a"] + "" == "hunter2"
