"""The token endpoint's own way through the pages process."""

from collections.abc import Iterable
from typing import Any

import pytest
from django.core.cache import cache

from gateway.oauth.endpoints import MOST_BYTES
from gateway.oauth.serving import ForPrograms

FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    cache.clear()


class Asked:
    """One request to the application; `pages` says whether it went on to the pages."""

    def __init__(self, path: str = "/oauth/token", method: str = "POST", host: bytes = b"localhost") -> None:
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "scheme": "http",
            "headers": [(b"host", host), FORM],
            "client": ("192.0.2.7", 1),
        }
        self.pages = False
        self.sent: list[Any] = []

    async def answered(self, *parts: bytes, leaves: bool = False) -> "Asked":
        messages = self._messages(parts, leaves)

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            self.sent.append(message)

        await ForPrograms(self._pages)(self.scope, receive, send)
        return self

    async def _pages(self, scope: Any, receive: Any, send: Any) -> None:
        self.pages = True

    def _messages(self, parts: Iterable[bytes], leaves: bool) -> Any:
        for part in parts:
            yield {"type": "http.request", "body": part, "more_body": True}
        yield {"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b"", "more_body": False}

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


@pytest.mark.parametrize("path", ["/oauth/authorize", "/oauth/device", "/oauth/token/", "/admin/", "/oauth"])
async def test_whatever_is_for_people_goes_to_the_pages(path: str) -> None:
    assert (await Asked(path).answered()).pages


@pytest.mark.parametrize("path", ["token", "revoke", "introspect", "device_authorization"])
async def test_what_programs_ask_is_answered_here_under_the_headers_of_every_page(path: str) -> None:
    asked = await Asked(f"/oauth/{path}", method="GET").answered()
    assert (asked.pages, asked.status) == (False, 405)
    headers = asked.headers
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "no-store"
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert int(headers["content-length"]) == len(asked.sent[1]["body"])


async def test_a_strange_host_is_not_served() -> None:
    assert (await Asked(host=b"evil.example").answered()).status == 400


async def test_a_body_is_bounded_also_where_nobody_said_how_long_it_is() -> None:
    asked = await Asked().answered(b"a=", *[b"x" * 16_384] * (MOST_BYTES // 16_384 + 1))
    assert asked.status == 413


async def test_a_query_that_is_no_text_is_refused_in_order() -> None:
    asked = Asked()
    asked.scope["query_string"] = b"\xff"
    assert (await asked.answered()).status == 400


async def test_who_leaves_is_not_answered() -> None:
    assert (await Asked().answered(b"grant_type=", leaves=True)).sent == []
