"""The only place that opens connections to upstreams, and the guard against server-side request forgery.

A host name is resolved here, every address it has is judged, and the connection goes to an address that was
judged: there is no second look-up an attacker's name server could answer differently (DNS rebinding). Odd
spellings of addresses (`0x7f.1`, `2130706433`) are resolved and judged like names. No redirects, no proxies
from the environment, no cookies, no compressed answers (decompression bombs), certificates always verified.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from connectors.base import HeaderLines, Headers, UpstreamFailure, header_lines
from connectors.bulkhead import Bulkhead
from connectors.http1 import Answer, Connection

T = TypeVar("T")
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

CONNECT_SECONDS = 5.0
ADDRESS_TTL_SECONDS = 30.0
IDLE_SECONDS = 30.0
CONNECTIONS_PER_ORIGIN = 256

# The IANA special-purpose registries (RFC 6890 and later), written out so that every Python judges alike;
# plus Azure's platform address, which looks public.
_SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip
# Outside 2000::/3 nothing is public (loopback, link-local, unique-local, multicast, NAT64); inside it these
# are not.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN_IN_TARGET = re.compile(r"[^\x21-\x7e]")


def is_public(address: IPAddress) -> bool:
    """Whether the address belongs to the open internet, reachable without any allowance."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)


def judged_addresses(found: Iterable[str], *, allowed_networks: Sequence[IPNetwork]) -> tuple[IPAddress, ...]:
    """The addresses, plain IPv4 where mapped into IPv6. Raises `address_refused` when a single one may not
    be reached: a name that mixes public and private addresses is how rebinding begins."""
    addresses = tuple(_unmapped(ipaddress.ip_address(text)) for text in found)
    for address in addresses:
        if not is_public(address) and not any(address in network for network in allowed_networks):
            raise UpstreamFailure(
                "address_refused",
                "The upstream's address is not one Gatehouse may connect to.",
                reached=False,
            )
    return addresses


def _unmapped(address: IPAddress) -> IPAddress:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """All addresses of the host by the operating system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once: where to connect and the unchanging part of each request's head."""

    host: str
    port: int
    is_tls: bool
    head: bytes

    @staticmethod
    def of(url: str) -> "Target":
        """Raises `bad_url` for anything but a plain http or https URL."""
        try:
            parts = urlsplit(url)
            host = _ascii_host(parts.hostname or "")
            default_port = _DEFAULT_PORTS[parts.scheme]
            port = parts.port or default_port
        except (KeyError, ValueError):
            raise _bad_url() from None
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not host or "@" in parts.netloc or parts.fragment or _FORBIDDEN_IN_TARGET.search(path + host):
            raise _bad_url()
        shown = f"[{host}]" if ":" in host else host
        return Target(
            host=host,
            port=port,
            is_tls=parts.scheme == "https",
            head=f" {path} HTTP/1.1\r\nHost: {shown if port == default_port else f'{shown}:{port}'}\r\n"
            "User-Agent: gatehouse\r\nAccept: application/json, text/event-stream\r\n"
            "Accept-Encoding: identity\r\n".encode("ascii"),
        )


def _ascii_host(host: str) -> str:
    return host if ":" in host else host.encode("idna").decode("ascii")


def _bad_url() -> UpstreamFailure:
    return UpstreamFailure("bad_url", "The connector's URL is not a plain http or https URL.", reached=False)


class Origin:
    """One host and port: its judged addresses, and the pool of connections to them."""

    __slots__ = (
        "_addresses",
        "_idle",
        "_is_closed",
        "_judged_at",
        "_lock",
        "_loop",
        "_slots",
        "_target",
        "_tls",
    )

    def __init__(self, target: Target, *, tls: ssl.SSLContext | None) -> None:
        self._target = target
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._addresses: tuple[IPAddress, ...] = ()
        self._judged_at = float("-inf")
        self._lock = asyncio.Lock()
        self._slots = Bulkhead(max_running=CONNECTIONS_PER_ORIGIN, max_waiting=sys.maxsize)
        self._idle: deque[Connection] = deque()
        self._is_closed = False

    async def refresh(self, look_up: Callable[[Target], Awaitable[tuple[IPAddress, ...]]], *, ttl: float) -> None:
        """Looks the host up again once its addresses are `ttl` seconds old; while one call does, the
        others go on with the judged ones. A look-up that fails or is refused leaves the origin without
        any."""
        if self._loop.time() - self._judged_at < ttl or (self._addresses and self._lock.locked()):
            return
        async with self._lock:
            if self._loop.time() - self._judged_at < ttl:
                return
            try:
                self._move_to(await look_up(self._target))
            except UpstreamFailure:
                self._move_to(())
                self._judged_at = float("-inf")
                raise

    def _move_to(self, addresses: tuple[IPAddress, ...]) -> None:
        self._addresses = addresses
        self._judged_at = self._loop.time()
        idle, self._idle = self._idle, deque()
        for connection in idle:
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        """Into the pool, newest last, unless its address is gone; what idled too long leaves it."""
        if self._is_closed or connection.address not in self._addresses:
            connection.abort()
            return
        self._idle.append(connection)
        while self._idle and self._loop.time() - self._idle[0].idle_since > IDLE_SECONDS:
            self._idle.popleft().abort()

    def take_idle(self, *, ttl: float) -> Connection | None:
        """What most requests need: an idle connection to an address judged less than `ttl` seconds ago."""
        if not self._idle or self._loop.time() - self._judged_at >= ttl or not self._slots.enters_at_once():
            return None
        connection = self._pop_usable()
        if connection is None:
            self._slots.leave()
        return connection

    async def take(self) -> Connection:
        """An idle connection or a new one; waits while all slots are in use. Raises UpstreamFailure."""
        await self._slots.enter(wait_seconds=None)
        try:
            return self._pop_usable() or await self._connect()
        except BaseException:
            self._slots.leave()
            raise

    def _pop_usable(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(idle_seconds=IDLE_SECONDS):
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection, *, is_good: bool) -> None:
        self._slots.leave()
        if is_good:
            connection.release(self._keep)
        else:
            connection.abort()

    def close(self) -> None:
        """Closes what idles now, and each connection in use when its exchange ends."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().abort()

    async def _connect(self) -> Connection:
        for address in self._addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._connect_to(address)
            except (OSError, TimeoutError):
                continue
        raise UpstreamFailure("connect_failed", "The upstream could not be connected to.", reached=False)

    async def _connect_to(self, address: IPAddress) -> Connection:
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._loop, address=address),
            str(address),
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.host if self._tls else None,
        )
        return connection


NOT_SENT_IN_TIME = "not_sent_in_time"
SEND_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts while the machine sleeps, too."""


class Egress:
    """Sends requests to upstreams over pooled, pinned connections. Belongs to one event loop."""

    def __init__(
        self,
        *,
        allowed_networks: Sequence[IPNetwork] = (),
        allowed_programs: Iterable[str] = (),
        resolve: Resolver = resolve_by_system,
        address_ttl_seconds: float = ADDRESS_TTL_SECONDS,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.allowed_programs = frozenset(allowed_programs)
        """Absolute paths of what may be run as a local server; the way out that is no address."""
        self._allowed_networks = tuple(allowed_networks)
        self._resolve = resolve
        self._address_ttl_seconds = address_ttl_seconds
        self._trust = trust
        self._routes: dict[str, tuple[Target, Origin]] = {}
        self._origins: dict[tuple[str, int, bool], Origin] = {}

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Headers | HeaderLines,
        body: bytes,
        timeout_seconds: float,
        read: Callable[[Answer], Awaitable[T]],
        send_before_ns: int | None = None,
    ) -> T:
        """One request, written at most once, and what `read` makes of the answer; all within `timeout_seconds`,
        unless `read` moves the answer's deadline. Its first byte is written before `send_before_ns` (CLOCK_BOOTTIME)
        or never.

        The connection is cut when `read` did not come to a good end: an error, the deadline, a cancellation.
        Raises UpstreamFailure, with `reached` False as long as nothing was written.
        """
        target, origin = self._routes.get(url) or self._route(url)
        lines = headers if isinstance(headers, bytes) else header_lines(headers)
        request = b"%b%b%bContent-Length: %d\r\n\r\n%b" % (method.encode(), target.head, lines, len(body), body)
        ends_at = asyncio.get_running_loop().time() + timeout_seconds
        connection = origin.take_idle(ttl=self._address_ttl_seconds) or await self._connected(origin, ends_at)
        is_good = False
        try:
            with connection.deadline.until(ends_at):
                if send_before_ns is not None and time.clock_gettime_ns(SEND_CLOCK) > send_before_ns:
                    raise _not_sent_in_time()
                await connection.send(request)
                outcome = await read(connection)
            is_good = True
            return outcome
        except TimeoutError:
            raise _not_answered_in_time(reached=True) from None
        finally:
            origin.give_back(connection, is_good=is_good)

    async def _connected(self, origin: Origin, ends_at: float) -> Connection:
        """Raises UpstreamFailure: nothing was written yet."""
        try:
            async with asyncio.timeout_at(ends_at):
                await origin.refresh(self._look_up, ttl=self._address_ttl_seconds)
                return await origin.take()
        except TimeoutError:
            raise _not_answered_in_time(reached=False) from None

    def forget(self, url: str) -> None:
        """Closes the connections behind a URL, unless another URL in use leads to the same origin."""
        route = self._routes.pop(url, None)
        if route is None or any(origin is route[1] for _, origin in self._routes.values()):
            return
        self._origins = {key: origin for key, origin in self._origins.items() if origin is not route[1]}
        route[1].close()

    def close(self) -> None:
        for url in tuple(self._routes):
            self.forget(url)

    def _route(self, url: str) -> tuple[Target, Origin]:
        target = Target.of(url)
        key = (target.host, target.port, target.is_tls)
        if key not in self._origins:
            self._origins[key] = Origin(target, tls=self._tls_context() if target.is_tls else None)
        self._routes[url] = target, self._origins[key]
        return self._routes[url]

    def _tls_context(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = ssl.create_default_context()
        return self._trust

    async def _look_up(self, target: Target) -> tuple[IPAddress, ...]:
        try:
            found = await self._resolve(target.host, target.port)
            addresses = judged_addresses(found, allowed_networks=self._allowed_networks)
        except (OSError, ValueError):
            addresses = ()
        if not addresses:
            raise UpstreamFailure("connect_failed", "The upstream's host name could not be resolved.", reached=False)
        return addresses


def _not_sent_in_time() -> UpstreamFailure:
    return UpstreamFailure(NOT_SENT_IN_TIME, "Nothing was sent: it took too long to begin.", reached=False)


def _not_answered_in_time(*, reached: bool) -> UpstreamFailure:
    return UpstreamFailure("timeout", "The upstream did not answer in time.", reached=reached)
