"""What outcomes keep of destinations and intents compare, on the real backends."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.commit.entry import Entry, Mentions, Reach, Run, Verdict
from gateway.models import RunDestination
from gateway.run_destinations import MORE, MOST_OF_RUN, Known, add_mentions, forget_destinations, known_of
from gateway.run_labels import run_of
from tests.fresh_database import fresh_database
from tests.gateway.test_group_commit import entry, verdicts

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

AGENT = UUID(int=7).hex
NONE: frozenset[str] = frozenset()
COMMITTED, LABELLED = Verdict.COMMITTED, Verdict.LABELLED


def told(*digests: str, trusted: bool = False, sent: tuple[str, ...] = (), session: str = "run") -> Entry:
    mentions = Mentions(frozenset(digests), trusted, frozenset(sent))
    return entry(met=Run(AGENT, run_of(session), frozenset(), mentions=mentions))


def reaching(*digests: str, untrusted: tuple[str, ...] = (), session: str = "run") -> Entry:
    reach = Reach(frozenset({*digests, MORE}), frozenset(untrusted))
    return entry(seen=Run(AGENT, run_of(session), frozenset(), reach))


def known(*digests: str, session: str = "run") -> Known:
    return known_of(AGENT, run_of(session), frozenset(digests), datetime.now(UTC))


def test_an_intent_commits_only_while_nothing_it_reaches_became_untrusted() -> None:
    assert verdicts(told("evil")) == [COMMITTED]
    assert known("evil", "good") == (NONE, {"evil"})
    assert verdicts(reaching("evil"), reaching("good"), reaching("evil", untrusted=("evil",))) == [
        LABELLED,
        COMMITTED,
        COMMITTED,
    ]


def test_the_first_that_tells_of_it_decides() -> None:
    assert verdicts(told("a", trusted=True), told("b")) == [COMMITTED] * 2
    assert verdicts(told("a", "c"), told("b", trusted=True)) == [COMMITTED] * 2
    assert known("a", "b", "c") == ({"a"}, {"b", "c"})
    assert verdicts(told("b", "c", trusted=True, session="other")) == [COMMITTED]
    assert known("b", "c", session="other") == (NONE, {"b", "c"})


def test_what_was_sent_before_is_known_even_if_a_stranger_was_quicker() -> None:
    verdicts(told("a"), told(sent=("a",)), told("a"))
    assert known("a") == ({"a"}, NONE)


def test_another_session_sheds_nothing_for_half_an_hour() -> None:
    verdicts(told("evil"))
    assert verdicts(reaching("evil", session="other"), reaching("evil", session="")) == [LABELLED] * 2
    RunDestination.objects.update(at=datetime.now(UTC) - timedelta(minutes=32))
    assert verdicts(reaching("evil", session="other"), reaching("evil")) == [COMMITTED, LABELLED]
    assert known("evil", session="other") == (NONE, NONE)
    forget_destinations(datetime.now(UTC) + timedelta(days=3))
    assert not RunDestination.objects.exists()


def test_what_a_refused_record_met_is_not_kept() -> None:
    verdicts(told("evil"))
    barred = reaching("evil")
    barred.met = Run(AGENT, run_of("run"), frozenset(), mentions=Mentions(frozenset({"later"}), is_trusted=True))
    assert verdicts(barred) == [LABELLED]
    assert known("later") == (NONE, NONE)


def test_more_than_is_kept_of_a_run_is_told() -> None:
    RunDestination.objects.bulk_create(
        RunDestination(agent_id=AGENT, session=run_of("run"), digest=str(n), is_trusted=False, at=datetime.now(UTC))
        for n in range(MOST_OF_RUN)
    )
    verdicts(told("one", "too", "many"))
    assert known("one") == (NONE, {MORE})
    assert known("one").is_untrusted(("one",))
    assert verdicts(reaching("one"), reaching("one", untrusted=(MORE,))) == [LABELLED, COMMITTED]


def test_what_is_said_before_the_outcome_is_kept_alike() -> None:
    verdicts(told("known", trusted=True))
    now = datetime.now(UTC)
    add_mentions(AGENT, run_of("run"), Mentions(frozenset({"evil", "known"}), is_trusted=False), now)
    assert known("evil", "known") == ({"known"}, {"evil"})
