"""Passkeys through the pages: added, signing in alone and beside a password, and proving it again."""

from typing import Any

import orjson
import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from governance.models import User
from tests.gateway.signing_in import TOO_LONG, enter, is_in, let_time_pass, person
from tests.gateway.soft_passkey import SoftPasskey

pytestmark = pytest.mark.django_db

JSON = {"accept": "application/json"}


@pytest.fixture(autouse=True)
def public_name(settings: Any) -> None:
    settings.PUBLIC_HOST = "localhost"


@pytest.fixture
def ana() -> User:
    return person("ana@example.com")


@pytest.fixture
def passkey(ana: User) -> SoftPasskey:
    """Hers, added on her page."""
    client, passkey = Client(), SoftPasskey()
    enter(client, ana.email)
    assert add(client, passkey).status_code == 302
    return passkey


def add(client: Client, passkey: SoftPasskey) -> Any:
    page = reverse("mfa_add_webauthn")
    options = plain(client.get(page).context["js_data"]["creation_options"])
    return client.post(page, {"name": "Laptop", "passwordless": "on", "credential": passkey.create(options)})


def plain(options: Any) -> Any:
    """As the page hands them to the browser."""
    return orjson.loads(orjson.dumps(options, default=dict))


def sign_in(client: Client, passkey: SoftPasskey) -> Any:
    options = client.get(reverse("mfa_login_webauthn"), headers=JSON).json()["request_options"]
    return client.post(reverse("mfa_login_webauthn"), {"credential": passkey.get(options)})


def test_a_passkey_signs_in_alone(passkey: SoftPasskey, client: Client) -> None:
    assert sign_in(client, passkey)["Location"] == "/me/"
    assert is_in(client)
    events = [(row.kind, orjson.loads(bytes(row.header))["details"]) for row in EventRow.objects.all()]
    assert sorted(told["how"] for kind, told in events if kind == "person.signed_in") == ["passkey", "password"]
    added = sorted(told["factor"] for kind, told in events if kind == "person.second_factor_added")
    assert added == ["passkey"]


def test_beside_a_password_it_is_the_second_factor(ana: User, passkey: SoftPasskey, client: Client) -> None:
    assert enter(client, ana.email)["Location"] == reverse("mfa_authenticate")
    assert not is_in(client)
    options = plain(client.get(reverse("mfa_authenticate")).context["js_data"]["request_options"])
    client.post(reverse("mfa_authenticate"), {"credential": passkey.get(options)})
    assert is_in(client)


def test_it_opens_the_door_that_guessing_has_locked(ana: User, passkey: SoftPasskey, client: Client) -> None:
    for _ in range(6):
        enter(client, ana.email, "a guess, and a wrong one")
    sign_in(client, passkey)
    assert is_in(client)


def test_a_passkey_used_on_another_site_opens_nothing(passkey: SoftPasskey, client: Client) -> None:
    passkey.origin = "https://gatehouse.example.evil"
    assert sign_in(client, passkey)["Location"] == reverse("account_login")
    assert not is_in(client)


def test_a_strangers_passkey_and_an_answer_heard_before_open_nothing(passkey: SoftPasskey, client: Client) -> None:
    stranger = SoftPasskey()
    stranger.user_handle = passkey.user_handle
    sign_in(client, stranger)
    assert not is_in(client)
    options = client.get(reverse("mfa_login_webauthn"), headers=JSON).json()["request_options"]
    heard = passkey.get(options)
    client.post(reverse("mfa_login_webauthn"), {"credential": heard})
    thief = Client()
    thief.get(reverse("mfa_login_webauthn"), headers=JSON)
    thief.post(reverse("mfa_login_webauthn"), {"credential": heard})
    assert (is_in(client), is_in(thief)) == (True, False)


def test_somebody_switched_off_is_not_let_in(ana: User, passkey: SoftPasskey, client: Client) -> None:
    User.objects.update(is_active=False)
    assert sign_in(client, passkey)["Location"] == reverse("account_inactive")
    User.objects.update(is_active=True)
    assert not is_in(client)


def test_it_proves_again_who_it_is(ana: User, passkey: SoftPasskey, client: Client) -> None:
    sign_in(client, passkey)
    let_time_pass(client, TOO_LONG)
    again = reverse("mfa_reauthenticate_webauthn")
    assert client.get(reverse("mfa_add_webauthn")).status_code == 302
    options = plain(client.get(again).context["js_data"]["request_options"])
    client.post(again, {"credential": passkey.get(options), "next": "/me/"})
    assert client.get(reverse("mfa_add_webauthn")).status_code == 200


def test_a_removed_passkey_signs_in_no_more(passkey: SoftPasskey, client: Client) -> None:
    sign_in(client, passkey)
    row = Authenticator.objects.get(type=Authenticator.Type.WEBAUTHN)
    assert client.post(reverse("mfa_edit_webauthn", args=[row.pk]), {"name": "Old laptop"}).status_code == 302
    assert b"Old laptop" in client.get(reverse("mfa_list_webauthn")).content
    assert client.post(reverse("mfa_remove_webauthn", args=[row.pk])).status_code == 302
    elsewhere = Client()
    sign_in(elsewhere, passkey)
    assert not is_in(elsewhere)


def test_under_a_bare_address_passkeys_are_not_offered(ana: User, client: Client, settings: Any) -> None:
    assert b"Sign in with a passkey" in client.get(reverse("account_login")).content
    settings.PUBLIC_HOST = "127.0.0.1"
    assert b"Sign in with a passkey" not in client.get(reverse("account_login")).content
    enter(client, ana.email)
    assert b"under a name over HTTPS" in client.get(reverse("mfa_index")).content
