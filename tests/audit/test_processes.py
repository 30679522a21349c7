"""Several sequencers at once, killed at any moment, never fork, skip or repeat."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

pytestmark = pytest.mark.database

EVENTS_PER_WRITER, WRITERS, KILLS = 3000, 2, 6
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def database(db: None, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An empty database of this test's own, on the kind of server the suite runs on."""
    if connection.vendor == "sqlite":
        options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL", "timeout": 30}
        yield {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(tmp_path / "log.sqlite3"),
            "OPTIONS": options,
        }
        return
    server = {key: connection.settings_dict[key] for key in ("HOST", "PORT", "USER", "PASSWORD")}
    name = f"sealing_{random.randbytes(6).hex()}"
    arguments = {key.lower(): value for key, value in server.items() if value}
    with psycopg.connect(dbname="postgres", autocommit=True, **arguments) as maintenance:
        maintenance.execute(f"CREATE DATABASE {name}")
        yield {"ENGINE": "django.db.backends.postgresql", "NAME": name, **server}
        maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def start(database: dict[str, Any], tmp_path: Path) -> Iterator[Start]:
    settings = {
        "DATABASES": {"default": database},
        "AUDIT_SIGNING_KEY_FILE": str(tmp_path / "key"),
        "PUBLIC_URL": "https://gw.corp.example",
    }
    environment = {**os.environ, "SEALING": json.dumps(settings)}
    started: list[Process] = []

    def begin(*verb: str) -> Process:
        command = [sys.executable, "-m", "tests.audit.sealing", *verb]
        environment["PGAPPNAME"] = verb[0]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def start_sequencer(start: Start) -> Process:
    process = start("sequence")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def cut_connections_of_sequencers() -> None:
    """As a restart of the server would. SQLite has no connection to lose."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sequence'")


def finished(process: Process) -> str:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


@pytest.mark.django_db
def test_killed_and_concurrent_sequencers_make_one_whole_log(start: Start) -> None:
    finished(start("migrate"))
    writers = [start("write", str(EVENTS_PER_WRITER)) for _ in range(WRITERS)]
    sequencers = [start_sequencer(start), start_sequencer(start)]
    for kill in range(KILLS):
        time.sleep(random.uniform(0, 0.3))
        sequencers[kill % 2].kill()
        sequencers[kill % 2] = start_sequencer(start)
        cut_connections_of_sequencers()
    for writer in writers:
        finished(writer)
    for sequencer in sequencers:
        sequencer.terminate()
    for sequencer in sequencers:
        finished(sequencer)
    figure, pending, *problems = json.loads(finished(start("verify")))
    total = f"{EVENTS_PER_WRITER * WRITERS + 1:,}"
    assert problems == []
    assert (figure, pending) == (f"sound: {total} events, {total} leaves, checkpoint {total}", 0)
