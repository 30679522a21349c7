"""The official suite against a gateway: every revision, over upstreams of both eras, in one process and in several."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.conformance.bench import Apart, At, gateway
from tests.conformance.conftest import Figures
from tests.conformance.exceptions import allowed
from tests.conformance.harness import judge_server
from tests.conformance.sets import SETS

pytestmark = pytest.mark.npm

LOG_TAIL = 6000
OFFICIAL = partial(pytest.param, marks=pytest.mark.conformance)
"""`make conformance` runs each revision on both databases, by one process and by two; the soak all the rest."""

Start = Callable[[str, int], At]
Judge = Callable[..., None]


@pytest.fixture(scope="module")
def start(
    request: pytest.FixtureRequest, urls: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """A gateway with so many processes on that database; each is started once."""
    started: dict[tuple[str, int], At] = {}
    houses: list[Apart] = []
    with ExitStack() as stack:

        def at(database: str, processes: int) -> At:
            postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
            if (database, processes) not in started:
                folder = tmp_path_factory.mktemp("gateway")
                house = stack.enter_context(Apart(folder, database=database, postgres_url=postgres_url))
                houses.append(house)
                started[database, processes] = stack.enter_context(gateway(house, urls, processes=processes))
            return started[database, processes]

        yield at
        logs = "".join(house.log() for house in houses)
    assert "Traceback" not in logs, logs[-LOG_TAIL:]


@pytest.fixture
def judge(start: Start, tmp_path: Path, figures: Figures) -> Judge:
    """Runs a set, in which everything must pass but the exceptions, and they must not."""

    def judged(revision: str, *, era: str = "both", database: str = "sqlite", processes: int = 1) -> None:
        wanted = SETS[revision]
        report = judge_server(start(database, processes)(era), *wanted.words, results=tmp_path)
        assert report.scenarios >= wanted.demanded
        assert len(report.scenarios) >= wanted.count
        figures.note(report)
        wrong = report.wrong()
        excused = allowed(revision, era)
        unexpected = [words for check, words in wrong.items() if check not in excused]
        assert not unexpected, "\n".join(unexpected)
        assert excused.keys() <= wrong.keys(), "some pass now: take them off the list of exceptions"

    return judged


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
def test_the_newest_revisions_of_both_eras(judge: Judge, revision: str) -> None:
    judge(revision)


@pytest.mark.soak
@pytest.mark.parametrize("revision", list(SETS))
@pytest.mark.parametrize(
    ("database", "processes"),
    [OFFICIAL("sqlite", 1), OFFICIAL("postgres", 2), ("sqlite", 2), ("postgres", 1)],
)
def test_every_revision(judge: Judge, database: str, processes: int, revision: str) -> None:
    """Two processes take the requests in turn, so that no two of a session or a task meet the same one."""
    judge(revision, database=database, processes=processes)


@pytest.mark.soak
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
@pytest.mark.parametrize("processes", [1, OFFICIAL(2)])
def test_an_upstream_of_one_era(judge: Judge, processes: int, revision: str, era: str) -> None:
    """Of the client's era or of the other one."""
    judge(revision, era=era, processes=processes)
