"""Migrated databases to copy: migrating takes longer than most tests, so it is done once for a run.

`python -m tests.services` names a folder that all test processes of its command share; without one each has its own.
"""

import atexit
import base64
import fcntl
import functools
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from config import keys

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = "TEST_MIGRATED"
PREFIX, NOTE = "gatehouse-migrated-", ".server"
MIGRATE_SECONDS = 550.0
"""On PostgreSQL and a busy machine it has taken more than a minute."""
FOREIGN = ("SECRET_KEY", "GATEHOUSE_KEK", "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "PUBLIC_URL")
"""What settings_test or a developer's shell may have set, and no installation may inherit."""


@functools.cache
def migrated_folder() -> Path:
    """Keys and a migrated SQLite file."""
    folder = _shared() / "data"
    with _turn():
        if not folder.exists():
            begun = Path(tempfile.mkdtemp(dir=_shared()))
            make_keys(begun)
            migrate(begun, database_url="")
            begun.rename(folder)
    return folder


@functools.cache
def migrated_database(admin_url: str) -> str:
    """Name of a migrated PostgreSQL database on that server."""
    folder = migrated_folder()
    note = _note(admin_url)
    with _turn():
        if not note.exists():
            name = f"gatehouse_template_{os.getpid()}_{secrets.token_hex(3)}"
            on_server(admin_url, f'CREATE DATABASE "{name}"')
            migrate(folder, database_url=with_database(admin_url, name))
            note.write_text(f"{admin_url}\n{name}")
        return note.read_text().splitlines()[1]


def copy_database(admin_url: str, prefix: str) -> str:
    """URL of a new one."""
    name = f"{prefix}_{os.getpid()}_{secrets.token_hex(3)}"
    template = migrated_database(admin_url)
    on_server(admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return with_database(admin_url, name)


def drop_database(admin_url: str, url: str) -> None:
    on_server(admin_url, f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')


@contextmanager
def shared() -> Iterator[None]:
    """Child processes that are started within the block find the same databases."""
    if SHARED in os.environ:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    os.environ[SHARED] = str(folder)
    try:
        yield
    finally:
        del os.environ[SHARED]
        _forget(folder)


def make_keys(folder: Path) -> None:
    keys.write_once(folder / keys.SECRET_KEY_FILE, secrets.token_urlsafe(64))
    keys.write_once(folder / keys.KEK_FILE, base64.b64encode(secrets.token_bytes(32)).decode())


def migrate(folder: Path, *, database_url: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    subprocess.run(
        [sys.executable, str(REPOSITORY / "manage.py"), "migrate", "-v0"],
        env=inherited | installed(folder, database_url) | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        check=True,
        timeout=MIGRATE_SECONDS,
    )


def installed(folder: Path, database_url: str) -> dict[str, str]:
    """The environment of whatever belongs to the installation there."""
    return {"DATA_DIR": str(folder), "LOG_LEVEL": "INFO"} | ({"DATABASE_URL": database_url} if database_url else {})


def on_server(admin_url: str, statement: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


@functools.cache
def _shared() -> Path:
    if named := os.environ.get(SHARED):
        return Path(named)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(_forget, folder)
    return folder


@contextmanager
def _turn() -> Iterator[None]:
    """One process at a time."""
    with (_shared() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _note(admin_url: str) -> Path:
    """A run may have several servers."""
    return _shared() / f"{hashlib.sha256(admin_url.encode()).hexdigest()}{NOTE}"


def _forget(folder: Path) -> None:
    """A server that was there before the run is left as it was found; others are gone by now."""
    for note in folder.glob(f"*{NOTE}"):
        admin_url, name = note.read_text().splitlines()
        with suppress(psycopg.OperationalError):
            drop_database(admin_url, with_database(admin_url, name))
    shutil.rmtree(folder, ignore_errors=True)
