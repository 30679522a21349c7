"""One HTTP request to a channel, and what its answer means. Nothing here knows what is told."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from connectors.base import UpstreamFailure
from connectors.egress import Egress, resolve_by_system
from connectors.http1 import Answer

SEND_SECONDS: Final = 10.0
ANSWER_BYTES: Final = 64 * 1024
TOO_MANY, SERVER_ERRORS, TIMED_OUT = 429, 500, 408
LONGEST_WAIT_SECONDS: Final = 3600
SHOWN_OF_ERRORS: Final = 300


class Undelivered(Exception):
    """It did not arrive, or nobody knows; the message is for administrators and holds no secret. `is_final`: trying
    again as things are would be in vain. `retry_after`: seconds that the other side asks for."""

    def __init__(self, message: str, *, is_final: bool = False, retry_after: int = 0) -> None:
        super().__init__(message[:SHOWN_OF_ERRORS])
        self.is_final = is_final
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """`understand` makes the message's reference of a 2xx reply, or raises Undelivered."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    understand: Callable[[Reply], str] = field(repr=False)


async def send(outgoing: Outgoing, ways: "Ways") -> str:
    """Never follows a redirect, and never reaches an address of our own network that is not allowed. Raises
    Undelivered."""
    try:
        reply = await ways.to(outgoing.url).send(
            "POST",
            outgoing.url,
            headers=(("Content-Type", "application/json; charset=utf-8"), *outgoing.headers),
            body=outgoing.body,
            timeout_seconds=SEND_SECONDS,
            read=_read,
        )
    except UpstreamFailure as failure:
        raise Undelivered(f"{failure.code}: {failure.message}") from None
    _check(reply)
    return outgoing.understand(reply)


async def _read(answer: Answer) -> Reply:
    return Reply(answer.status, answer.headers, await answer.whole(at_most=ANSWER_BYTES))


def _check(reply: Reply) -> None:
    if 200 <= reply.status < 300:
        return
    may_pass = reply.status in (TOO_MANY, TIMED_OUT) or reply.status >= SERVER_ERRORS
    raise Undelivered(f"It answered {reply.status}.", is_final=not may_pass, retry_after=retry_after(reply))


def retry_after(reply: Reply) -> int:
    asked = reply.headers.get("retry-after", "")
    return min(int(asked), LONGEST_WAIT_SECONDS) if asked.isascii() and asked.isdecimal() and len(asked) < 8 else 0


@contextmanager
def ways_out() -> Iterator["Ways"]:
    """For one event loop."""
    ways = Ways()
    try:
        yield ways
    finally:
        ways.close()


class Ways:
    """https leads anywhere that connectors may go; plain http only to networks the installation allows by name."""

    def __init__(self) -> None:
        allowed = settings.UPSTREAM_ALLOWED_NETWORKS
        self._sealed = Egress(allowed_networks=allowed)
        self._plain = Egress(allowed_networks=allowed, resolve=_resolve_inside)

    def to(self, url: str) -> Egress:
        return self._sealed if urlsplit(url).scheme == "https" else self._plain

    def close(self) -> None:
        self._sealed.close()
        self._plain.close()


async def _resolve_inside(host: str, port: int) -> Sequence[str]:
    found = await resolve_by_system(host, port)
    networks = settings.UPSTREAM_ALLOWED_NETWORKS
    if not all(any(ip_address(text) in network for network in networks) for text in found):
        raise Undelivered("Plain http leads only to networks in UPSTREAM_ALLOWED_NETWORKS.", is_final=True)
    return found
