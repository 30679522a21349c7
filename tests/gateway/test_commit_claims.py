"""What an intent consumes with its commit, and what an outcome adds to its run, on the real backends."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.commit.entry import Claim, Committed, Entry, Run, Verdict
from gateway.models import RunLabel
from gateway.run_labels import labels_of, run_of
from governance.models import Agent, ApprovalRequest, Connector, Grant, GrantUse, Tool, User
from tests.fresh_database import fresh_database
from tests.gateway.test_group_commit import backend, commit, decided_now, entry, is_stored, payload, verdicts

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

COMMITTED, STALE, DUPLICATE = Verdict.COMMITTED, Verdict.STALE, Verdict.DUPLICATE
GONE, LABELLED = Verdict.GONE, Verdict.LABELLED
DIGEST = bytes(range(32))
AGENT = UUID(int=7)


def approved(digest: bytes = DIGEST, **fields: Any) -> ApprovalRequest:
    now = datetime.now(UTC)
    known: dict[str, Any] = {
        "state": "approved",
        "call_digest": digest,
        "asked_digest": fields.pop("asked_digest", digest),
        "arguments": b"sealed",
        "asked_arguments": b"sealed",
        "created_at": now,
        "expires_at": now + timedelta(minutes=15),
        "use_before": now + timedelta(minutes=5),
    }
    return ApprovalRequest.objects.create(**(known | fields))


def claiming(row: ApprovalRequest, *grants: str, digest: bytes = DIGEST, **fields: Any) -> Entry:
    return entry(claim=Claim(row.number, digest, grants), **fields)


def counted(max_uses: int, used: int = 0) -> str:
    now = datetime.now(UTC)
    person = User.objects.create_user(f"person-{User.objects.count()}@example.com")
    connector, _ = Connector.objects.get_or_create(name="helpdesk", defaults={"urls": ["http://127.0.0.1:9/mcp"]})
    tool, _ = Tool.objects.get_or_create(connector=connector, name="ticket_get")
    grant = Grant.objects.create(
        kind="consent", person=person, tool=tool, starts_at=now, ends_at=now + timedelta(hours=1), max_uses=max_uses
    )
    GrantUse.objects.create(grant=grant, used=used, max_uses=max_uses)
    return grant.pk.hex


def used(grant: str) -> int:
    return GrantUse.objects.get(grant_id=grant).used


# -- approvals


def test_an_intent_consumes_its_approval() -> None:
    row, written = approved(), None
    written = claiming(row, payload=payload())
    assert verdicts(written) == [COMMITTED]
    row.refresh_from_db()
    assert (row.state, row.call_id, row.revision) == ("consumed", written.event.call_id, 1)
    assert row.ended_at is not None
    assert bytes(row.arguments) == b"sealed"


def test_of_two_in_one_group_exactly_one_gets_it_and_the_other_leaves_nothing() -> None:
    row = approved()
    first, second = claiming(row, payload=payload()), claiming(row, payload=payload())
    assert verdicts(first, entry(payload=payload()), second) == [COMMITTED, COMMITTED, GONE]
    assert (is_stored(first), is_stored(second)) == (True, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "pending"},
        {"state": "void"},
        {"state": "consumed"},
        {"use_before": datetime(2026, 1, 1, tzinfo=UTC)},
        {"use_before": None},
        {"call_digest": bytes(32)},
    ],
    ids=lambda fields: "-".join(map(str, fields.values()))[:20],
)
def test_what_is_not_approved_in_time_for_this_call_is_gone(fields: dict[str, Any]) -> None:
    written = claiming(approved(**fields), payload=payload())
    assert verdicts(written) == [GONE]
    assert not is_stored(written)


def test_a_stale_or_repeated_intent_consumes_nothing() -> None:
    agent = Agent.objects.create(name="triage-bot", owner=User.objects.create_user("ana@example.com"))
    row = approved()
    stale = decided_now(f"agent:{agent.pk.hex}", claim=Claim(row.number, DIGEST))
    repeated = entry()
    assert verdicts(repeated) == [COMMITTED]
    Agent.objects.filter(pk=agent.pk).update(status="suspended")
    again = entry(call_id=repeated.event.call_id, claim=Claim(row.number, DIGEST))
    assert verdicts(stale, again) == [STALE, DUPLICATE]
    row.refresh_from_db()
    assert row.state == "approved"


def test_arguments_that_are_not_to_be_recorded_go_with_the_use() -> None:
    row = approved(asked_arguments=b"")
    assert verdicts(claiming(row)) == [COMMITTED]
    row.refresh_from_db()
    assert bytes(row.arguments) == b""


def test_of_many_processes_exactly_one_gets_each() -> None:
    """Each worker has a connection of its own and tries them all, in its own order."""
    rows = [approved(bytes([number]) * 32) for number in range(20)]

    async def worker(number: int) -> list[Committed]:
        own = backend()
        try:
            order = rows[number:] + rows[:number]
            return [(await own.commit([claiming(row, digest=bytes(row.call_digest))]))[0] for row in order]
        finally:
            await own.close()

    async def race() -> list[list[Committed]]:
        return await asyncio.gather(*(worker(number) for number in range(6)))

    told = [committed.verdict for of_worker in asyncio.run(race()) for committed in of_worker]
    assert told.count(COMMITTED) == len(rows)
    assert told.count(GONE) == 5 * len(rows)
    assert not ApprovalRequest.objects.exclude(state="consumed").exists()


# -- grants


def test_uses_are_counted_up_to_the_last() -> None:
    grant = counted(3, used=1)
    entries = [entry(claim=Claim(None, b"", (grant,))) for _ in range(4)]
    assert verdicts(*entries) == [COMMITTED, COMMITTED, GONE, GONE]
    assert used(grant) == 3


def test_all_of_a_claim_or_nothing() -> None:
    row, free, spent = approved(), counted(1), counted(1, used=1)
    assert verdicts(claiming(row, free, spent)) == [GONE]
    row.refresh_from_db()
    assert (row.state, used(free), used(spent)) == ("approved", 0, 1)


# -- labels of runs


def run(*labels: str, session: str = "s") -> Run:
    return Run(AGENT.hex, run_of(session), frozenset(labels))


def labels(session: str = "s") -> frozenset[str]:
    return labels_of(AGENT.hex, run_of(session), datetime.now(UTC))


def test_an_outcome_adds_labels_and_a_later_intent_that_did_not_see_them_is_not_made() -> None:
    assert verdicts(entry("call.outcome", met=run("finance", "untrusted"))) == [COMMITTED]
    assert labels() == {"finance", "untrusted"}
    assert labels("another") == {"finance", "untrusted"}
    intents = [entry(seen=run()), entry(seen=run("finance")), entry(seen=run("untrusted", "finance"))]
    assert verdicts(*intents) == [LABELLED, LABELLED, COMMITTED]


def test_after_a_while_a_label_stays_with_its_run_only() -> None:
    commit(entry("call.outcome", met=run("finance")))
    RunLabel.objects.update(at=datetime.now(UTC) - timedelta(minutes=32))
    assert [sorted(each) for each in (labels(), labels("another"), labels(""))] == [["finance"], [], []]
    intents = [entry(seen=run("finance")), entry(seen=run(session="another")), entry(seen=run(session=""))]
    assert verdicts(*intents) == [COMMITTED] * 3


def test_a_hold_is_of_all_that_the_agent_does_until_it_ends() -> None:
    """A new session gets nobody out of it, and a commit reads it as the decision does."""
    commit(entry("call.outcome", met=run("held")))
    RunLabel.objects.update(at=datetime.now(UTC) - timedelta(hours=2))
    assert labels("another") == {"held"}
    intents = [entry(seen=run(session="another")), entry(seen=run("held", session="another"))]
    assert verdicts(*intents) == [LABELLED, COMMITTED]


def test_a_label_met_again_counts_from_then() -> None:
    old = datetime.now(UTC) - timedelta(minutes=20)
    commit(entry("call.outcome", met=run("finance")))
    RunLabel.objects.update(at=old)
    assert verdicts(*(entry("call.outcome", met=run("finance")) for _ in range(3))) == [COMMITTED] * 3
    assert RunLabel.objects.get().at > old + timedelta(minutes=19)


def test_an_outcome_that_was_recorded_before_adds_nothing() -> None:
    first = entry("call.outcome")
    commit(first)
    assert verdicts(entry("call.outcome", call_id=first.event.call_id, met=run("finance"))) == [DUPLICATE]
    assert labels() == frozenset()
