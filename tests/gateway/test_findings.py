"""The inbox of findings: who sees it, what she says of a finding, and what the record keeps of that."""

from typing import Any
from uuid import UUID

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow, FindingGroup, Sighting
from tests.audit.writing import NOON
from tests.gateway.rows import HOSTILE, SESSION
from tests.gateway.signing_in import sign_in

pytestmark = pytest.mark.django_db

FINDING = UUID(int=5)
EVENT = UUID(int=6)


@pytest.fixture
def finding() -> FindingGroup:
    Sighting.objects.create(
        group=FINDING, leaf=3, event_id=EVENT, call_id=EVENT, session=SESSION, at=NOON, in_result=True, path=HOSTILE,
        agent="triage-bot", count=2,
    )  # fmt: skip
    return FindingGroup.objects.create(
        id=FINDING,
        rule="generic_secret",
        kind="secret",
        fingerprint="f" * 32,
        connector="helpdesk",
        tool=HOSTILE,
        records=1,
        first_at=NOON,
        last_at=NOON,
    )


def address() -> str:
    return reverse("finding", args=[FINDING])


def judged() -> list[dict[str, Any]]:
    rows = EventRow.objects.filter(kind="finding.judged").order_by("id").values_list("header", flat=True)
    return [orjson.loads(bytes(header))["details"] for header in rows]


def test_the_list_leads_to_the_finding_and_says_how_often_its_rule_was_wrong(finding: FindingGroup) -> None:
    FindingGroup.objects.create(
        id=UUID(int=9), rule="generic_secret", kind="secret", verdict="false", first_at=NOON, last_at=NOON
    )
    shown = sign_in("security").get(reverse("admin:audit_findinggroup_changelist")).content.decode()
    assert address() in shown
    assert "100% (1 of 1;" in shown
    assert "<script>alert(1)" not in shown


def test_what_somebody_says_is_on_record_with_its_reason(finding: FindingGroup) -> None:
    security = sign_in("security")
    assert security.post(address(), {"verdict": "false", "note": "A test card of the vendor."}).status_code == 302
    assert security.post(address(), {"verdict": "true", "note": ""}).status_code == 302
    finding.refresh_from_db()
    assert (finding.verdict, finding.judged_by) == ("true", "person:noor@example.com")
    first, second = judged()
    assert (first["verdict"], first["was"], first["note"]) == ("false", "", "A test card of the vendor.")
    assert (second["verdict"], second["was"], second["rule"]) == ("true", "false", "generic_secret")


@pytest.mark.parametrize(
    "said",
    [{"verdict": "false", "note": "  "}, {"verdict": "maybe", "note": "x"}, {"verdict": "true", "note": "x" * 501}],
    ids=["no-reason", "no-such-word", "too-long"],
)
def test_what_will_not_do_changes_nothing(finding: FindingGroup, said: dict[str, str]) -> None:
    answer = sign_in("security").post(address(), said)
    finding.refresh_from_db()
    assert (answer.status_code, finding.verdict, judged()) == (400, "", [])


def test_an_auditor_reads_and_follows_but_says_nothing(finding: FindingGroup) -> None:
    auditor = sign_in("auditor")
    shown = auditor.get(address()).content.decode()
    assert reverse("session_page", args=[SESSION]) in shown
    assert "Put it on record" not in shown
    assert "<script>alert(1)" not in shown
    assert auditor.post(address(), {"verdict": "true"}).status_code == 403


def test_who_may_not_see_events_finds_no_way_to_them(finding: FindingGroup) -> None:
    assert reverse("session_page", args=[SESSION]) not in sign_in("security").get(address()).content.decode()


def test_filters_narrow_the_list(finding: FindingGroup) -> None:
    client: Client = sign_in("security")
    for question, is_there in (
        ("agent=triage-bot", True),
        ("agent=other-bot", False),
        ("state=open", True),
        ("state=true", False),
        ("rule=generic_secret", True),
        ("kind=personal", False),
    ):
        shown = client.get(f"{reverse('admin:audit_findinggroup_changelist')}?{question}").content.decode()
        assert (address() in shown) is is_there, question
