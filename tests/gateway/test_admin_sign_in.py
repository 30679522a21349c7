"""Ways in: one-time links, passwords, and what of both stands in evidence."""

from datetime import timedelta
from urllib.parse import urlsplit

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway import one_time_links
from gateway.console import one_time_login
from gateway.one_time_links import one_time_login_url
from governance.models import Change, User
from tests.gateway.signing_in import PASSWORD, enter, person

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]


@pytest.fixture
def owner() -> User:
    return User.objects.create_superuser("owner@example.com")


def path_of(url: str) -> str:
    return urlsplit(url).path


def test_a_link_signs_in_once(owner: User, client: Client) -> None:
    link = path_of(one_time_login_url(owner))
    assert client.get(link).status_code == 200
    assert "_auth_user_id" not in client.session
    assert client.post(link).status_code == 302
    assert client.session["_auth_user_id"] == str(owner.pk)
    assert [Client().get(link).status_code, Client().post(link).status_code] == [410, 410]


def test_of_two_that_click_at_once_one_gets_in(owner: User) -> None:
    seen = User.objects.get(pk=owner.pk)
    assert one_time_login._use_up(seen)
    assert not one_time_login._use_up(seen)


def test_a_link_ends_with_its_time_its_person_and_another_sign_in(
    owner: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = path_of(one_time_login_url(owner))
    User.objects.update(is_active=False)
    assert client.post(link).status_code == 410
    User.objects.update(is_active=True)
    with monkeypatch.context() as later:
        later.setattr(one_time_links, "LIFETIME", timedelta(seconds=-1))
        assert client.post(link).status_code == 410
    Client().force_login(User.objects.get())
    assert client.post(link).status_code == 410


def test_a_forged_link_does_not_work(owner: User, client: Client) -> None:
    link = path_of(one_time_login_url(owner))
    assert client.post(f"{link[:-2]}xx").status_code == 410
    assert client.post("/login/x").status_code == 410


def test_the_first_password_is_chosen_after_the_link(owner: User, client: Client) -> None:
    choose = reverse("account_set_password")
    assert client.post(path_of(one_time_login_url(owner)))["Location"] == choose
    assert b"oldpassword" not in client.get(choose).content
    assert client.post(choose, {"password1": "short", "password2": "short"}).status_code == 200
    assert client.post(choose, {"password1": PASSWORD, "password2": PASSWORD}).status_code == 302
    assert Change.objects.latest("id").actor == "person:owner@example.com"
    assert client.get(choose)["Location"] == reverse("account_change_password")
    assert b"oldpassword" in client.get(reverse("account_change_password")).content
    assert enter(Client(), owner.email)["Location"] == reverse("admin:index")


def test_who_has_a_password_lands_where_she_works(client: Client) -> None:
    ana, owner = person("ana@example.com"), person("owner@example.com", is_staff=True)
    assert Client().post(path_of(one_time_login_url(owner)))["Location"] == "/admin/"
    assert client.post(path_of(one_time_login_url(ana)))["Location"] == "/me/"
    assert b"ana@example.com" in client.get("/me/").content


def test_the_admin_shows_a_person_without_admin_rights_her_own_page(client: Client) -> None:
    client.force_login(person("ana@example.com"))
    assert client.get("/admin/governance/agent/", follow=True).redirect_chain[-1] == ("/me/", 302)


def test_ways_in_and_failures_are_evidence(owner: User) -> None:
    owner.set_password(PASSWORD)
    owner.save()
    enter(Client(), owner.email, "wrong")
    enter(Client(), owner.email)
    Client().post(path_of(one_time_login_url(User.objects.get())))
    failed = EventRow.objects.get(kind="person.sign_in_failed")
    assert (failed.actor, failed.person) == ("stranger", "owner@example.com")
    signed_in = [orjson.loads(bytes(row.header)) for row in EventRow.objects.filter(kind="person.signed_in")]
    assert sorted(event["details"]["how"] for event in signed_in) == ["one-time link", "password"]
    assert not any(PASSWORD.encode() in bytes(event.header) for event in EventRow.objects.all())
