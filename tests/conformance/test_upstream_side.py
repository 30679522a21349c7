"""The suite's client scenarios: the gateway is the client under test, driven by agents of both eras."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.bench import Apart
from tests.conformance.conftest import Figures
from tests.conformance.harness import run
from tests.end_to_end.installation import REPOSITORY

pytestmark = [pytest.mark.npm, pytest.mark.conformance]

Judge = Callable[[str, str, str], dict[str, str]]

COMMAND = f"{sys.executable} -m tests.conformance.client_under_test"
LEGACY, MODERN = "2025-11-25", "2026-07-28"
SCENARIOS = [
    ("initialize", LEGACY),
    ("sse-retry", LEGACY),
    ("tools_call", LEGACY),
    ("tools_call", MODERN),
    ("request-metadata", MODERN),
    ("http-standard-headers", MODERN),
    ("http-custom-headers", MODERN),
    ("http-invalid-tool-headers", MODERN),
    ("sep-2322-client-request-state", MODERN),
    ("json-schema-ref-no-deref", MODERN),
    ("json-schema-2020-12-preservation", LEGACY),
    ("json-schema-2020-12-preservation", MODERN),
]
"""Not run: `auth/*`, because a connector presents what the vault holds and does not do OAuth with an upstream;
`elicitation-sep1034-client-defaults`, because a gateway hands questions on and fills in no answers;
`sep-2640-*`, because skills are an extension that is not carried."""
SAMPLE = {("sse-retry", LEGACY), ("http-custom-headers", MODERN)}


@pytest.fixture(scope="module")
def house(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    """The suite's servers listen on every address that `localhost` has."""
    with Apart(tmp_path_factory.mktemp("gateway"), database="sqlite") as made:
        made.configure(UPSTREAM_ALLOWED_NETWORKS="127.0.0.0/8,::1/128")
        made.start_gateway()
        yield made
        assert "Traceback" not in made.log()


@pytest.fixture
def judge(house: Apart, tmp_path: Path, figures: Figures) -> Judge:
    def judged(scenario: str, revision: str, agent: str) -> dict[str, str]:
        here = {"CONFORMANCE_GATEWAY": house.url, "CONFORMANCE_AGENT": agent, "PYTHONPATH": str(REPOSITORY)}
        words = ("client", "--command", COMMAND, "--scenario", scenario, "--spec-version", revision)
        report = run(*words, results=tmp_path, environment=house.environment | here)
        assert "Client exited with code" not in report.output, report.output[-6000:]
        assert report.passed
        figures.note(report)
        return report.wrong()

    return judged


@pytest.mark.parametrize(
    ("scenario", "revision"),
    [pytest.param(*each, marks=() if each in SAMPLE else pytest.mark.soak) for each in SCENARIOS],
)
@pytest.mark.parametrize("agent", ["auto", pytest.param("legacy", marks=pytest.mark.soak)])
def test_the_gateway_is_a_conforming_client(judge: Judge, scenario: str, revision: str, agent: str) -> None:
    assert judge(scenario, revision, agent) == {}
