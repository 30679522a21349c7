"""Labels of a run that a process remembers are a guess: the commit of the intent confirms it, or it is decided anew."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.commit.entry import EvidenceUnavailable
from gateway.database import DatabaseThread
from gateway.models import RunLabel
from gateway.pipeline import run
from gateway.run_labels import MOST_REMEMBERED, RunLabels, add_labels, run_of
from governance.snapshot import RateLimit, Rule
from tests import factories as make
from tests.fresh_database import fresh_database
from tests.gateway.asking import AGENT, AskingPorts, code_of, frame, in_thread, text_of, uid, with_ports, world
from tests.gateway.limit_world import limit

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

AGENT_ID = uid(AGENT).hex
CALL = replace(frame(), session_id="run")
DENIED = make.rule("deny", "'untrusted' in session.labels", origin="organization")
SLOWED = limit("slow", max_requests=1, labels=frozenset(("untrusted",)))


class Counted(RunLabels):
    """Knows how often the table was read."""

    def __init__(self) -> None:
        super().__init__(DatabaseThread("counted"))
        self.looks = 0

    async def of(self, agent_id: str, session: str) -> frozenset[str]:
        self.looks += 1
        return await super().of(agent_id, session)

    async def close(self) -> None:
        await self._thread.close()


def with_labels(
    use: Callable[[AskingPorts, Counted], Awaitable[None]], *rules: Rule, limits: tuple[RateLimit, ...] = ()
) -> None:
    async def with_counted(ports: AskingPorts) -> None:
        ports.run_labels = labels = Counted()
        try:
            await use(ports, labels)
        finally:
            await labels.close()

    with_ports(with_counted, replace(world(*(rules or (make.rule("deny", "false"),))), limits=limits))


async def told(ports: AskingPorts) -> str:
    answer = await run(CALL, ports)
    return code_of(answer) or text_of(answer)


async def another_process_adds(label: str) -> None:
    await in_thread(lambda: add_labels(AGENT_ID, run_of("run"), frozenset((label,)), datetime.now(UTC)))


async def they_run_out() -> None:
    await in_thread(lambda: RunLabel.objects.all().delete())


def test_a_run_without_labels_is_looked_up_once() -> None:
    async def use(ports: AskingPorts, labels: Counted) -> None:
        assert [await told(ports) for _ in range(3)] == ["done"] * 3
        assert labels.looks == 1

    with_labels(use, DENIED)


def test_what_another_process_wrote_holds_the_next_call() -> None:
    async def use(ports: AskingPorts, labels: Counted) -> None:
        assert await told(ports) == "done"
        await another_process_adds("untrusted")
        ports.log.clear()
        assert await told(ports) == "denied_by_rule"
        assert ports.log[0] == "LABELLED"
        assert "sent" not in ports.log

    with_labels(use, DENIED)


def test_a_run_with_labels_is_looked_up_once() -> None:
    async def use(ports: AskingPorts, labels: Counted) -> None:
        await another_process_adds("finance")
        assert [await told(ports) for _ in range(3)] == ["done"] * 3
        assert labels.looks == 1
        assert [entry.seen.labels for entry in ports.entries if entry.seen] == [{"finance"}] * 3

    with_labels(use, DENIED)


def test_a_guess_refuses_nothing() -> None:
    async def use(ports: AskingPorts, labels: Counted) -> None:
        await another_process_adds("untrusted")
        assert await told(ports) == "denied_by_rule"
        await they_run_out()
        assert await told(ports) == "done"

    with_labels(use, DENIED)


def test_labels_that_ran_out_are_not_told() -> None:
    async def use(ports: AskingPorts, labels: Counted) -> None:
        await another_process_adds("finance")
        assert await told(ports) == "done"
        await they_run_out()
        assert await told(ports) == "done"
        assert [entry.seen.labels for entry in ports.entries if entry.seen] == [{"finance"}, frozenset()]

    with_labels(use, DENIED)


def test_a_limit_is_for_the_labels_there_are() -> None:
    async def use(ports: AskingPorts, labels: Counted) -> None:
        assert [(await run(CALL, ports)).status for _ in range(2)] == [200, 200]
        assert labels.looks == 1
        await another_process_adds("untrusted")
        assert [(await run(CALL, ports)).status for _ in range(2)] == [200, 429]
        await they_run_out()
        assert (await run(CALL, ports)).status == 200

    with_labels(use, limits=(SLOWED,))


async def test_what_is_remembered_is_bounded() -> None:
    class Away:
        async def run(self, work: Callable[[], Any]) -> frozenset[str]:
            return frozenset(("untrusted",))

    labels = RunLabels(Away())  # type: ignore[arg-type]
    for number in range(MOST_REMEMBERED + 1):
        await labels.of(AGENT_ID, str(number))
    assert labels.guessed(AGENT_ID, "0") is None
    assert labels.guessed(AGENT_ID, "1") == {"untrusted"}
    labels.forget(AGENT_ID, "1")
    assert labels.guessed(AGENT_ID, "1") is None


async def test_what_could_not_be_read_is_not_remembered() -> None:
    class Away:
        async def run(self, work: Callable[[], Any]) -> frozenset[str]:
            raise EvidenceUnavailable("away")

    labels = RunLabels(Away())  # type: ignore[arg-type]
    with pytest.raises(EvidenceUnavailable):
        await labels.of(AGENT_ID, "run")
    assert labels.guessed(AGENT_ID, "run") is None
