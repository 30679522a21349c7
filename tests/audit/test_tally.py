"""The numbers of the home page: each leaf counts once, whatever happens between two runs."""

from datetime import datetime, timedelta

import pytest

from audit import tally
from audit.checkpoint import Signer
from audit.event import AuditEvent, uuid7
from audit.models import CallTally, TallyCursor
from audit.record import record
from audit.tally import count_anew, count_new_calls
from tests.audit.writing import NOON, seal

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def a_call(*, at: datetime = NOON, outcome: str = "ok", tool: str = "ticket_get", **details: object) -> None:
    fields = {"at": at, "actor": "agent:triage-bot", "agent": "triage-bot", "connector": "helpdesk", "tool": tool}
    call_id = uuid7()
    record(AuditEvent(kind="call.intent", call_id=call_id, decision="permit", **fields))  # type: ignore[arg-type]
    record(
        AuditEvent(
            kind="call.outcome",
            call_id=call_id,
            decision="permit",
            outcome=outcome,
            details=details,
            **fields,  # type: ignore[arg-type]
        )
    )


def a_refusal(*, tool: str = "") -> None:
    record(AuditEvent("call.refused", NOON, "agent:x", agent="x", tool=tool, decision="deny", outcome="refused"))


def counted() -> list[tuple[str, str, int]]:
    return list(CallTally.objects.order_by("outcome", "hour").values_list("tool", "outcome", "calls"))


def test_a_call_counts_once_with_its_outcome(signer: Signer) -> None:
    a_call(upstream_ms=12.5), a_call(upstream_ms=7.5), a_refusal()
    seal(signer)
    count_new_calls()
    assert counted() == [("ticket_get", "ok", 2), ("", "refused", 1)]
    timed = CallTally.objects.get(outcome="ok")
    assert (timed.hour, timed.upstream_ms, timed.slowest_ms) == (
        NOON.replace(minute=0, second=0, microsecond=0),
        20,
        12.5,
    )


def test_counting_again_adds_only_what_is_new(signer: Signer) -> None:
    a_call()
    seal(signer)
    assert (count_new_calls(), count_new_calls()) == (3, 0)  # the log's own sign of life is a leaf, too
    a_call()
    seal(signer)
    count_new_calls()
    assert counted() == [("ticket_get", "ok", 2)]


def test_what_has_no_leaf_yet_is_not_counted(signer: Signer) -> None:
    seal(signer)
    a_call()
    count_new_calls()
    assert counted() == []


def test_each_hour_is_counted_apart(signer: Signer) -> None:
    a_call(), a_call(at=NOON + timedelta(hours=1))
    seal(signer)
    count_new_calls()
    assert counted() == [("ticket_get", "ok", 1), ("ticket_get", "ok", 1)]


def test_a_run_reads_page_by_page_and_stops_at_its_bound(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "PAGE", 2)
    monkeypatch.setattr(tally, "MOST_LEAVES", 4)
    for _ in range(4):
        a_refusal()
    seal(signer)
    assert count_new_calls() == 4
    assert TallyCursor.objects.get().next_leaf == 4
    assert count_new_calls() == 1
    assert counted() == [("", "refused", 4)]


def test_the_tallies_can_be_thrown_away(signer: Signer) -> None:
    a_call(upstream_ms=1), a_refusal()
    seal(signer)
    count_new_calls()
    before = counted()
    count_anew()
    assert counted() == []
    count_new_calls()
    assert counted() == before


@pytest.mark.parametrize("nonsense", ["soon", None, [1], {"ms": 1}, -5])
def test_a_record_without_a_sensible_duration_still_counts(signer: Signer, nonsense: object) -> None:
    a_call(upstream_ms=nonsense)
    seal(signer)
    count_new_calls()
    assert CallTally.objects.get().upstream_ms == 0


def test_nothing_is_written_when_nothing_is_new(signer: Signer, django_assert_num_queries: object) -> None:
    seal(signer)
    count_new_calls()
    with django_assert_num_queries(2):  # type: ignore[operator]
        count_new_calls()
