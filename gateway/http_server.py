"""One gateway process: uvicorn on the listening socket that `serve` opened and hands down by number."""

import logging
import os
import resource
import socket
import sys
from functools import partial

import uvicorn
from django.conf import settings

from gateway.draining import DRAIN, DRAIN_SECONDS
from gateway.http_connections import Connections
from gateway.tunnels import UpgradingHttpProtocol

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
OTHER_DESCRIPTORS = 4_096

logger = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """One socket for all gateway processes: when one dies, the others serve what waits in its queue."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def server_config() -> uvicorn.Config:
    """Host and port stay unset: not uvicorn's `fd` either, which takes every socket for a Unix one."""
    kept = Connections(
        maximum=most_connections(),
        of_one_address=settings.GATEWAY_MAX_CONNECTIONS_PER_ADDRESS,
        trusted=settings.TRUSTED_PROXIES,
    )
    return uvicorn.Config(
        settings.GATEWAY_APPLICATION,
        http=partial(UpgradingHttpProtocol, kept),  # type: ignore[arg-type]  # called like the class
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.TRUSTED_PROXIES),
        forwarded_allow_ips=[str(network) for network in settings.TRUSTED_PROXIES],
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


class DrainingServer(uvicorn.Server):
    """Says when it begins to shut down: the application's own shutdown comes only after the last connection."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        DRAIN.begin()
        await super().shutdown(sockets)


def allow_many_connections() -> None:
    """Each takes a file descriptor, as do connections to upstreams; the usual soft limit is 1,024."""
    wanted = settings.GATEWAY_MAX_CONNECTIONS + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logger.warning("GATEWAY_MAX_CONNECTIONS: the system allows this process only %d open files.", allowed)


def most_connections() -> int:
    """Fewer than configured where the system allows too few open files: a flood may not take those that calls need."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return int(settings.GATEWAY_MAX_CONNECTIONS)
    return min(settings.GATEWAY_MAX_CONNECTIONS, max(allowed - OTHER_DESCRIPTORS, allowed // 2))


def main(descriptor: int) -> None:
    allow_many_connections()
    listener = socket.socket(fileno=descriptor)
    server = DrainingServer(server_config())
    server.run(sockets=[listener])
    sys.exit(os.EX_OK if server.started else os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main(int(sys.argv[1]))
