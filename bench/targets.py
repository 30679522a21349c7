"""What is measured: the upstream itself, nginx before it, and Gatehouse before it on each database."""

import os
import shutil
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.databases import no_server, postgres_database
from bench.load import Target
from bench.probe import is_answering
from bench.processes import StartFailed, has_ended, log_tail, running
from config.keys import ensure_keys
from gateway.http_server import listen
from tests.services import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
FOREIGN = (
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "PUBLIC_URL",
    "SECRET_KEY",
    "GATEHOUSE_KEK",
    "GATEWAY_PROCESSES",
)


@dataclass(frozen=True, slots=True)
class Size:
    agents: int
    rules: int
    policy: str = ""
    """A ready policy that binds everybody beside the rules; empty for none."""


Database = Callable[[], AbstractContextManager[tuple[str, int | None]]]
"""URL, empty for SQLite, and the server's process."""
Offer = Callable[[], AbstractContextManager[Target]]


def offers(upstream: Target, size: Size) -> dict[str, Offer]:
    """What can be measured here, by name."""
    found: dict[str, Offer] = {"direct": partial(_direct, upstream)}
    if nginx := shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"):
        found["nginx"] = partial(_nginx, nginx, upstream)
    found["gatehouse-sqlite"] = partial(_gatehouse, "gatehouse-sqlite", no_server, upstream, size)
    if server := os.environ.get("TEST_DATABASE_URL"):
        database = partial(postgres_database, server)
        found["gatehouse-postgres"] = partial(_gatehouse, "gatehouse-postgres", database, upstream, size)
    return found


@contextmanager
def thin_upstream() -> Iterator[Target]:
    port = free_port()
    argv = [sys.executable, "-m", "bench.upstream", str(port)]
    target = Target("direct", f"http://127.0.0.1:{port}", "/mcp", 0)
    with scratch_folder() as folder, _started(target, argv, folder, os.environ | importable()) as upstream:
        yield upstream


@contextmanager
def _direct(upstream: Target) -> Iterator[Target]:
    yield replace(upstream, cold_start_seconds=None)


@contextmanager
def _nginx(binary: str, upstream: Target) -> Iterator[Target]:
    port = free_port()
    template = string.Template((REPOSITORY / "bench/nginx.conf").read_text())
    with scratch_folder() as folder:
        configuration = folder / "nginx.conf"
        configuration.write_text(template.substitute(port=port, upstream_port=upstream.origin.rpartition(":")[2]))
        argv = [binary, "-p", str(folder), "-c", str(configuration)]
        with _started(Target("nginx", f"http://127.0.0.1:{port}", "/mcp", 0), argv, folder, os.environ) as target:
            yield target


@contextmanager
def _gatehouse(name: str, database: Database, upstream: Target, size: Size) -> Iterator[Target]:
    """One gateway process as `serve` starts it, on an installation of its own."""
    with scratch_folder() as folder, database() as (url, server_pid):
        environment = _installation(folder, url)
        _run(["manage.py", "migrate", "-v0"], environment)
        seed = ["-m", "bench.seed", f"{upstream.origin}{upstream.path}", str(size.agents), str(size.rules), size.policy]
        token = _run(seed, environment).strip()
        with listen("127.0.0.1", 0) as listener:
            argv = [sys.executable, "-m", "gateway.http_server", str(listener.fileno())]
            origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
            target = Target(name, origin, "/mcp/bench", 0, token, server_pid)
            lean = environment | {"DJANGO_SETTINGS_MODULE": "config.settings_gateway"}
            with _started(target, argv, folder, lean, inherit=(listener.fileno(),)) as started:
                yield started


def _installation(folder: Path, database_url: str) -> dict[str, str]:
    ensure_keys(folder)
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    own = {
        "DATA_DIR": str(folder),
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
        "LOG_LEVEL": "WARNING",
    }
    return kept | importable() | own


def importable() -> dict[str, str]:
    return {"PYTHONPATH": str(REPOSITORY)}


def _run(words: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StartFailed(f"{' '.join(words)}: {done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def _started(
    target: Target, argv: Sequence[str], folder: Path, environment: Mapping[str, str], *, inherit: Sequence[int] = ()
) -> Iterator[Target]:
    """Runs it; the cold start is from there to its first right answer."""
    started = time.perf_counter()
    with running(argv, folder=folder, environment=environment, inherit=inherit) as pid:
        while not is_answering(target.origin, target.path, target.token):
            if has_ended(pid) or time.perf_counter() - started > START_SECONDS:
                raise StartFailed(f"{target.name} does not answer:\n{log_tail(folder)}")
            time.sleep(0.01)
        yield replace(target, pid=pid, cold_start_seconds=time.perf_counter() - started)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
