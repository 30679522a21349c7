"""A real gateway in front of the conformance upstreams, and in front of it the shim that the suite talks to.

with gateway(house, urls, processes=2) as at: judge_server(at("both"), ...)
"""

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import cast
from tests.conformance.eras import ERAS
from tests.conformance.shim import shim
from tests.conformance.upstreams import NAMES
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background

RELAYS = ["elicitation", "sampling", "roots"]

At = Callable[[str], str]
"""The address of the endpoint whose upstreams are of that era."""


class Apart(Installation):
    """Each gateway process has a socket of its own, so that the shim decides which of them gets a request."""

    def __init__(self, folder: Path, *, database: str, postgres_url: str = "") -> None:
        super().__init__(folder, database=database, postgres_url=postgres_url)
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "Apart":
        return self

    @property
    def origins(self) -> list[str]:
        ports = [listener.getsockname()[1] for listener in self._sockets]
        return [self.url, *(f"http://127.0.0.1:{port}" for port in ports)]

    def _start_process(self) -> "subprocess.Popen[bytes]":
        if not self.processes:
            return super()._start_process()
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._sockets.append(listener)
        lean = {"DJANGO_SETTINGS_MODULE": "config.settings_gateway"}
        return self._start(
            "gateway.http_server", str(listener.fileno()), inherit=(listener.fileno(),), environment=lean
        )

    def close(self) -> None:
        super().close()
        for listener in self._sockets:
            listener.close()


def manifest(urls: Mapping[str, str]) -> dict[str, Any]:
    """For each era one endpoint that shows, under their own names, all that its two upstreams have."""
    organisation = cast.organisation(urls, bundles={era: bundled(era, *NAMES) for era in ERAS})
    for connector in organisation["connectors"]:
        connector["relays"] = RELAYS
    for bundle in organisation["bundles"]:
        everything = bundled(bundle["name"], "everything")
        bundle |= {"names": "plain", "resources": everything, "prompts": everything}
    return organisation


def bundled(era: str, *names: str) -> list[dict[str, Any]]:
    return [{"connector": f"{name}-{era}", "allow": ["*"]} for name in names]


@contextmanager
def gateway(house: Apart, urls: Mapping[str, str], *, processes: int) -> Iterator[At]:
    house.apply(manifest(urls))
    key = house.issue_key(cast.TRIAGE_BOT)
    for _ in range(processes):
        house.start_gateway()
    with in_background(shim(house.origins, token=key)) as origin:
        yield lambda era: f"{origin}/mcp/{era}"
