"""A person's ways in, through the pages: password, authenticator app, sessions, guessing, signing in again."""

import re
from collections import Counter
from typing import Any

import orjson
import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.test import Client, TestCase
from django.urls import NoReverseMatch, reverse

from audit.models import EventRow
from gateway.actions import rewrap_vault
from gateway.one_time_links import one_time_login_url
from gateway.password_resets import mail_password_reset, reset_url
from governance.models import User
from governance.vault import keyring
from tests.gateway.signing_in import PASSWORD, TOO_LONG, code_of, enter, is_asked_again, is_in, let_time_pass, person

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OTHER = "another battery staple horse"


@pytest.fixture
def ana() -> User:
    return person("ana@example.com")


@pytest.fixture
def owner() -> User:
    return person("owner@example.com", is_staff=True, is_superuser=True)


def kinds() -> Counter[str]:
    """How many events of each kind there are."""
    return Counter(EventRow.objects.values_list("kind", flat=True))


def details(kind: str) -> list[dict[str, Any]]:
    """In no order."""
    return [orjson.loads(bytes(row.header))["details"] for row in EventRow.objects.filter(kind=kind)]


def set_up_app(client: Client) -> str:
    """The seed of the authenticator app that was switched on."""
    page = client.get(reverse("mfa_activate_totp"))
    secret: str = page.context["form"].secret
    with TestCase.captureOnCommitCallbacks(execute=True):
        answer = client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert answer.status_code == 302
    return secret


# Passwords


def test_she_signs_in_by_email_in_any_case_and_lands_where_she_wanted(ana: User, owner: User, client: Client) -> None:
    answer = enter(client, "ANA@example.com")
    assert (answer.status_code, answer["Location"]) == (302, "/me/")
    assert is_in(client)
    elsewhere = Client()
    door = elsewhere.get("/admin/governance/agent/", follow=True)
    assert door.redirect_chain[-1][0] == "/account/login/?next=/admin/governance/agent/"
    form = {"login": owner.email, "password": PASSWORD, "next": "/admin/governance/agent/"}
    assert elsewhere.post("/account/login/", form)["Location"] == "/admin/governance/agent/"


def test_a_way_back_to_another_site_is_not_taken(ana: User, client: Client) -> None:
    form = {"login": ana.email, "password": PASSWORD, "next": "https://evil.example/"}
    assert client.post("/account/login/", form)["Location"] == "/me/"


def test_nobody_signs_up_and_no_other_page_of_the_library_is_served(client: Client) -> None:
    for name in ("account_signup", "account_email", "account_request_login_code", "account_confirm_email"):
        with pytest.raises(NoReverseMatch):
            reverse(name)
    for path in ("signup/", "email/", "confirm-email/", "login/code/", "password/set/", "2fa/"):
        assert client.get(f"/account/{path}").status_code == 404


def test_a_stranger_and_a_wrong_password_look_the_same(ana: User, client: Client) -> None:
    def answer(email: str) -> str:
        page = enter(client, email, "wrong wrong wrong").content.decode()
        return re.sub(r'value="[^"]*"', "", page)

    assert answer(ana.email) == answer("nobody@example.com")


def test_somebody_switched_off_is_out_at_once_everywhere_and_stays_out(ana: User, client: Client) -> None:
    enter(client, ana.email)
    assert is_in(client)
    User.objects.filter(pk=ana.pk).update(is_active=False)
    assert not is_in(client)
    assert enter(client, ana.email).status_code == 200
    assert not is_in(client)


def test_a_session_of_before_does_not_come_back_with_the_person(owner: User, ana: User, client: Client) -> None:
    enter(client, ana.email)
    for switch in (False, True):
        ana.is_active = switch
        ana.save()
    assert not is_in(client)


def test_a_new_password_takes_the_old_one_and_ends_the_other_sessions(ana: User, client: Client) -> None:
    elsewhere = Client()
    enter(client, ana.email)
    enter(elsewhere, ana.email)
    page = reverse("account_change_password")
    assert client.post(page, {"oldpassword": "wrong", "password1": OTHER, "password2": OTHER}).status_code == 200
    assert client.post(page, {"oldpassword": PASSWORD, "password1": "short", "password2": "short"}).status_code == 200
    assert is_in(elsewhere)
    assert kinds()["person.password_changed"] == 0
    assert client.post(page, {"oldpassword": PASSWORD, "password1": OTHER, "password2": OTHER}).status_code == 302
    assert (is_in(client), is_in(elsewhere)) == (True, False)
    assert kinds()["person.password_changed"] == 1
    assert enter(Client(), ana.email, OTHER).status_code == 302


def test_a_forgotten_password_by_mail(ana: User, client: Client, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    elsewhere = Client()
    enter(elsewhere, ana.email)
    assert mail_password_reset(str(ana.pk))
    link = re.search(r"https?://[^/]+(/\S+)", mail.outbox[0].body)
    assert link
    page = client.get(link[1], follow=True)
    form = page.redirect_chain[-1][0]
    assert client.post(form, {"password1": OTHER, "password2": OTHER}).status_code == 302
    assert not is_in(elsewhere)
    assert not is_in(client), "a reset signs nobody in: a second factor would be passed by"
    assert b"does not work any more" in Client().get(link[1]).content
    assert enter(client, ana.email, OTHER).status_code == 302
    assert "person.password_reset" in kinds()


def test_asking_for_the_mail_tells_nobody_who_is_here(ana: User, client: Client, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    answers = [client.post(reverse("account_reset_password"), {"email": who}) for who in (ana.email, "x@example.com")]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {
        (302, "/account/password/forgotten/sent/")
    }
    assert not mail.outbox, "a worker sends it: the page takes equally long"


def test_without_a_mail_server_the_page_says_whom_to_ask(ana: User, client: Client) -> None:
    assert b"one-time link" in client.get(reverse("account_reset_password")).content
    assert b"one-time link" in client.post(reverse("account_reset_password"), {"email": ana.email}).content


def test_a_reset_link_names_our_own_address_and_ends_with_the_next_sign_in(ana: User, client: Client) -> None:
    link = reset_url(ana)
    assert link.startswith("http://127.0.0.1:8000/account/password/forgotten/")
    path = link.removeprefix("http://127.0.0.1:8000")
    assert Client().get(path).status_code == 302
    enter(client, ana.email)
    assert b"does not work any more" in Client().get(path).content


# Guessing


def test_guessing_locks_the_guesser_and_nobody_else(ana: User) -> None:
    guesser = Client(REMOTE_ADDR="203.0.113.7")
    for _ in range(5):
        enter(guesser, ana.email, "a guess, and a wrong one")
    locked = enter(guesser, ana.email).content
    assert b"Wait five minutes" in locked
    assert not is_in(guesser)
    assert enter(Client(REMOTE_ADDR="203.0.113.8"), ana.email).status_code == 302
    assert enter(guesser, person("lee@example.com").email).status_code == 302


def test_many_addresses_guessing_together_lock_the_password_but_not_the_link(ana: User, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = settings.ACCOUNT_RATE_LIMITS | {"login_failed_anywhere": "3/h/key"}
    for number in range(3):
        enter(Client(REMOTE_ADDR=f"203.0.113.{number}"), ana.email, "a guess, and a wrong one")
    there = Client(REMOTE_ADDR="198.51.100.1")
    assert b"Wait" in enter(there, ana.email).content
    there.post(one_time_login_url(User.objects.get(pk=ana.pk)).removeprefix("http://127.0.0.1:8000"))
    assert is_in(there)


def test_guesses_are_told_once_a_minute_with_their_number(ana: User) -> None:
    guesser = Client(REMOTE_ADDR="203.0.113.7")
    for _ in range(4):
        enter(guesser, ana.email, "a guess, and a wrong one")
    told = details("person.sign_in_failed")
    assert told == [{"address": "203.0.113.7", "how": "password", "attempts": 1}]
    for key in list(cache._cache):  # type: ignore[attr-defined]
        if ":told:" in key:
            cache.delete(key.split(":", 2)[2])
    enter(guesser, ana.email, "a guess, and a wrong one")
    assert sorted(each["attempts"] for each in details("person.sign_in_failed")) == [1, 4]
    for _ in range(50):
        enter(guesser, ana.email, "a guess, and a wrong one")
    assert len(details("person.sign_in_failed")) == 2
    assert len(details("person.sign_in_locked")) == 1


def test_what_was_typed_is_in_no_evidence(ana: User) -> None:
    enter(Client(), ana.email, "my-secret-typo")
    assert not any(b"my-secret-typo" in bytes(row.header) for row in EventRow.objects.all())


# Second factor


def test_an_authenticator_app_is_asked_for_from_then_on(ana: User, client: Client) -> None:
    enter(client, ana.email)
    secret = set_up_app(client)
    elsewhere = Client()
    assert enter(elsewhere, ana.email)["Location"] == reverse("mfa_authenticate")
    assert not is_in(elsewhere)
    assert elsewhere.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code == 200
    assert not is_in(elsewhere)
    cache.clear()
    elsewhere.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert is_in(elsewhere)
    assert sorted(each["how"] for each in details("person.signed_in")) == ["password", "password, authenticator app"]
    added = sorted(each["factor"] for each in details("person.second_factor_added"))
    assert added == ["authenticator app", "recovery codes"]
    assert [each["how"] for each in details("person.sign_in_failed")] == ["authenticator app"]


def test_a_code_works_once(ana: User, client: Client) -> None:
    enter(client, ana.email)
    secret = set_up_app(client)
    code = code_of(secret)
    first, second = Client(), Client()
    for each in (first, second):
        enter(each, ana.email)
        each.post(reverse("mfa_authenticate"), {"code": code})
    assert (is_in(first), is_in(second)) == (True, False)


def test_a_recovery_code_works_once_and_all_are_shown_once(ana: User, client: Client) -> None:
    enter(client, ana.email)
    set_up_app(client)
    codes = re.findall(r"<code>(\d{8})</code>", client.get(reverse("mfa_view_recovery_codes")).content.decode())
    assert len(codes) == 10
    assert codes[0].encode() not in client.get(reverse("mfa_view_recovery_codes")).content
    first, second = Client(), Client()
    for each in (first, second):
        enter(each, ana.email)
        each.post(reverse("mfa_authenticate"), {"code": codes[3]})
    assert (is_in(first), is_in(second)) == (True, False)


def test_no_seed_is_stored_in_the_clear(ana: User, client: Client) -> None:
    enter(client, ana.email)
    page = client.get(reverse("mfa_activate_totp"))
    secret = page.context["form"].secret
    waiting = Session.objects.get(session_key=client.session.session_key).get_decoded()
    assert secret not in str(waiting)
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    client.get(reverse("mfa_view_recovery_codes"))
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert all(
        row.data.get("secret", row.data.get("seed")).startswith(keyring().current_id)
        for row in Authenticator.objects.all()
    )


def test_a_new_key_encryption_key_keeps_the_app(ana: User, client: Client, settings: Any) -> None:
    enter(client, ana.email)
    secret = set_up_app(client)
    settings.KEK, settings.KEK_PREVIOUS = bytes(range(1, 33)), [settings.KEK]
    assert rewrap_vault(by="person:owner@example.com") >= 2
    settings.KEK_PREVIOUS = []
    cache.clear()
    elsewhere = Client()
    enter(elsewhere, ana.email)
    elsewhere.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert is_in(elsewhere)


def test_removing_the_app_asks_first_and_is_told(ana: User, client: Client) -> None:
    enter(client, ana.email)
    set_up_app(client)
    let_time_pass(client, TOO_LONG)
    assert is_asked_again(client.get(reverse("mfa_deactivate_totp")))
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert client.post(reverse("mfa_deactivate_totp")).status_code == 302
    assert not Authenticator.objects.exists()
    removed = sorted(each["factor"] for each in details("person.second_factor_removed"))
    assert removed == ["authenticator app", "recovery codes"]
    assert enter(Client(), ana.email)["Location"] == "/me/"


# Sessions


def test_she_sees_her_sessions_and_ends_them(ana: User, client: Client) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    phone, tablet = Client(REMOTE_ADDR="198.51.100.1", HTTP_USER_AGENT=firefox), Client(HTTP_USER_AGENT="<b>odd</b>")
    for each in (client, phone, tablet):
        enter(each, ana.email)
    page = client.get(reverse("usersessions_list")).content
    assert b"Firefox on Linux" in page
    assert b"&lt;b&gt;odd" in page
    phones = UserSession.objects.get(ip="198.51.100.1")
    assert client.post(reverse("end_session", args=[phones.pk])).status_code == 302
    assert (is_in(phone), is_in(tablet), is_in(client)) == (False, True, True)
    assert [each["ended_address"] for each in details("person.session_ended")] == ["198.51.100.1"]
    client.post(reverse("usersessions_list"))
    assert (is_in(tablet), is_in(client)) == (False, True)


def test_nobody_ends_the_session_of_another(ana: User, client: Client) -> None:
    mallory = Client()
    enter(client, ana.email)
    enter(mallory, person("mallory@example.com").email)
    hers = UserSession.objects.get(user=ana)
    assert mallory.post(reverse("end_session", args=[hers.pk])).status_code == 404
    assert is_in(client)


def test_signing_out_ends_the_session_for_good(ana: User, client: Client) -> None:
    enter(client, ana.email)
    stolen = client.cookies["sessionid"].value
    client.post(reverse("account_logout"))
    thief = Client()
    thief.cookies["sessionid"] = stolen
    assert not is_in(thief)
    assert kinds()["person.signed_out"] == 1


def test_who_adds_a_person_is_led_to_her_link(owner: User, client: Client) -> None:
    enter(client, owner.email)
    form = {"email": "new@example.com", "name": "New", "is_active": "on"}
    page = client.post(reverse("admin:governance_user_add"), form, follow=True).content.decode()
    assert f'href="{make_link_page(User.objects.get(email="new@example.com"))}">Make a link</a>' in page


# Signing in again before dangerous acts


def make_link_page(person: User) -> str:
    return reverse("make_one_time_login", args=[person.pk])


def test_a_dangerous_page_asks_again_after_a_quarter_of_an_hour(owner: User, ana: User, client: Client) -> None:
    enter(client, owner.email)
    assert client.get(make_link_page(ana)).status_code == 200
    let_time_pass(client, TOO_LONG)
    asked = client.get(make_link_page(ana))
    assert is_asked_again(asked)
    assert b"Is it still you?" in client.get(asked["Location"]).content
    wrong = client.post(asked["Location"], {"password": "wrong", "next": make_link_page(ana)})
    assert wrong.status_code == 200
    assert is_asked_again(client.get(make_link_page(ana)))
    right = client.post(asked["Location"], {"password": PASSWORD, "next": make_link_page(ana)})
    assert right["Location"] == make_link_page(ana)
    assert client.get(make_link_page(ana)).status_code == 200


def test_a_late_post_does_nothing_and_keeps_nothing(owner: User, ana: User, client: Client) -> None:
    enter(client, owner.email)
    let_time_pass(client, TOO_LONG)
    page = make_link_page(ana)
    asked = client.post(page, {"value": "a-secret-value"}, headers={"referer": f"http://testserver{page}?tab=1"})
    assert is_asked_again(asked)
    assert asked["Location"].endswith("tab%3D1")
    assert "person.one_time_login_made" not in kinds()
    assert "a-secret-value" not in str([row.get_decoded() for row in Session.objects.all()])


def test_an_authenticator_app_is_enough_to_prove_it_again(owner: User, ana: User, client: Client) -> None:
    enter(client, owner.email)
    secret = set_up_app(client)
    cache.clear()
    let_time_pass(client, TOO_LONG)
    form = {"code": code_of(secret), "next": make_link_page(ana)}
    assert client.post(reverse("mfa_reauthenticate"), form)["Location"] == make_link_page(ana)
    assert client.get(make_link_page(ana)).status_code == 200


def test_a_one_time_link_is_fresh_and_when_old_a_new_one_is_needed(client: Client) -> None:
    owner = User.objects.create_superuser("owner@example.com")
    answer = client.post(one_time_login_url(owner).removeprefix("http://127.0.0.1:8000"))
    assert answer["Location"] == reverse("account_set_password")
    assert client.get(make_link_page(owner)).status_code == 200
    let_time_pass(client, TOO_LONG)
    assert client.get(make_link_page(owner))["Location"] == reverse("account_link_too_old")
    assert client.get(reverse("account_set_password"))["Location"] == reverse("account_link_too_old")
    old = client.post(reverse("account_set_password"), {"password1": OTHER, "password2": OTHER})
    assert old["Location"] == reverse("account_link_too_old")
    assert not User.objects.get().has_usable_password()


def test_only_an_owners_form_of_a_person_can_raise_rights_so_only_it_asks_again(owner: User, ana: User) -> None:
    ira = person("ira@example.com", is_staff=True, duties=["it-admin"])
    page = reverse("admin:governance_user_change", args=[ana.pk])
    asked = {}
    for each in (owner, ira):
        client = Client()
        enter(client, each.email)
        let_time_pass(client, TOO_LONG)
        answer = client.post(page, {"name": "Ana Lima", "is_superuser": "on", "is_staff": "on"})
        asked[each.email] = is_asked_again(answer)
    assert asked == {owner.email: True, ira.email: False}
    assert not User.objects.get(pk=ana.pk).is_superuser


# Links for others


def test_a_link_is_made_only_for_who_may_do_no_more_than_its_maker(owner: User, ana: User, client: Client) -> None:
    ira = person("ira@example.com", is_staff=True, duties=["it-admin"])
    sam = person("sam@example.com", is_staff=True, duties=["security"])
    both = person("both@example.com", is_staff=True, duties=["security", "it-admin"])
    enter(client, ira.email)
    answers = {each.email: client.post(make_link_page(each)).status_code for each in (owner, ana, sam, both, ira)}
    assert answers == {owner.email: 403, ana.email: 200, sam.email: 403, both.email: 403, ira.email: 200}
    client.post(reverse("account_logout"))
    enter(client, sam.email)
    assert client.post(make_link_page(ana)).status_code == 403


def test_pages_of_the_account_load_only_our_own_files_and_show_no_secret(ana: User, client: Client) -> None:
    enter(client, ana.email)
    page = client.get(reverse("mfa_add_webauthn"))
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    scripts = re.findall(r"<script(?![^>]*(?:src=\"/static/|type=\"application/json\"))[^>]*>", page.content.decode())
    assert not scripts
    assert "style=" not in page.content.decode()
    for name in ("account_change_password", "mfa_index", "usersessions_list"):
        assert client.get(reverse(name)).status_code == 200
    assert Session.objects.get().session_key.encode() not in client.get(reverse("usersessions_list")).content
