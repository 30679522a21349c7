"""Requests to authorization servers. Their addresses come from upstreams, so all of them are hostile: judged by egress,
never redirected, answers bounded in size, depth and time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from connectors.base import Headers, UpstreamFailure
from connectors.egress import Egress
from connectors.http1 import Answer
from connectors.json_depth import is_too_deep

LONGEST_SECONDS = 10.0
LARGEST_BODY = 64 * 1024
LONGEST_URL = 500
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_ERROR_CODE = re.compile(r"[a-z_]{1,60}")


class OAuthFailure(Exception):
    """What an authorization server did not do. `code` is stable: `unreachable` may be better later, OAuth's own error
    codes (`invalid_grant`, `invalid_client`, ...) will not. `message` is ours and safe to show; what the server wrote
    is never part of it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def is_temporary(self) -> bool:
        return self.code == "unreachable"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: dict[str, Any] = field(repr=False)
    """Empty unless it was a JSON object."""

    @property
    def error(self) -> str:
        """OAuth's own code for what went wrong; empty if there is none that has the form of one."""
        said = self.body.get("error")
        return said if isinstance(said, str) and _ERROR_CODE.fullmatch(said) else ""


def is_fit_url(url: object, *, with_query: bool = True) -> bool:
    """Whether we may be sent there, or send something there: TLS, except on this machine."""
    if not isinstance(url, str) or not 0 < len(url) <= LONGEST_URL or not url.isascii() or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_private = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    return bool(is_private and host and " " not in url and "@" not in parts.netloc and "#" not in url) and (
        with_query or "?" not in url
    )


async def get(egress: Egress, url: str) -> Reply:
    return await _request(egress, "GET", url, headers=(), body=b"")


async def post_json(egress: Egress, url: str, said: Mapping[str, Any], headers: Headers = ()) -> Reply:
    lines = (("Content-Type", "application/json"), *headers)
    return await _request(egress, "POST", url, headers=lines, body=orjson.dumps(said))


async def post_form(egress: Egress, url: str, said: Mapping[str, str], headers: Headers = ()) -> Reply:
    lines = (("Content-Type", "application/x-www-form-urlencoded"), *headers)
    return await _request(egress, "POST", url, headers=lines, body=urlencode(said).encode())


async def _request(egress: Egress, method: str, url: str, *, headers: Headers, body: bytes) -> Reply:
    """Raises OAuthFailure."""
    if not is_fit_url(url):
        raise OAuthFailure("bad_url", "The address of an authorization server must be plain https.")
    try:
        return await egress.send(method, url, headers=headers, body=body, timeout_seconds=LONGEST_SECONDS, read=_read)
    except UpstreamFailure as failure:
        code = failure.code if failure.code in ("address_refused", "too_large") else "unreachable"
        host = urlsplit(url).hostname
        raise OAuthFailure(code, f"{host}: {failure.message}") from None


async def _read(answer: Answer) -> Reply:
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise UpstreamFailure("bad_answer", "It compressed its answer although asked not to.", reached=True)
    return Reply(answer.status, answer.headers, _parsed(await answer.whole(at_most=LARGEST_BODY)))


def _parsed(document: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(document)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) and not is_too_deep(document, value) else {}
