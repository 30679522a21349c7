"""The one account for when single sign-on is down: never connected, never without a second factor, never quiet."""

from collections import Counter
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway.models import Notice
from gateway.one_time_links import one_time_login_url
from gateway.password_resets import mail_password_reset
from governance.models import NotificationChannel, StaffIdentity, User
from tests.gateway.signing_in import browser_of, enter, is_in, person
from tests.gateway.test_accounts import set_up_app

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

GLASS = "glass@example.com"


@pytest.fixture
def glass() -> User:
    """With an authenticator app."""
    account = person(GLASS, is_staff=True, is_superuser=True)
    set_up_app(browser_of(account))
    User.objects.filter(pk=account.pk).update(break_glass=True)
    return User.objects.get(pk=account.pk)


@pytest.fixture
def sign_on(settings: Any) -> None:
    settings.OIDC_ISSUER, settings.LOCAL_SIGN_IN = "https://id.example.com", "break-glass"


def kinds() -> Counter[str]:
    return Counter(EventRow.objects.values_list("kind", flat=True))


def by_link(client: Client, account: User) -> None:
    client.post(one_time_login_url(account).partition("8000")[2])


def form_of(account: User, **changes: Any) -> dict[str, Any]:
    fields = {"email": account.email, "name": "", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    return {name: value for name, value in (fields | changes).items() if value is not None}


def save(owner: User, account: User, **changes: Any) -> Any:
    page = reverse("admin:governance_user_change", args=[account.pk])
    return browser_of(owner).post(page, form_of(account, **changes))


# Becoming it


def test_an_owner_with_a_second_factor_becomes_it(client: Client) -> None:
    owner, account = (person(email, is_staff=True, is_superuser=True) for email in ("owner@example.com", GLASS))
    assert b"It needs a passkey or an authenticator app" in save(owner, account, break_glass="on").content
    set_up_app(browser_of(account))
    assert b"is an owner" in save(owner, account, break_glass="on", is_superuser=None).content
    identity = StaffIdentity.objects.create(person=account, issuer="https://id", subject="1", created_by="test")
    assert b"Single sign-on is connected" in save(owner, account, break_glass="on").content
    identity.delete()
    assert save(owner, account, break_glass="on").status_code == 302
    assert User.objects.get(break_glass=True) == account
    set_up_app(browser_of(owner))
    assert b"There is one already" in save(account, owner, break_glass="on").content


def test_nobody_but_an_owner_makes_one() -> None:
    noor = person("noor@example.com", is_staff=True, duties=["it-admin"])
    lee = person("lee@example.com")
    save(noor, lee, is_staff=None, is_superuser=None, break_glass="on")
    assert not User.objects.filter(break_glass=True).exists()


# The only way in


@pytest.mark.usefixtures("sign_on")
def test_with_single_sign_on_alone_nobody_else_gets_in_by_herself(client: Client, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    owner = person("owner@example.com", is_staff=True, is_superuser=True)
    answer = enter(client, owner.email)
    assert answer.status_code == 403
    assert b"only the break-glass account" in answer.content
    by_link(client, owner)
    client.post(reverse("account_reset_password"), {"email": owner.email})
    assert not is_in(client)
    assert mail.outbox == []
    assert kinds()["person.sign_in_failed"] == 1, "told once a minute"


@pytest.mark.usefixtures("sign_on")
def test_a_reset_of_the_break_glass_account_is_mailed(glass: User, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    assert mail_password_reset(str(glass.pk))


@pytest.mark.usefixtures("sign_on")
def test_the_break_glass_account_gets_in_with_its_second_factor(glass: User, client: Client) -> None:
    answer = enter(client, GLASS)
    assert answer["Location"].startswith("/account/second-factor/check/")
    assert not is_in(client)


def test_without_a_second_factor_its_password_is_nothing_worth(glass: User, client: Client) -> None:
    Authenticator.objects.all().delete()
    assert b"needs a second factor" in enter(client, GLASS).content
    assert not is_in(client)
    by_link(client, glass)
    assert is_in(client)


# Loud


def test_each_sign_in_is_told_to_all_who_watch(glass: User, client: Client, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    owner = person("owner@example.com", is_staff=True, is_superuser=True)
    sam = person("sam@example.com", is_staff=True, duties=["security"])
    person("ira@example.com", is_staff=True, duties=["it-admin"])
    channel = NotificationChannel.objects.create(name="alerts", kind="slack")
    before = kinds()["break_glass_account.used"]
    by_link(client, glass)
    assert kinds()["break_glass_account.used"] == before + 1
    told = Notice.objects.filter(kind=Notice.Kind.BREAK_GLASS)
    assert {row.person_id for row in told} == {owner.pk, sam.pk, glass.pk, None}
    assert [row.channel_id for row in told if row.person_id is None] == [channel.pk]
    assert b"signed in with the break-glass account" in client.get("/admin/").content
    assert b"signed in with the break-glass account" not in browser_of(owner).get("/admin/").content


def test_somebody_else_reviews_it(glass: User, client: Client) -> None:
    by_link(client, glass)
    sam = browser_of(person("sam@example.com", is_staff=True, duties=["security"]))
    page = reverse("break_glass_account")
    assert b"The break-glass account was used" in sam.get("/admin/").content
    until = sam.get(page).context["form"].initial["until"]
    answer = client.post(page, {"note": "it was me", "until": until})
    assert answer.status_code == 400
    assert b"Somebody else reviews" in answer.content
    assert sam.post(page, {"note": "the provider was down", "until": until}).status_code == 302
    assert kinds()["break_glass_account.reviewed"] == 1
    assert b"The break-glass account was used" not in sam.get("/admin/").content
    by_link(Client(), User.objects.get(pk=glass.pk))
    assert b"The break-glass account was used" in sam.get("/admin/").content, "another sign-in, another review"


@pytest.mark.usefixtures("sign_on")
def test_home_says_when_there_is_no_way_in_without_single_sign_on(settings: Any, glass: User) -> None:
    settings.LOCAL_SIGN_IN = "everybody"
    owner = browser_of(person("owner@example.com", is_staff=True, is_superuser=True))
    warning = b"No way in without single sign-on"
    assert warning not in owner.get("/admin/").content
    Authenticator.objects.all().delete()
    assert warning in owner.get("/admin/").content
    User.objects.filter(pk=glass.pk).update(is_active=False)
    assert warning in owner.get("/admin/").content
    settings.OIDC_ISSUER = ""
    assert warning not in owner.get("/admin/").content
