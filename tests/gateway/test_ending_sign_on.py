"""The end of an account of an identity provider here: by a person at her screen, or by the API; at once, and whole."""

from collections import Counter
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.models import EventRow
from gateway.actions import act
from gateway.staff_identities import end
from governance.models import StaffIdentity, User
from tests.gateway.calling import Api
from tests.gateway.forging_issuer import ForgingIssuer, come, issuer, running
from tests.gateway.signing_in import TOO_LONG, browser_of, enter, is_in, let_time_pass, person

__all__ = ("issuer", "running")

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]


@pytest.fixture
def ana() -> User:
    return person("ana@example.com", is_staff=True)


def kinds() -> Counter[str]:
    return Counter(EventRow.objects.values_list("kind", flat=True))


@pytest.fixture
def it_admin() -> Client:
    return browser_of(person("noor@example.com", is_staff=True, duties=["it-admin"]))


def do(browser: Client, action: str, *rows: StaffIdentity) -> Any:
    chosen = {"action": action, "confirmed": "yes", "_selected_action": [str(row.pk) for row in rows]}
    return browser.post(reverse("admin:governance_staffidentity_changelist"), chosen, follow=True)


def test_an_ended_account_ends_the_sessions_that_rest_on_it_and_no_others(
    issuer: ForgingIssuer, ana: User, it_admin: Client
) -> None:
    here, there, by_password = Client(), Client(), Client()
    come(here, issuer)
    come(there, issuer)
    enter(by_password, ana.email)
    assert UserSession.objects.filter(user=ana).count() == 3
    done = do(it_admin, "end", StaffIdentity.objects.get())
    assert b"1 accounts ended" in done.content
    assert [is_in(each) for each in (here, there, by_password)] == [False, False, True]
    assert UserSession.objects.filter(user=ana).count() == 1
    assert StaffIdentity.objects.get().ended_by == "person:noor@example.com"
    assert kinds()["identity.ended"] == 1
    assert come(here, issuer).status_code == 403
    do(it_admin, "end", StaffIdentity.objects.get())
    assert kinds()["identity.ended"] == 1


def test_all_of_it_happens_or_nothing(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    """Record, row and sessions are one transaction."""
    come(client, issuer)
    row = StaffIdentity.objects.get()

    def fails_afterwards(record: Any, now: Any) -> None:
        end(row, by="test", record=record, now=now)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        act(fails_afterwards, by="test")
    assert is_in(client)
    assert kinds()["identity.ended"] == 0


def test_a_session_that_was_just_being_opened_is_out_with_its_first_request(
    issuer: ForgingIssuer, ana: User, client: Client
) -> None:
    """Its row comes after the end, which therefore could not find it."""
    come(client, issuer)
    StaffIdentity.objects.update(ended_at=timezone.now(), ended_by="test")
    for page in ("/me/", "/account/single-sign-on/", "/admin/"):
        raced = Client()
        raced.cookies = client.cookies
        assert raced.get(page).status_code == 302
    assert client.post("/account/single-sign-on/connect/oidc/").status_code == 302
    assert StaffIdentity.objects.get().ended_at is not None


def test_only_it_allows_it_again_and_not_for_somebody_who_may_more(
    issuer: ForgingIssuer, ana: User, client: Client, it_admin: Client
) -> None:
    come(client, issuer)
    row = StaffIdentity.objects.get()
    do(it_admin, "end", row)
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    assert b"may do more than you" in do(it_admin, "allow", row).content
    User.objects.filter(pk=ana.pk).update(is_superuser=False)
    let_time_pass(it_admin, TOO_LONG)
    assert b"Sign in again" in do(it_admin, "allow", row).content
    assert come(Client(), issuer).status_code == 403
    let_time_pass(it_admin, -TOO_LONG)
    do(it_admin, "allow", row)
    again = Client()
    come(again, issuer)
    assert is_in(again)
    assert not is_in(client), "an old session does not come back"
    assert kinds()["identity.linked"] == 2


def test_it_is_ended_by_the_api(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    noor = person("noor@example.com", is_staff=True, duties=["it-admin"])
    come(client, issuer)
    api, row = Api(noor, scopes=("sign-ons:end", "read")), StaffIdentity.objects.get()
    listed = api.get("staff-identities?person=ana@example.com&state=live").json()["results"]
    assert [(each["subject"], each["protocol"], each["ended_at"]) for each in listed] == [("a-1", "oidc", None)]
    answer = api.post(f"staff-identities/{row.pk}/end")
    assert (answer.status_code, answer.json()["ended_by"]) == (200, "person:noor@example.com")
    assert not is_in(client)
    assert api.post(f"staff-identities/{row.pk}/end").json()["code"] == "conflict"
    assert Api(ana, scopes=("sign-ons:end", "read")).post(f"staff-identities/{row.pk}/end").status_code == 403


def test_looking_whether_she_is_still_let_in_costs_one_query(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    come(client, issuer)
    by_password = Client()
    enter(by_password, ana.email)
    counted = []
    for browser in (client, by_password):
        browser.get("/me/")
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("/me/").status_code == 200
        counted.append(len(queries))
    assert counted[0] == counted[1] + 1
