"""How sinks reach the network: by the same rules as connectors. A host is resolved here, each address it has is judged,
and the connection goes to a judged address; https leads anywhere that connectors may go, plain http only to networks
that the installation allows by name. No redirects, no proxies from the environment, certificates always verified."""

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

import httpcore
import httpx
from django.conf import settings

from audit.sinks.base import Refused, Unreachable, WayOut
from connectors.base import UpstreamFailure
from connectors.egress import judged_addresses

CONNECT_SECONDS: Final = 5.0
Judge = Callable[[str, int], Sequence[str]]
HINT: Final = "If it is meant, name its network in UPSTREAM_ALLOWED_NETWORKS."


def way_out() -> WayOut:
    return WayOut(http=http_client, addresses=judged)


def http_client(*, verify: ssl.SSLContext | bool = True, **options: Any) -> httpx.Client:
    trust = ssl.create_default_context() if verify is True else verify
    mounts = {"https://": Pinned(judged, verify=trust), "http://": Pinned(judged_inside, verify=trust)}
    return httpx.Client(mounts=mounts, follow_redirects=False, trust_env=False, **options)


def judged(host: str, port: int) -> Sequence[str]:
    """Raises Refused for an address out of bounds, Unreachable for a name that is not known."""
    try:
        addresses = judged_addresses(_resolved(host, port), allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS)
    except UpstreamFailure as failure:
        raise Refused(f"{failure.message} {HINT}") from None
    return [str(address) for address in addresses]


def judged_inside(host: str, port: int) -> Sequence[str]:
    addresses = judged(host, port)
    networks = settings.UPSTREAM_ALLOWED_NETWORKS
    if not all(any(ip_address(text) in network for network in networks) for text in addresses):
        raise Refused("Plain http leads only to networks in UPSTREAM_ALLOWED_NETWORKS.")
    return addresses


def _resolved(host: str, port: int) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("Its host name could not be resolved.") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Pinned(httpx.HTTPTransport):
    """Connects to judged addresses; TLS goes on checking the name."""

    def __init__(self, judge: Judge, *, verify: ssl.SSLContext | bool) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._pool._network_backend = _Judging(judge)


class _Judging(httpcore.SyncBackend):
    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        limit = CONNECT_SECONDS if timeout is None else min(timeout, CONNECT_SECONDS)
        for address in self._judge(host, port):
            try:
                return super().connect_tcp(address, port, limit, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        raise Refused("A socket of this machine is no destination.")
