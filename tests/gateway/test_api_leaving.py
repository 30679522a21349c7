"""Receipts, checks and sign-ins through the API."""

import hashlib
import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from audit.models import EventRow
from gateway import offboardings
from governance.models import User
from governance.offboarding import Plan
from tests.gateway.calling import Api, it_admin, owner, person, problem
from tests.gateway.signing_in import PASSWORD, enter, is_in
from tests.gateway.test_offboarding_screen import lukasz

__all__ = ("lukasz", "owner")

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_a_receipt_byte_for_byte_and_on_paper(lukasz: User) -> None:
    done = offboardings.offboard(lukasz, plan=Plan("lee@example.com"), by="command:test")
    ira = Api(person("ira@example.com", "auditor"))
    path = f"offboardings/{done.pk}/receipt"

    as_json, as_pdf = ira.get(path), ira.get(path, Accept="application/pdf")

    assert hashlib.sha256(as_json.content).hexdigest() == done.receipt_digest
    assert as_json["Content-Type"] == "application/json"
    assert (as_pdf["Content-Type"], as_pdf.content[:5]) == ("application/pdf", b"%PDF-")
    assert ira.get(path, If_None_Match=as_json["ETag"]).status_code == 304
    problem(Api(person("lee2@example.com", "approver")).get(path), 403, "permission_denied")


def test_what_was_ended_is_tried_again(lukasz: User) -> None:
    done = offboardings.offboard(lukasz, plan=Plan(), by="command:test")
    noor = it_admin()

    told = noor.post(f"offboardings/{done.pk}/check").json()

    assert (told["clean"], told["live"], told["tried"], told["by"]) == (True, [], 3, "person:noor@example.com")
    done.refresh_from_db()
    assert done.checked == told
    event = EventRow.objects.get(kind="offboarding.checked")
    assert (event.actor, event.person) == ("person:noor@example.com", "lukasz@example.com")


def test_before_the_receipt_there_is_nothing_to_check(lukasz: User) -> None:
    owner = Api(User.objects.get(email="owner@example.com"))
    planned = owner.post("offboardings", {"person": lukasz.email, "at": "2100-01-01T00:00:00Z"}).json()

    problem(owner.post(f"offboardings/{planned['id']}/check"), 409, "conflict")
    problem(owner.get(f"offboardings/{planned['id']}/receipt"), 404, "not_found")


def test_she_sees_and_ends_her_own_sign_ins_and_nobody_elses(owner: Api) -> None:
    browser = Client()
    mia = person("mia@example.com", staff=False)
    mia.set_password(PASSWORD)
    mia.save()
    enter(browser, mia.email)
    api = Api(mia)

    (session,) = api.get("sessions").json()["results"]
    assert session.keys() == {"id", "created_at", "last_seen_at", "ip", "user_agent"}
    assert owner.get("sessions").json()["results"] == []
    problem(owner.delete(f"sessions/{session['id']}"), 404, "not_found")
    problem(Api(mia, scopes=["read"]).delete(f"sessions/{session['id']}"), 403, "missing_scope")
    assert is_in(browser)

    assert api.delete(f"sessions/{session['id']}").status_code == 204
    assert not is_in(browser)
    event = EventRow.objects.get(kind="person.session_ended")
    assert (event.actor, event.person) == ("person:mia@example.com", "mia@example.com")


def test_scopes_may_be_given_one_by_one() -> None:
    noor, out = person("noor@example.com", "it-admin"), StringIO()

    call_command(
        "issue_key", "--person", noor.email, "--scope", "read", "--scope", "agents:write", "--json", stdout=out
    )

    assert json.loads(out.getvalue())["scopes"] == ["agents:write", "read"]
