"""Throw-away databases for one target each, and the server process whose CPU they cost."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier

from bench.processes import parent_of


@contextmanager
def no_server() -> Iterator[tuple[str, None]]:
    """SQLite: in the data folder, inside the gateway process."""
    yield "", None


@contextmanager
def postgres_database(server_url: str) -> Iterator[tuple[str, int | None]]:
    """URL of a new database, and the server's process if it runs on this machine."""
    name = f"gatehouse_bench_{os.getpid()}_{secrets.token_hex(3)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            yield _with_database(server_url, name), _server_pid(connection)
        finally:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{name}?{parts.query}"


def _server_pid(connection: psycopg.Connection) -> int | None:
    """Only a socket of this machine makes the backend's process id one of ours."""
    if not (connection.info.host or "").startswith("/"):
        return None
    return parent_of(connection.info.backend_pid)
