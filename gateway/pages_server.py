"""The pages process: admin, REST API, sign-in and WebSockets, on a Unix socket that only gateways reach."""

import os
import sys
import warnings

import uvicorn
from django.conf import settings

MESSAGE_LIMIT = 64 * 1024
PING_SECONDS = 20.0
KEEP_ALIVE_SECONDS = 75
"""Longer than the gateway keeps an idle connection, so that it never writes into one that is closing."""
DRAIN_SECONDS = 10


def server_config(socket_path: str) -> uvicorn.Config:
    """Whoever reaches the socket is believed about client and scheme: its folder must be closed to others."""
    return uvicorn.Config(
        settings.PAGES_APPLICATION,
        uds=socket_path,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=MESSAGE_LIMIT,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=True,
        forwarded_allow_ips="*",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def main(socket_path: str) -> None:
    """WhiteNoise hands Django its static files synchronously; they are small, so the warning says nothing."""
    warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
    server = uvicorn.Server(server_config(socket_path))
    server.run()
    sys.exit(os.EX_OK if server.started else os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main(sys.argv[1])
