import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from gateway.draining import DRAIN_SECONDS
from gateway.http_server import listen
from gateway.supervisor import Part, Supervisor
from governance.fence.lockfile import overdue_holder

PARTS = ("gateway", "worker", "beat", "sequencer")
KILL_AFTER_SECONDS = DRAIN_SECONDS + 5
CELERY = (sys.executable, "-m", "celery", "--quiet", "-A", "config")
WORKER_THREADS = 4


class Command(BaseCommand):
    help = "Runs the long-lived parts until SIGTERM or Ctrl-C: gateway (with the pages), worker, beat and sequencer."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", default=",".join(PARTS), help="parts to run, separated by commas")
        parser.add_argument("--processes", type=int, default=settings.GATEWAY_PROCESSES, help="gateway processes")

    def handle(self, *, only: str, processes: int, **options: Any) -> None:
        chosen = chosen_parts(only)
        if processes < 1:
            raise CommandError("--processes must be at least 1.")
        parts = [part for name in chosen for part in parts_of(name, processes=processes)]
        connection.close()
        supervisor = Supervisor(parts, drain_seconds=KILL_AFTER_SECONDS, overdue=overdue_writer())
        sys.exit(supervisor.run())


def chosen_parts(only: str) -> list[str]:
    chosen = [name.strip() for name in only.split(",") if name.strip()]
    unknown = set(chosen) - set(PARTS)
    if unknown or not chosen:
        raise CommandError(f"--only takes some of {', '.join(PARTS)}, not '{only}'.")
    return [name for name in PARTS if name in chosen]


def parts_of(name: str, *, processes: int) -> Iterable[Part]:
    if name == "gateway":
        return gateway_parts(processes)
    return [Part(name, ARGV[name], environment=importable())]


def gateway_parts(processes: int) -> list[Part]:
    """Gateways that share the port, and behind them one process for the pages."""
    try:
        descriptor = listen(settings.HOST, settings.PORT).detach()
    except OSError as error:
        raise CommandError(
            f"PORT: cannot listen on {settings.HOST}:{settings.PORT} ({error.strerror}); set HOST or PORT."
        ) from error
    argv = (sys.executable, "-m", "gateway.http_server", str(descriptor))
    pages_socket = str(private_folder() / "pages.sock")
    lean = {"DJANGO_SETTINGS_MODULE": settings.GATEWAY_SETTINGS, "GATEHOUSE_PAGES_SOCKET": pages_socket}
    return [
        *(
            Part(f"gateway-{number}", argv, inherit=(descriptor,), environment=importable() | lean)
            for number in range(1, processes + 1)
        ),
        Part("pages", (sys.executable, "-m", "gateway.pages_server", pages_socket), environment=importable()),
    ]


def private_folder() -> Path:
    """For sockets, whose paths must be short; nobody but us may enter it."""
    folder = tempfile.mkdtemp(prefix="gatehouse-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def importable() -> dict[str, str]:
    """Lets children import our packages from whatever folder `serve` was started in."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH")]))}


ARGV = {
    "worker": (
        *(*CELERY, "worker", "--pool", "threads", "--concurrency", str(WORKER_THREADS)),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", settings.LOG_LEVEL),
    ),
    "beat": (*CELERY, "beat", "--pidfile=", "--loglevel", settings.LOG_LEVEL),
    "sequencer": (sys.executable, "-m", "django", "sequencer"),
}


def overdue_writer() -> Callable[[], int | None]:
    """On SQLite, whoever holds the write lock for too long; PostgreSQL ends such sessions itself."""
    if connection.vendor != "sqlite":
        return lambda: None
    return partial(overdue_holder, f"{settings.DATABASES['default']['NAME']}.lock")
