"""A whole installation of its own: data folder, keys, database and real gateway processes.

    house = Installation(tmp_path, database="sqlite")
    house.apply({"people": [...], ...})
    key = house.issue_key("triage-bot")
    url = house.start_gateway(processes=2)     # http://127.0.0.1:<port>
    house.kill9()                              # no goodbye
    house.close()                              # in a finally, or use `with`

Everything goes through the outside surface: commands in child processes and HTTP. `sql` looks at what is stored.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.migrated import (
    FOREIGN,
    copy_database,
    drop_database,
    installed,
    migrated_folder,
    on_server,
)

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 180.0
PAGES_SECONDS = 240.0
STOP_SECONDS = 40.0
COMMAND_SECONDS = 300.0


class CommandFailed(AssertionError):
    """A command ended with another status than the test expected."""


class Installation:
    """`postgres_url` is a server on which databases may be created; SQLite needs none."""

    def __init__(self, folder: Path, *, database: str = "sqlite", postgres_url: str = "") -> None:
        self.folder = folder
        self.database = database
        self.data_dir = folder / "data"
        self.url = ""
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pages: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self._socket_folder: tempfile.TemporaryDirectory[str] | None = None
        self._extra: dict[str, str] = {
            "UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        self._admin_url = postgres_url
        shutil.copytree(migrated_folder(), self.data_dir)
        self.database_url = copy_database(postgres_url, "gatehouse_e2e") if database == "postgres" else ""

    def __enter__(self) -> "Installation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- commands

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        return inherited | installed(self.data_dir, self.database_url) | self._extra

    def configure(self, **variables: str) -> None:
        """Sets environment variables of commands and gateways started from now on."""
        self._extra |= variables

    def manage(
        self, *words: str, expect: int | None = 0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end. Raises CommandFailed when its status is not `expect` (None: any).

        It chooses its settings as it does in real life.
        """
        chosen = {name: value for name, value in self.environment.items() if name != "DJANGO_SETTINGS_MODULE"}
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "manage.py"), *words],
            env=chosen | dict(environment or {}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if expect is not None and done.returncode != expect:
            raise CommandFailed(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def answer(self, *words: str, expect: int | None = 0) -> Any:
        """What a command prints with --json."""
        return json.loads(self.manage(*words, "--json", expect=expect).stdout)

    def apply(self, manifest: Mapping[str, Any], **environment: str) -> str:
        """`environment` holds the values that the manifest's `value_from: {env: NAME}` names."""
        file = self.folder / "manifest.json"
        file.write_text(json.dumps({"apiVersion": "gatehouse/v1", **manifest}))
        return self.manage("apply", str(file), environment=environment).stdout

    def issue_key(self, agent: str, **options: str) -> str:
        return str(self.issue(agent, **options)["key"])

    def issue(self, agent: str, **options: str) -> dict[str, Any]:
        """Key and key_id; options as `expires="30d"`."""
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        issued: dict[str, Any] = self.answer("issue_key", agent, *words)
        return issued

    # -- the gateway

    def start_gateway(self, processes: int = 1, *, pages: bool = False) -> str:
        """Real gateway processes on one socket; returns the origin once they serve. The port stays the same.

        Only with `pages` is there a process for the admin and its like: it takes a second more.
        """
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
            port = self._listener.getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            self.configure(PORT=str(port))
        if pages and self.pages is None:
            self.start_pages()
        self.processes += [self._start_process() for _ in range(processes)]
        self._await_ready()
        if pages:
            self._await_pages()
        return self.url

    def start_pages(self) -> None:
        """The pages process; gateways that were started with one reach its successors, too."""
        if self._socket_folder is None:
            self._socket_folder = tempfile.TemporaryDirectory(prefix="gatehouse-")
            self.configure(GATEHOUSE_PAGES_SOCKET=f"{self._socket_folder.name}/pages.sock")
        self.pages = self._start("gateway.pages_server", self._extra["GATEHOUSE_PAGES_SOCKET"])

    def _await_pages(self) -> None:
        """The gateway is ready long before they are."""
        deadline = time.monotonic() + PAGES_SECONDS
        while not is_ready(self.url, path="/account/login/"):
            if time.monotonic() > deadline:
                raise AssertionError(f"the pages did not start:\n{self.log()[-4000:]}")
            time.sleep(0.1)

    def kill_pages(self) -> None:
        if self.pages is not None:
            self.pages.kill()
            self.pages.wait()
            self.pages = None

    def stop_gateway(self) -> None:
        """Asks the processes to end, as `serve` does, and waits."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        self.kill9()

    def kill9(self, *numbers: int) -> None:
        """Kills the processes with these numbers (0 is the first), all without any; they have no last word."""
        for process in [self.processes[number] for number in numbers] if numbers else list(self.processes):
            process.kill()
            process.wait()
            self.processes.remove(process)

    def lose_the_database(self) -> None:
        """Leaves the keys and an empty database, as on the machine that a backup is restored to."""
        if self.database == "postgres":
            drop_database(self._admin_url, self.database_url)
            on_server(self._admin_url, f'CREATE DATABASE "{urlsplit(self.database_url).path[1:]}"')
            return
        for path in self.data_dir.glob("gatehouse.sqlite3*"):
            path.unlink()

    def log(self) -> str:
        """All that the gateway processes have written."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("gateway-*.log")))

    def _start_process(self) -> subprocess.Popen[bytes]:
        assert self._listener is not None
        descriptor = self._listener.fileno()
        lean = {"DJANGO_SETTINGS_MODULE": "config.settings_gateway"}
        return self._start("gateway.http_server", str(descriptor), inherit=(descriptor,), environment=lean)

    def _start(
        self, module: str, *arguments: str, inherit: Sequence[int] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        path = self.folder / f"gateway-{time.monotonic_ns()}.log"
        with path.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self.environment | {"PYTHONPATH": str(REPOSITORY)} | dict(environment or {}),
                cwd=self.folder,
                pass_fds=inherit,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _await_ready(self) -> None:
        """Every process has registered itself, and the port answers."""
        deadline = time.monotonic() + START_SECONDS
        pids = {process.pid for process in self.processes}
        while not (pids <= self._registered() and is_ready(self.url)):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                raise AssertionError(f"the gateway did not start:\n{self.log()[-4000:]}")
            time.sleep(0.02)

    def _registered(self) -> set[int]:
        return {pid for (pid,) in self.sql("SELECT pid FROM gateway_gatewayprocess WHERE ended_at IS NULL")}

    # -- what is stored

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a statement with %s for values, on either database."""
        if self.database == "postgres":
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                cursor = connection.execute(query.encode(), values or None)
                return cursor.fetchall() if cursor.description else []
        path = self.data_dir / "gatehouse.sqlite3"
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as database:
            return database.execute(query.replace("%s", "?"), values).fetchall()

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Evidence in the order of its ids, as the headers that get hashed, each with its commit `epoch`."""
        rows = self.sql("SELECT header, epoch FROM audit_event ORDER BY id")
        events = [json.loads(bytes(header)) | {"epoch": epoch} for header, epoch in rows]
        return [event for event in events if not kinds or event["kind"] in kinds]

    def everything_stored(self) -> bytes:
        """Each byte at rest that a thief of the machine's disk could read, but the keys: database, broker, logs."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".key"]
        return b"\n".join(path.read_bytes() for path in files) + self._dump()

    def _dump(self) -> bytes:
        if self.database != "postgres":
            return b""
        with psycopg.connect(self.database_url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            return b"\n".join(self._copied(connection, name) for (name,) in tables)

    def _copied(self, connection: "psycopg.Connection[Any]", table: str) -> bytes:
        """Text columns as they are and bytea as raw bytes: a hex dump would hide what is searched for."""
        with connection.cursor() as cursor, cursor.copy(f'COPY "{table}" TO STDOUT (FORMAT binary)') as rows:
            return b"".join(bytes(row) for row in rows)

    def close(self) -> None:
        self.kill9()
        self.kill_pages()
        if self._socket_folder is not None:
            self._socket_folder.cleanup()
        if self._listener is not None:
            self._listener.close()
        if self.database_url:
            drop_database(self._admin_url, self.database_url)


def is_ready(origin: str, *, path: str = "/readyz") -> bool:
    try:
        with urllib.request.urlopen(f"{origin}{path}", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
