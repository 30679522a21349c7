"""Typed readers of the environment. Each failure is one line that names the variable and the way out."""

import base64
import binascii
import os
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

KEY_BYTES = 32


class WrongSetting(SystemExit):
    """A SystemExit, so that no entry point (manage.py, celery, uvicorn) makes a traceback of the one line."""


class HiddenText(str):
    """A secret that debug pages, reprs and f"{x!r}" do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class HiddenBytes(bytes):
    """See HiddenText."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


def wrong(name: str, way_out: str) -> NoReturn:
    raise WrongSetting(f"{name}: {way_out}")


def text(name: str, *, default: str = "", choices: Iterable[str] = ()) -> str:
    value = os.environ.get(name, "").strip() or default
    if choices and value not in choices:
        wrong(name, f"'{value}' is not one of {', '.join(choices)}.")
    return value


def words(name: str, *, default: Iterable[str] = ()) -> list[str]:
    """Values separated by commas."""
    return [word.strip() for word in text(name).split(",") if word.strip()] or list(default)


def flag(name: str, *, default: bool) -> bool:
    value = text(name, default=str(int(default))).lower()
    if value not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        wrong(name, f"'{value}' is neither yes nor no; write 1 or 0.")
    return value in {"1", "true", "yes", "on"}


def number(name: str, *, default: int, low: int, high: int) -> int:
    value = text(name, default=str(default))
    if not (value.isascii() and value.isdigit()):
        wrong(name, f"'{value}' is not a whole number; write one from {low} to {high}.")
    if not low <= int(value) <= high:
        wrong(name, f"{value} is out of range; write a number from {low} to {high}.")
    return int(value)


def place(name: str, *, default: Path) -> Path:
    return Path(text(name, default=str(default))).expanduser().absolute()


def paths(name: str) -> tuple[str, ...]:
    """Absolute paths separated by commas."""
    named = words(name)
    for path in named:
        if not path.startswith("/"):
            wrong(name, f"'{path}' is no absolute path; write it as /usr/bin/node.")
    return tuple(named)


def url(name: str, *, default: str = "", schemes: Iterable[str]) -> str:
    return _address(name, text(name, default=default), schemes=schemes)


def secret_url(name: str, *, schemes: Iterable[str]) -> HiddenText:
    """A URL that may hold a password; NAME_FILE works too."""
    return HiddenText(_address(name, secret(name), schemes=schemes))


def _address(name: str, value: str, *, schemes: Iterable[str]) -> str:
    """The value, if it is a URL with a host or a path. No message repeats it: it may hold a password."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        wrong(name, "this is not a URL; check its host and port.")
    if not value:
        return ""
    if parts.scheme not in schemes:
        wrong(name, f"the URL must start with {' or '.join(f'{scheme}://' for scheme in schemes)}.")
    if not (parts.netloc or parts.path.strip("/")):
        wrong(name, "the URL names no host.")
    return value


def origin(name: str, *, default: str) -> str:
    """A canonical origin: scheme and host, nothing after them."""
    value = url(name, default=default, schemes=("http", "https")).rstrip("/")
    parts = urlsplit(value)
    if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        wrong(name, "write only scheme, host and port, as in https://gatehouse.example.com.")
    return value


def networks(name: str) -> tuple[Network, ...]:
    """CIDRs separated by commas."""
    return tuple(_network(name, word) for word in words(name))


def _network(name: str, word: str) -> Network:
    try:
        return ip_network(word)
    except ValueError as error:
        wrong(name, f"'{word}' is not a network ({error}); write it as 10.1.0.0/16 or fd00::/8.")


def secret(name: str, *, file: Path | None = None, at_least: int = 1) -> HiddenText:
    """From NAME, else from the file that NAME_FILE names, else from `file`; empty if there is none."""
    value = _secret(name, file)
    if value and len(value) < at_least:
        wrong(name, f"it is shorter than {at_least} characters; use a random one.")
    return value


def _secret(name: str, file: Path | None) -> HiddenText:
    named = text(f"{name}_FILE")
    if text(name) and named:
        wrong(name, f"set {name} or {name}_FILE, not both.")
    if text(name):
        return HiddenText(text(name))
    if named:
        return HiddenText(_contents(f"{name}_FILE", Path(named)))
    if file is not None and file.exists():
        return HiddenText(_contents(name, file))
    return HiddenText()


def required_secret(name: str, *, file: Path, at_least: int = 1) -> HiddenText:
    value = secret(name, file=file, at_least=at_least)
    return value or wrong(name, f"it is not set; set {name} or {name}_FILE, or let `make up` write {file}.")


def key(name: str, *, file: Path) -> HiddenBytes:
    """32 bytes in base64."""
    return _key(name, required_secret(name, file=file))


def keys(name: str) -> list[HiddenBytes]:
    """Keys of 32 bytes in base64, separated by commas or white space; none is fine."""
    return [_key(name, word) for word in secret(name).replace(",", " ").split()]


def _key(name: str, value: str) -> HiddenBytes:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        wrong(name, f"it must be {KEY_BYTES} random bytes in base64; make one with `openssl rand -base64 32`.")
    return HiddenBytes(raw)


def _contents(name: str, path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        wrong(name, f"cannot read {path} ({reason}).")
    return value or wrong(name, f"{path} is empty.")
