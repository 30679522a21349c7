"""The upstreams once for the run, an installation for each module, and the figures at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import upstreams
from tests.conformance.harness import SUITE, Report, is_new_enough, node
from tests.conftest import MISSING, REQUIRED
from tests.end_to_end.conftest import pytest_runtest_makereport  # noqa: F401

FIGURES = "conformance"


@pytest.fixture(scope="session")
def suite() -> Path:
    """The official suite; without it nothing here can run."""
    program = node()
    if program is None or not SUITE.exists() or not is_new_enough(program):
        (pytest.fail if REQUIRED else pytest.skip)(f"{MISSING}Node 22 or newer with the packages of tests/node")
    return SUITE


@pytest.fixture(scope="session")
def urls(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with upstreams.running(tmp_path_factory.mktemp("upstreams") / "log") as found:
        yield found


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> "Figures":
    return Figures(request)


class Figures:
    """Notes how many checks passed, for the table at the end of the run."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def note(self, report: Report) -> None:
        counts = f"{len(report.scenarios)} scenarios, {report.passed} checks passed, {len(report.failures())} failed"
        told = f"{self._request.node.name}: {counts}, {len(report.warnings())} warnings"
        self._request.node.user_properties.append((FIGURES, told))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, told in report.user_properties:
                if name == FIGURES and report.when == "call":
                    terminalreporter.write_line(f"conformance {told}")
