"""One gateway process: uvicorn on the listening socket that `serve` opened and hands down by number."""

import os
import socket
import sys

import uvicorn
from django.conf import settings

from gateway.tunnels import UpgradingHttpProtocol

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
DRAIN_SECONDS = 30


def listen(host: str, port: int) -> socket.socket:
    """One socket for all gateway processes: when one dies, the others serve what waits in its queue."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def server_config() -> uvicorn.Config:
    """Host and port stay unset: not uvicorn's `fd` either, which takes every socket for a Unix one."""
    return uvicorn.Config(
        settings.GATEWAY_APPLICATION,
        http=UpgradingHttpProtocol,
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


def main(descriptor: int) -> None:
    listener = socket.socket(fileno=descriptor)
    server = uvicorn.Server(server_config())
    server.run(sockets=[listener])
    sys.exit(os.EX_OK if server.started else os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main(int(sys.argv[1]))
