"""Offers the real services to the tests, and counts the tests that went without."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from types import SimpleNamespace
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests import canaille, services

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
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


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
