"""The inbox of findings follows the log: nothing lost, nothing twice, and what evidence lets go goes from it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from audit import sightings
from audit.event import AuditEvent, uuid7
from audit.models import EventRow, FindingCursor, FindingGroup, Sighting
from audit.record import record
from audit.sightings import count_new_findings, forget_leaves, forget_person
from tests.audit.writing import NOON, execute, lower_guards, seal

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SESSION = UUID(int=7)


def found(*prints: str, rule: str = "github_token", path: str = "/arguments/note", **more: Any) -> dict[str, Any]:
    told = {"rule": rule, "version": 1, "kind": "secret", "path": path, "count": max(1, len(prints))}
    return {**told, "fingerprints": list(prints), **more}


def a_record(
    *findings: Any, kind: str = "call.intent", person: str = "ana@example.com", approval: Any = None, **fields: Any
) -> None:
    named = {"agent": "triage-bot", "connector": "helpdesk", "tool": "ticket_get", "session": SESSION, **fields}
    record(
        AuditEvent(
            kind=kind,
            at=NOON,
            actor="agent:triage-bot",
            person=person,
            call_id=uuid7(),
            details={"findings": list(findings)} | ({"approval": approval} if approval else {}),
            **named,
        )
    )


def groups() -> dict[str, int]:
    """Fingerprint -> in how many records it was seen."""
    return dict(FindingGroup.objects.values_list("fingerprint", "records"))


def test_the_same_value_of_a_rule_at_a_tool_is_one_finding(signer: Any) -> None:
    a_record(found("a"))
    a_record(found("a", path="/content/0/text"), found("b"), kind="call.outcome")
    a_record(found("a"), tool="crm_get")
    seal(signer)
    count_new_findings()
    told = FindingGroup.objects.values_list("tool", "fingerprint", "records").order_by("tool", "fingerprint")
    assert list(told) == [("crm_get", "a", 1), ("ticket_get", "a", 2), ("ticket_get", "b", 1)]
    group = FindingGroup.objects.get(tool="ticket_get", fingerprint="a")
    seen = Sighting.objects.filter(group=group.pk).order_by("leaf")
    assert [(each.in_result, each.path, each.session) for each in seen] == [
        (False, "/arguments/note", SESSION),
        (True, "/content/0/text", SESSION),
    ]


def test_each_record_counts_once_however_often_and_in_whatever_pages_it_is_read(
    signer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "PAGE", 2)
    for _ in range(5):
        a_record(found("a"))
    seal(signer)
    count_new_findings()
    assert count_new_findings() == 0
    assert groups() == {"a": 5}


def test_a_run_that_another_one_outran_counts_nothing(signer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a_record(found("a"))
    seal(signer)
    was = sightings._records

    def outrun(start: int, end: int) -> Any:
        FindingCursor.objects.update_or_create(id=1, defaults={"next_leaf": end})
        return was(start, end)

    monkeypatch.setattr(sightings, "_records", outrun)
    count_new_findings()
    assert groups() == {}


def test_many_values_are_bounded_and_none_is_lost(signer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream may answer with as many values as it likes."""
    monkeypatch.setattr(sightings, "MOST_VALUES", 3)
    monkeypatch.setattr(sightings, "MOST_GROUPS", 4)
    a_record(*(found(*(f"{place}{one}" for one in range(10)), path=f"/{place}") for place in "ab"))
    a_record(found("c0", "c1"), found("d0", rule="aws_key"))
    seal(signer)
    count_new_findings()
    assert FindingGroup.objects.filter(rule="github_token").exclude(fingerprint="").count() == 4
    assert groups()[""] == 2
    assert groups()["d0"] == 1


@pytest.mark.parametrize(
    "details",
    [
        {"findings": "none"},
        {"findings": [{"rule": "x"}]},
        {"findings": [3]},
        {"findings": {"secret": 1}},
        {"note": '"findings"'},
    ],
    ids=["text", "part", "number", "object", "elsewhere"],
)
def test_what_cannot_be_read_stops_nothing(signer: Any, details: dict[str, Any]) -> None:
    record(AuditEvent("call.intent", NOON, "agent:x", agent="x", details=details))
    a_record(found("a"))
    seal(signer)
    count_new_findings()
    assert groups() == {"a": 1}


def test_what_is_excepted_is_counted_apart(signer: Any) -> None:
    a_record(found("a"))
    a_record(found("a", exception="test-cards"))
    seal(signer)
    count_new_findings()
    assert FindingGroup.objects.values_list("records", "excepted").get() == (2, 1)


def test_a_held_call_counts_once_and_narrowed_arguments_on_their_own(signer: Any) -> None:
    a_record(found("a"), kind="approval.asked")
    a_record(found("a"), approval={"request": "A-1", "narrowed": []})
    a_record(found("b"), approval={"request": "A-2", "narrowed": ["/amount"]})
    a_record(found("c"))
    seal(signer)
    count_new_findings()
    assert groups() == {"a": 1, "b": 1, "c": 1}


# -- letting go


def test_what_is_pruned_goes_from_the_inbox_but_what_was_judged_stays(signer: Any) -> None:
    a_record(found("a"))
    a_record(found("a"), found("b"), found("c"))
    seal(signer)
    count_new_findings()
    FindingGroup.objects.filter(fingerprint="b").update(verdict="false")
    (last,) = Sighting.objects.filter(group=FindingGroup.objects.get(fingerprint="b").pk).values_list("leaf", flat=True)
    forget_leaves([(last, last + 1)])
    assert groups() == {"a": 1, "b": 0}


def test_a_person_who_is_erased_is_forgotten_with_what_was_only_seen_with_her(signer: Any) -> None:
    a_record(found("a"), found("b"))
    a_record(found("a"), person="ben@example.com")
    seal(signer)
    count_new_findings()
    FindingGroup.objects.update(verdict="true")
    forget_person("ana@example.com")
    assert groups() == {"a": 1}
    assert list(Sighting.objects.values_list("person", flat=True)) == ["ben@example.com"]


def test_what_was_erased_or_pruned_before_it_was_read_does_not_come_back(signer: Any) -> None:
    a_record(found("a"))
    a_record(found("b"), person="ben@example.com")
    seal(signer)
    record(
        AuditEvent("audit.subject_erased", NOON + timedelta(hours=1), "person:o@example.com", person="ana@example.com")
    )
    lower_guards("audit_event")
    execute("DELETE FROM audit_event WHERE person = %s", "ben@example.com")
    count_new_findings()
    assert groups() == {}
    assert EventRow.objects.filter(person="ana@example.com", kind="call.intent").exists()
