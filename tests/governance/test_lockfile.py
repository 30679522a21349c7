"""The lock file in front of SQLite's writer: one holder, an end to waiting, and no innocent named."""

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import OperationalError, connection, transaction

from governance.fence.lockfile import WriteLock, WriteLockTimeout, overdue_holder
from governance.fence.sqlite import base
from governance.models import Team
from tests.end_to_end.installation import REPOSITORY
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)

HOLD = (
    "import sys, time; from governance.fence.lockfile import WriteLock; lock = WriteLock(sys.argv[1]);"
    "lock.acquire(); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database.lock"


@pytest.fixture
def holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        yield process
    process.kill()
    process.wait()


def test_only_one_holds_it(path: Path) -> None:
    first, second = WriteLock(path), WriteLock(path)
    first.acquire()
    with pytest.raises(WriteLockTimeout):
        second.acquire(timeout_seconds=0.05)
    first.release()
    second.acquire(timeout_seconds=0.05)
    first.close()
    second.close()


def test_a_waiter_gets_it_when_it_is_released(path: Path) -> None:
    first, second = WriteLock(path), WriteLock(path)
    first.acquire()
    threading.Timer(0.05, first.release).start()
    second.acquire(timeout_seconds=5)
    second.close()
    first.close()


def test_a_waiter_that_gave_up_does_not_keep_it(path: Path) -> None:
    """Its place in the kernel's queue remains; once it comes up it must pass on."""
    first, second = WriteLock(path), WriteLock(path)
    first.acquire()
    for _ in range(3):
        with pytest.raises(WriteLockTimeout):
            second.acquire(timeout_seconds=0.02)
    first.release()
    second.acquire(timeout_seconds=5)
    second.close()
    first.close()


def test_many_threads_never_hold_it_together(path: Path) -> None:
    inside, seen = [], []

    def work() -> None:
        lock = WriteLock(path)
        for _ in range(50):
            lock.acquire(timeout_seconds=20)
            inside.append(1)
            seen.append(len(inside))
            inside.pop()
            lock.release()
        lock.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 200


def test_a_killed_holder_frees_it(path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    lock = WriteLock(path)
    lock.acquire(timeout_seconds=2)
    lock.close()


def test_a_child_does_not_inherit_it(path: Path) -> None:
    lock = WriteLock(path)
    lock.acquire()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    lock.close()
    other = WriteLock(path)
    other.acquire(timeout_seconds=1)
    other.close()
    child.communicate(b"\n")


def test_a_holder_is_named_once_it_is_overdue(path: Path, holder: "subprocess.Popen[str]") -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    assert overdue_holder(path, limit_seconds=60) is None
    time.sleep(0.05)
    assert overdue_holder(path, limit_seconds=0.01) == holder.pid


def test_nobody_is_named_while_nobody_holds_it(path: Path) -> None:
    assert overdue_holder(path) is None
    lock = WriteLock(path)
    lock.acquire()
    lock.release()
    assert overdue_holder(path, limit_seconds=0) is None
    lock.close()


def test_the_last_holder_is_not_blamed_for_the_next_one(path: Path) -> None:
    """Between taking the lock and writing its name the next holder is nameless; who is named gets killed."""
    last = WriteLock(path)
    last.acquire()
    last.release()
    nameless = os.open(path, os.O_RDWR)
    fcntl.flock(nameless, fcntl.LOCK_EX)
    assert overdue_holder(path, limit_seconds=0) is None
    os.close(nameless)
    last.close()


# -- in Django's backend

needs_sqlite = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has no lock file")


def is_held() -> bool:
    """Asks without queueing up: each waiter that gives up is one more holder for a moment."""
    with open(f"{connection.settings_dict['NAME']}.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def in_autocommit() -> None:
    Team.objects.create(name="one")


def in_a_transaction() -> None:
    with transaction.atomic():
        Team.objects.create(name="one")
        assert is_held()


def with_returning() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_content_type (app_label, model) VALUES ('a', 'b') RETURNING id")
        cursor.fetchone()


def that_fails() -> None:
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("UPDATE no_such_table SET a = 1")


def comes_free() -> bool:
    """A waiter that gave up still gets its turn in the kernel's queue, and lets go at once."""
    deadline = time.monotonic() + 30
    while is_held() and time.monotonic() < deadline:
        time.sleep(0.001)
    return not is_held()


@needs_sqlite
@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize("write", [in_autocommit, in_a_transaction, with_returning, that_fails])
def test_every_write_takes_the_lock_and_gives_it_back(write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PATIENCE_SECONDS", 0.2)
    name = f"{connection.settings_dict['NAME']}.lock"
    holder = WriteLock(name)
    holder.acquire()
    try:
        with pytest.raises(OperationalError, match="another process held"):
            Team.objects.create(name="blocked")
    finally:
        holder.close()
    assert callable(write)
    write()
    assert comes_free()


@needs_sqlite
@pytest.mark.usefixtures("fresh_database")
def test_reading_takes_no_lock_and_waits_for_nobody() -> None:
    holder = WriteLock(f"{connection.settings_dict['NAME']}.lock")
    holder.acquire()
    try:
        with connection.reading(), transaction.atomic():
            assert list(Team.objects.all()) == []
        assert list(Team.objects.all()) == []
    finally:
        holder.close()


@needs_sqlite
@pytest.mark.usefixtures("fresh_database")
def test_a_writer_who_knows_nothing_of_us_is_refused() -> None:
    """The triggers call functions that only our connections have: no change without its evidence."""
    stranger = sqlite3.connect(connection.settings_dict["NAME"])
    with closing(stranger), pytest.raises(sqlite3.OperationalError, match="gatehouse_"):
        stranger.execute("INSERT INTO governance_team (id, name, title) VALUES ('0', 'x', '')")
