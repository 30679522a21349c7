"""Waiting for a gateway of our own to answer."""

import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

READY_SECONDS = 60.0


def wait_until_ready(host: str, port: int, *, seconds: float = READY_SECONDS) -> bool:
    """Asks /readyz until it says 200; False when it does not in time."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection(address, port, timeout=2)
            connection.request("GET", "/readyz", headers={"Host": "127.0.0.1"})
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.1)
    return False
