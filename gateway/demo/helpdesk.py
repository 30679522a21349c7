"""The demo's upstream process: a real MCP server with a token of its own, on a port it keeps."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.supervisor import Part

START_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Helpdesk:
    """Everything of the demo lies in one folder, readable by its owner only."""

    folder: Path
    base_dir: Path

    @property
    def token_file(self) -> Path:
        return self.folder / "helpdesk.token"

    def prepare(self) -> int:
        """Makes folder and token; returns the port to use, the last one if it is still free."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.token_file.exists():
            write_private(self.token_file, f"helpdesk-{secrets.token_urlsafe(24)}")
        port_file = self.folder / "helpdesk.port"
        port = _free_port(port_file)
        port_file.write_text(str(port))
        return port

    def part(self, port: int) -> Part:
        """For the supervisor, which keeps it running beside the gateway."""
        return Part("helpdesk", self._argv(port), environment={"PYTHONPATH": str(self.base_dir)})

    @contextmanager
    def running(self, port: int) -> Iterator[None]:
        """Runs it for as long as the block takes, e.g. to discover its tools."""
        environment = {**os.environ, "PYTHONPATH": str(self.base_dir)}
        process = subprocess.Popen(self._argv(port), env=environment, stdin=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield
        finally:
            process.terminate()
            process.wait(10)

    def _argv(self, port: int) -> tuple[str, ...]:
        files = ("--data-dir", str(self.folder), "--token-file", str(self.token_file))
        return (sys.executable, "-m", "connectors.demo", "--port", str(port), *files)


def write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


def _free_port(port_file: Path) -> int:
    with suppress(OSError, ValueError):
        port = int(port_file.read_text())
        with socket.create_server(("127.0.0.1", port)):
            return port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("the demo helpdesk did not start")
