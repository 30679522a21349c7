"""A house whose database is away, or whose disk is full."""

import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import psycopg

from tests.end_to_end.installation import Installation


def take_away(house: Installation) -> Callable[[], None]:
    """Takes the database away; what it returns brings it back."""
    return _shut_out(house) if house.database == "postgres" else _hold_write_lock(house)


def _shut_out(house: Installation) -> Callable[[], None]:
    """Ends every session of the gateway's database and lets nobody in."""
    name = urlsplit(house.database_url).path[1:]

    def allow(flag: str) -> None:
        with psycopg.connect(house._admin_url, autocommit=True) as server:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {flag}'.encode())
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    allow("false")
    return lambda: allow("true")


def _hold_write_lock(house: Installation) -> Callable[[], None]:
    """A writer that never ends: what SQLite can do instead of being away."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30);"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(house.data_dir / "gatehouse.sqlite3")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    def release() -> None:
        if holder.poll() is None:
            holder.communicate(b"\n")

    return release


def fill(house: Installation) -> Callable[[], None]:
    """Leaves no room for evidence; what it returns makes some."""
    return _refuse_evidence(house) if house.database == "postgres" else _limit_files(house)


def _refuse_evidence(house: Installation) -> Callable[[], None]:
    """In the words of a server whose table cannot grow. Where its log cannot, it crashes, see Storm."""
    function = "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'"
    house.sql(
        f"CREATE OR REPLACE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {function}; END $$;"
        "CREATE TRIGGER no_space BEFORE INSERT ON audit_event EXECUTE FUNCTION no_space()"
    )

    def release() -> None:
        house.sql("DROP TRIGGER IF EXISTS no_space ON audit_event")

    return release


def _limit_files(house: Installation) -> Callable[[], None]:
    """As far as a process can tell: no file of it grows beyond a page."""
    pids = [process.pid for process in house.processes]

    def allow(size: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    allow(4096)
    return lambda: allow(resource.RLIM_INFINITY)
