"""Every upstream of the run in one process: `/everything-both/mcp`, `/tasks-legacy/mcp` and so on.

`python -m tests.conformance.upstreams FD` serves on a socket its parent made, so it answers from the first connection
on; `running()` is that parent.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from tests.conformance import everything, tasks_upstream
from tests.conformance.eras import ERAS, NOT_FOUND, answer, of_era
from tests.end_to_end.installation import REPOSITORY

NAMES = ("everything", "tasks")
PATH = "/mcp"
STOP_SECONDS = 10


@contextmanager
def running(log: Path) -> Iterator[dict[str, str]]:
    """`name-era` -> URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.upstreams", str(listener.fileno())],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            pass_fds=(listener.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield {f"{name}-{era}": f"{origin}/{name}-{era}{PATH}" for name in NAMES for era in ERAS}
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def application() -> Any:
    """The SDK's application is one for all eras, since its sessions live as long as its lifespan."""
    applications = {"everything": everything.application(), "tasks": tasks_upstream.application()}
    mounted = {f"/{name}-{era}{PATH}": of_era(app, era) for name, app in applications.items() for era in ERAS}

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await applications["everything"](scope, receive, send)
        elif scope["path"] in mounted:
            await mounted[scope["path"]]({**scope, "path": PATH, "raw_path": PATH.encode()}, receive, send)
        else:
            await answer(send, 404, NOT_FOUND)

    return serve


def main() -> None:
    config = uvicorn.Config(application(), http="h11", log_level="warning", ws="none", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
