"""The page on which somebody decides whether an agent gets what its call got."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway import approving
from gateway.held_rows import answer_digest, opened, sealed
from governance.approval_rows import Authentication, Changed, WrongPlace, approval_digest
from governance.approvals import Ballot
from governance.fence.actor import governed_change
from governance.models import ApprovalRequest, User
from tests.gateway.held_world import a_question, a_world
from tests.gateway.signing_in import browser_of, let_time_pass

pytestmark = pytest.mark.django_db
KEPT = {
    "answer": {"content": [{"type": "text", "text": "Use swordfish-4711."}]},
    "shown": {"content": [{"type": "text", "text": "Use [SECRET:password]."}]},
    "labels": [],
    "call": "00000000-0000-7000-8000-000000000001",
}


@pytest.fixture
def world() -> dict[str, Any]:
    return a_world()


def an_answer(world: dict[str, Any], **kept: Any) -> ApprovalRequest:
    row = a_question(world, kind="answer")
    body = json.dumps(KEPT | kept).encode()
    row.answer = sealed(row.key, body)
    row.call_digest = answer_digest(row, opened(row, bytes(row.arguments)), body)
    row.save()
    return row


def reader(person: User) -> Client:
    """She may see what masks stand for."""
    with governed_change(by="test"):
        User.objects.filter(pk=person.pk).update(is_staff=True, duties=["security"])
    return browser_of(User.objects.get(pk=person.pk))


def address(row: ApprovalRequest) -> str:
    return reverse("approval", args=[row.key])


def page(client: Client, row: ApprovalRequest) -> str:
    return " ".join(client.get(address(row)).content.decode().split())


def shows(client: Client, row: ApprovalRequest, reason: str = "To see what it is.") -> tuple[int, bool]:
    told = client.post(address(row), {"verb": "show_answer", "reason": reason})
    return told.status_code, "swordfish-4711" in told.content.decode()


def test_it_is_shown_masked_and_the_arguments_as_what_ran(world: dict[str, Any]) -> None:
    text = page(browser_of(world["lee"]), an_answer(world))
    assert "read what it got" in text
    assert "Exactly this ran" in text
    assert "[SECRET:password]" in text
    assert "swordfish-4711" not in text
    assert 'value="show_answer"' not in text, "she has no right to it"


def test_what_nobody_could_look_at_is_not_shown(world: dict[str, Any]) -> None:
    text = page(browser_of(world["lee"]), an_answer(world, shown=None))
    assert "could not be looked at" in text
    assert "swordfish-4711" not in text


def test_as_it_is_it_is_seen_by_right_with_a_reason_on_record(world: dict[str, Any]) -> None:
    row = an_answer(world)
    assert shows(browser_of(world["lee"]), row) == (403, False)
    client = reader(world["lee"])
    assert 'value="show_answer"' in page(client, row)
    assert shows(client, row, reason="") == (422, False)
    assert not EventRow.objects.filter(kind="answer.shown").exists()
    assert shows(client, row) == (200, True)
    event = EventRow.objects.get(kind="answer.shown")
    assert event.actor == "person:lee@example.com"
    assert b"swordfish" not in bytes(event.header)
    assert "swordfish-4711" not in page(client, row), "looking again is recorded again"
    let_time_pass(client, 16 * 60)
    assert shows(client, row) == (403, False)


def test_who_stands_behind_the_call_does_not_see_it_whatever_her_rights(world: dict[str, Any]) -> None:
    assert shows(reader(world["ana"]), an_answer(world)) == (403, False)


def test_one_answer_at_a_time_and_not_in_a_chat(world: dict[str, Any]) -> None:
    row = an_answer(world)
    ballot = Ballot(world["lee"], approval_digest(row), row.revision, "slack", Authentication("chat", None))
    with pytest.raises(WrongPlace):
        approving.decide(row, ballot, approves=True)
    with pytest.raises(Changed, match="one by one"):
        approving.check_alike([row])


def test_its_yes_and_its_no(world: dict[str, Any]) -> None:
    client = browser_of(world["lee"])
    for verb, state in (("approve", "approved"), ("deny", "denied")):
        row = an_answer(world)
        form = {"verb": verb, "digest": approval_digest(row).hex(), "revision": row.revision}
        assert client.post(address(row), form).status_code == 302
        row.refresh_from_db()
        assert (row.state, row.answer is None) == (state, state == "denied")
        assert ("The answer is not kept" in page(client, row)) == (state == "denied")
