"""How long a revocation waits for the calls of others, and what an open change costs them."""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.end_to_end.installation import Installation
from tests.end_to_end.test_fence_hammer import calling, finish, run

COMMITTERS = 8
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
HOLD_SECONDS = 3.0
"""Longer than a call waits for SQLite's one writer."""
LATEST_SECONDS = 60.0


@contextmanager
def callers(house: Installation, *, processes: int) -> Iterator[list[int]]:
    """Processes at full load for as long as the block takes; afterwards the intents each of them made."""
    finish(run(house, "world", "1"))
    started = calling(house, processes)
    made: list[int] = []
    yield made
    made += [finish(process) for process in started]


def waits(house: Installation, seconds: float) -> list[float]:
    """Milliseconds that each change of a right took, shortest first."""
    return sorted(finish(run(house, "wait", str(seconds)), seconds + 180))


def told(house: Installation, waited: list[float], made: list[int]) -> str:
    p50, p99 = statistics.median(waited), waited[min(int(len(waited) * 0.99), len(waited) - 1)]
    return (
        f"{house.database}: {len(made)} committers, {sum(made)} intents; {len(waited)} changes waited"
        f" p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {waited[-1]:.1f} ms"
    )


def server_counts(house: Installation) -> tuple[int, int]:
    """(deadlocks, next multixact id) of the PostgreSQL server."""
    house.sql("SELECT pg_stat_force_next_flush()")
    [(deadlocks,)] = house.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    [(multixact,)] = house.sql("SELECT next_multixact_id FROM pg_control_checkpoint()")
    return deadlocks, int(str(multixact))


@pytest.mark.databases("sqlite", "postgres")
def test_a_change_waits_for_groups_not_for_a_turn(installation: Installation) -> None:
    """Without a fair fence a revoker waited for seconds behind busy committers."""
    with callers(installation, processes=3) as made:
        waited = waits(installation, 3)
    print(f"\n{told(installation, waited, made)}")
    assert len(waited) > 5
    assert min(made) > 5
    assert statistics.median(waited) < 2000


@pytest.mark.soak
def test_with_eight_committers_at_full_load(installation: Installation) -> None:
    with callers(installation, processes=COMMITTERS) as made:
        waited = waits(installation, SOAK_SECONDS)
    print(f"\n{told(installation, waited, made)}")
    assert waited[-1] < 3000


def test_a_mixed_run_consumes_no_multixacts_and_has_no_deadlocks(private_postgres_url: str, tmp_path: Path) -> None:
    """On a server of its own: multixacts are counted for all databases of one."""
    with Installation(tmp_path, database="postgres", postgres_url=private_postgres_url) as house:
        house.sql("CHECKPOINT")
        before = server_counts(house)
        with callers(house, processes=2):
            finish(run(house, "revoke", "0", "3"))
        house.sql("CHECKPOINT")
        assert server_counts(house) == before


@pytest.mark.databases("postgres")
def test_an_open_change_stalls_no_call_on_postgresql(installation: Installation) -> None:
    """Somebody's transaction stays open: its last act has not come, so calls go on."""
    if installation.database != "postgres":
        pytest.skip("SQLite: see the next test")
    with (
        callers(installation, processes=1),
        psycopg.connect(installation.database_url) as admin,
    ):
        admin.execute("UPDATE governance_team SET title = 'x'")
        admin.execute("INSERT INTO governance_team (id, name, title) VALUES (gen_random_uuid(), 'new', '')")
        until_called(installation, times=20)
        admin.commit()


def test_an_open_change_makes_calls_wait_and_then_refuse_on_sqlite(installation: Installation) -> None:
    """The price of one writer: calls wait two seconds for it, then they are refused with 503; nothing is lost."""
    if installation.database != "sqlite":
        pytest.skip("PostgreSQL: see the test before")
    with callers(installation, processes=1):
        started = time.monotonic()
        finish(run(installation, "hold", str(HOLD_SECONDS)))
        assert time.monotonic() - started > HOLD_SECONDS
        until_called(installation, times=20)


def until_called(house: Installation, *, times: int) -> None:
    """Until that many new intents are on record."""
    wanted, until = intents(house) + times, time.monotonic() + LATEST_SECONDS
    while intents(house) < wanted:
        assert time.monotonic() < until, "no calls were made meanwhile"
        time.sleep(0.05)


def intents(house: Installation) -> int:
    [(count,)] = house.sql("SELECT count(*) FROM audit_event WHERE kind = 'call.intent'")
    return int(count)
