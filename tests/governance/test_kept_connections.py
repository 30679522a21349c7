"""Connections to the file that the next request takes over from the one before."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from config.database import from_url
from governance.fence.sqlite import kept
from governance.fence.sqlite.base import DatabaseWrapper
from governance.fence.sqlite.kept import KeptConnections, opened_now

pytestmark = pytest.mark.django_db


@pytest.fixture
def kept_here(monkeypatch: pytest.MonkeyPatch) -> KeptConnections:
    connections = KeptConnections(most=2)
    monkeypatch.setattr("governance.fence.sqlite.base.KEPT", connections)
    return connections


def wrapper(file: Path) -> DatabaseWrapper:
    settings: dict[str, Any] = {
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "TIME_ZONE": None,
        "TEST": {},
        **from_url("", default_file=file),
    }
    return DatabaseWrapper(settings, alias="kept")


def run(database: DatabaseWrapper, statement: str) -> Any:
    with database.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_the_next_thread_gets_the_connection_that_the_one_before_gave_back(
    tmp_path: Path, kept_here: KeptConnections
) -> None:
    used: list[Any] = []

    def request() -> None:
        database = wrapper(tmp_path / "db")
        run(database, "CREATE TABLE IF NOT EXISTS t (x)")
        run(database, "INSERT INTO t VALUES (1)")
        used.append((database.connection, run(database, "SELECT count(*) FROM t")))
        database.close()

    for _ in range(3):
        thread = threading.Thread(target=request)
        thread.start()
        thread.join()
    assert [rows for _, rows in used] == [[(1,)], [(2,)], [(3,)]]
    assert len({id(connection) for connection, _ in used}) == 1


def test_nothing_is_kept_where_nobody_asked_for_it(tmp_path: Path) -> None:
    database = wrapper(tmp_path / "db")
    run(database, "SELECT 1")
    connection = database.connection
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_what_is_left_open_is_not_handed_on(tmp_path: Path, kept_here: KeptConnections) -> None:
    database = wrapper(tmp_path / "db")
    run(database, "CREATE TABLE t (x)")
    database.set_autocommit(False)
    run(database, "INSERT INTO t VALUES (1)")
    database.close()
    after = wrapper(tmp_path / "db")
    assert run(after, "SELECT count(*) FROM t") == [(0,)]
    after.close()


def test_an_old_one_ends_and_so_does_one_too_many(
    tmp_path: Path, kept_here: KeptConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [opened_now(sqlite3.connect(tmp_path / "db", check_same_thread=False)) for _ in range(3)]
    assert [kept_here.give("db", each) for each in made] == [True, True, False]
    monkeypatch.setattr(kept, "LONGEST_SECONDS", 0)
    assert kept_here.take("db") is None
    assert not kept_here.give("db", made[2])
    made[2].connection.close()


def test_a_child_takes_none_of_its_parents(kept_here: KeptConnections, tmp_path: Path) -> None:
    mine = opened_now(sqlite3.connect(tmp_path / "db"))
    kept_here.give("db", mine._replace(process=mine.process + 1))
    assert kept_here.take("db") is None
    mine.connection.close()
