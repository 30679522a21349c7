"""Installations for the end-to-end tests, on both databases, and their logs beside a failure."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MISSING, REQUIRED
from tests.end_to_end.installation import REPOSITORY, Installation

DATABASES = ("sqlite", "postgres")
LOG_TAIL = 6000

MakeInstallation = Callable[[], Installation]


@dataclass(frozen=True, slots=True)
class Helpdesk:
    url: str
    token: str


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each database; the ones that its mark does not name (SQLite, if there is none) are for the soak."""
    if "database" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("databases")
        everyday = mark.args if mark else ("sqlite",)
        params = [pytest.param(name, marks=() if name in everyday else pytest.mark.soak) for name in DATABASES]
        metafunc.parametrize("database", params, indirect=True, scope="module")


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def make_installation(
    request: pytest.FixtureRequest, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeInstallation]:
    """Makes installations on the database at hand; all are closed at the end of the module."""
    postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    with ExitStack() as stack:

        def make() -> Installation:
            folder = tmp_path_factory.mktemp("installation")
            return stack.enter_context(Installation(folder, database=database, postgres_url=postgres_url))

        yield make


@pytest.fixture
def installation(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Installation]:
    """A fresh one for a single test."""
    postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    with Installation(tmp_path, database=database, postgres_url=postgres_url) as made:
        yield made


@pytest.fixture(scope="module")
def helpdesk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helpdesk]:
    """The product's demo upstream in its own process, with a token only the vault will hold."""
    folder = tmp_path_factory.mktemp("helpdesk")
    token = f"helpdesk-{secrets.token_urlsafe(24)}"
    token_file, ready_file = folder / "token", folder / "ready"
    token_file.write_text(token)
    files = ["--data-dir", str(folder), "--token-file", str(token_file), "--ready-file", str(ready_file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "connectors.demo", *files],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
    )
    try:
        yield Helpdesk(f"http://127.0.0.1:{_announced_port(ready_file, process)}/mcp", token)
    finally:
        process.kill()
        process.wait()


def _announced_port(ready_file: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 60
    while not ready_file.exists():
        assert process.poll() is None, "the demo helpdesk ended"
        assert time.monotonic() < deadline, "the demo helpdesk did not start"
        time.sleep(0.02)
    return ready_file.read_text()


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """The folder of tests/node's packages; `node` is GATEHOUSE_NODE or the one on PATH."""
    folder = REPOSITORY / "tests" / "node" / "node_modules"
    has_node = os.environ.get("GATEHOUSE_NODE") or shutil.which("node")
    if not has_node or not (folder / "@modelcontextprotocol" / "sdk").exists():
        (pytest.fail if REQUIRED else pytest.skip)(f"{MISSING}Node with the packages of tests/node")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.failed:
        for value in list(getattr(item, "funcargs", {}).values()):
            house = getattr(value, "house", value)
            if isinstance(house, Installation):
                report.sections.append(("gateway log", house.log()[-LOG_TAIL:]))
    return report
