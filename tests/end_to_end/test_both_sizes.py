"""`serve` with all its parts: SQLite with the embedded broker, PostgreSQL with Redis and two gateway processes."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import Helpdesk
from tests.end_to_end.installation import REPOSITORY, Installation, is_ready

PROCESSES = {"sqlite": 1, "postgres": 2}
CHANNEL_LAYER = """
import asyncio, django; django.setup()
from channels.layers import get_channel_layer
async def there_and_back():
    layer = get_channel_layer()
    await layer.send("here", {"type": "word", "text": "heard"})
    return (await layer.receive("here"))["text"], type(layer).__name__
print(*asyncio.run(there_and_back()))
"""


@pytest.fixture
def served(
    request: pytest.FixtureRequest, installation: Installation, helpdesk: Helpdesk
) -> Iterator[tuple[Installation, str]]:
    """The whole product under `serve`; with its address."""
    if installation.database == "postgres":
        installation.configure(REDIS_URL=request.getfixturevalue("redis_url"))
    manifest = {
        "secrets": [{"name": "helpdesk-token", "kind": "bearer", "value_from": {"env": "HELPDESK_TOKEN"}}],
        "connectors": [{"name": "helpdesk", "kind": "mcp", "url": helpdesk.url, "secret": "helpdesk-token"}],
    }
    installation.apply(manifest, HELPDESK_TOKEN=helpdesk.token)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    installation.configure(PORT=str(port))
    process = started(installation, "serve", "--processes", str(PROCESSES[installation.database]))
    try:
        until(lambda: is_ready(f"http://127.0.0.1:{port}"))
        yield installation, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(40) == 0


def started(installation: Installation, *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(REPOSITORY / "manage.py"), *words]
    with (installation.folder / "gateway-serve.log").open("wb") as log:
        return subprocess.Popen(
            command, env=installation.environment, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT
        )


def until(holds: Callable[[], Any], *, seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def run(installation: Installation, *words: str) -> str:
    command = [sys.executable, *words]
    done = subprocess.run(
        command, env=installation.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.mark.databases("sqlite", "postgres")
def test_all_parts_work_together(served: tuple[Installation, str]) -> None:
    house, url = served
    live = "SELECT count(*) FROM gateway_gatewayprocess WHERE ended_at IS NULL"
    until(lambda: house.sql(live) == [(PROCESSES[house.database],)])

    seen = house.sql("SELECT last_seen_at FROM governance_connector")
    run(house, "-m", "celery", "-A", "config", "call", "gateway.tasks.discover_tools")
    until(lambda: house.sql("SELECT last_seen_at FROM governance_connector") != seen)

    until(lambda: house.sql("SELECT count(*) FROM audit_pending") == [(0,)])
    report = json.loads(run(house, str(REPOSITORY / "manage.py"), "verify_audit", "--json"))
    assert report["sound"] is True

    word, layer = run(house, "-c", CHANNEL_LAYER).split()
    assert word == "heard"
    assert (layer == "RedisChannelLayer") == (house.database == "postgres")
    assert is_ready(url)
