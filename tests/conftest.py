"""Offers the real services to the tests, and counts the tests that went without."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from types import SimpleNamespace
from typing import TypeVar

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings

from tests import canaille, services
from tests.migrated import migrated_database, migrated_folder

Service = TypeVar("Service")
REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"
MISSING = "missing service: "

# An example may meet a machine that stands still for seconds: that says nothing about the code.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server on which databases may be created; see also the `database` marker."""
    yield from _offer(services.postgres())


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """The test database is a copy of a migrated one; Django finds nothing left to do."""
    wanted = connection.settings_dict["TEST"]
    if connection.vendor == "postgresql":
        wanted["TEMPLATE"] = migrated_database(os.environ["TEST_DATABASE_URL"])
    else:
        shutil.copy(migrated_folder() / "gatehouse.sqlite3", wanted["NAME"])


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """A file that was copied there is kept; it goes with its folder. A database on a server is made anew."""
    return connection.vendor == "sqlite"


@pytest.fixture
def private_postgres_url() -> Iterator[str]:
    """A server of the test's own."""
    yield from _offer(services.private_postgres())


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    yield from _offer(services.redis())


@pytest.fixture(scope="module")
def openid_provider() -> Iterator[canaille.Canaille]:
    """A real one, on loopback; see tests/canaille.py."""
    yield from _offer(canaille.running())


@pytest.fixture(scope="module")
def pushing_provider() -> Iterator[canaille.Canaille]:
    """The same, and it pushes its people over SCIM to its clients."""
    yield from _offer(canaille.running(pushes_scim=True))


@pytest.fixture
def within_one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is counted per minute is counted in the same one, whenever the test begins and however slow it is."""
    monkeypatch.setattr("gateway.api.throttling.time", SimpleNamespace(time=lambda: 30.0))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: none of them keeps one worker busy when the other has done everything."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts and not item.path.name.startswith("test_screens"))


def _offer(service: AbstractContextManager[Service]) -> Iterator[Service]:
    with ExitStack() as stack:
        try:
            offered = stack.enter_context(service)
        except services.Unavailable as missing:
            if REQUIRED:
                pytest.fail(f"{MISSING}{missing}")
            pytest.skip(f"{MISSING}{missing}")
        yield offered


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if MISSING in str(report.longrepr)]
    terminalreporter.write_line(f"skipped for missing services: {len(skipped)}")
