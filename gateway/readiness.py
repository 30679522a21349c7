"""Asking a gateway of our own whether it answers. `python -m gateway.readiness` is the container's health check."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

READY_SECONDS = 180.0
"""A small machine that does much else besides takes its time."""


def wait_until_ready(host: str, port: int, *, seconds: float = READY_SECONDS) -> bool:
    """Asks /readyz until it says 200; False when it does not in time."""
    return _wait(host, port, "/readyz", lambda status: status == 200, seconds)


def wait_for_pages(host: str, port: int, *, seconds: float = READY_SECONDS) -> bool:
    """Until the pages process answers, whatever it says."""
    return _wait(host, port, "/account/login/", lambda status: status < 500, seconds)


def _wait(host: str, port: int, path: str, is_fine: Callable[[int], bool], seconds: float) -> bool:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection(address, port, timeout=2)
            connection.request("GET", path, headers={"Host": "127.0.0.1"})
            if is_fine(connection.getresponse().status):
                return True
        time.sleep(0.1)
    return False


def main() -> int:
    """Exit status 0 when the gateway on PORT serves; needs no settings and no keys."""
    return 0 if wait_until_ready("127.0.0.1", int(os.environ.get("PORT", "8000")), seconds=2) else 1


if __name__ == "__main__":
    sys.exit(main())
