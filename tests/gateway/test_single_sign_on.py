"""Signing in by OpenID Connect: who gets in, whom forged and half-true answers keep out, and for how long one is in."""

import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from allauth.usersessions.models import UserSession
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from joserfc.jwk import RSAKey

from audit.models import EventRow
from gateway import actions, departures
from gateway.console.single_sign_on import provider
from governance.models import Agent, AgentCredential, GroupMapping, Offboarding, StaffIdentity, User
from tests.gateway.forging_issuer import CLIENT, SECRET, ForgingIssuer, come, issuer, running
from tests.gateway.signing_in import TOO_LONG, enter, is_asked_again, is_in, let_time_pass, person

__all__ = ("issuer", "running")

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

AGAIN = "/account/again/by-single-sign-on/"
RECHECK = "/account/single-sign-on/recheck/"


@pytest.fixture
def ana() -> User:
    return person("ana@example.com", is_staff=True)


def kinds() -> Counter[str]:
    return Counter(EventRow.objects.values_list("kind", flat=True))


def ways(kind: str) -> list[str]:
    return [orjson.loads(bytes(row.header))["details"]["how"] for row in EventRow.objects.filter(kind=kind)]


def let_recheck_be_due(client: Client, *, seconds: float = 0) -> None:
    session = client.session
    session["single_sign_on"] = session["single_sign_on"] | {"checked_at": time.time() - 601 - seconds}
    session.save()


# Who gets in


def test_she_signs_in_with_one_click_and_lands_where_she_wanted(
    issuer: ForgingIssuer, ana: User, client: Client
) -> None:
    door = client.get("/admin/governance/agent/", follow=True)
    assert b"Sign in with single sign-on" in door.content
    start = "/account/single-sign-on/start/?next=/admin/governance/agent/"
    assert start.replace("/admin/", "/admin/").encode() in door.content.replace(b"%2F", b"/")
    answer = come(client, issuer, by=start)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/governance/agent/")
    assert is_in(client)
    assert ways("person.signed_in") == ["single sign-on"]
    assert kinds()["identity.linked"] == 1
    assert UserSession.objects.filter(user=ana).count() == 1
    assert StaffIdentity.objects.get().last_used_at is not None


def test_the_next_time_her_subject_is_enough(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    come(client, issuer)
    issuer.userinfo = {"sub": "a-1"}
    again = Client()
    come(again, issuer)
    assert is_in(again)
    assert kinds()["identity.linked"] == 1


@pytest.mark.parametrize("way_back", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_a_way_back_to_another_site_is_not_taken(
    issuer: ForgingIssuer, ana: User, client: Client, way_back: str
) -> None:
    answer = come(client, issuer, by=f"/account/single-sign-on/start/?next={way_back}")
    assert answer["Location"] == "/admin/"


def test_an_elliptic_key_will_do_and_a_list_of_audiences(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    issuer.algorithm, issuer.claims = "ES256", {"aud": [CLIENT, "another"], "azp": CLIENT, "at_hash": None}
    come(client, issuer)
    assert is_in(client)


def test_a_new_key_is_fetched_once(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    issuer.published = ["ES256"]
    for _ in range(3):
        come(client, issuer)
    assert not is_in(client)
    assert issuer.asked.count("/keys") == 1, "an unknown key is no reason to ask again and again"
    issuer.published = ["RS256", "ES256"]
    provider.forget()
    come(client, issuer)
    assert is_in(client)


def test_a_key_that_takes_the_place_of_another_counts_without_a_restart_and_the_other_no_more(
    issuer: ForgingIssuer, ana: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.published = ["RS256"]
    come(client, issuer)
    assert is_in(client)
    issuer.published, issuer.algorithm = ["ES256"], "ES256"
    let_time_pass_for_keys(monkeypatch, provider.UNKNOWN_KEY_SECONDS + 1)
    by_the_new_one = Client()
    come(by_the_new_one, issuer)
    assert is_in(by_the_new_one)
    issuer.algorithm = "RS256"
    by_the_old_one = Client()
    come(by_the_old_one, issuer)
    assert not is_in(by_the_old_one)


def let_time_pass_for_keys(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monotonic = time.monotonic
    monkeypatch.setattr(provider, "time", SimpleNamespace(monotonic=lambda: monotonic() + seconds))


def test_it_is_not_there_until_it_is_configured(client: Client, ana: User) -> None:
    assert client.get("/account/single-sign-on/start/").status_code == 404
    assert b"single sign-on" not in client.get("/account/login/").content
    client.force_login(ana)
    assert client.get("/account/single-sign-on/").status_code == 404


# Whom a wrong answer keeps out

FORGED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "another"},
    "no audience": {"aud": None},
    "several audiences and no azp": {"aud": [CLIENT, "another"]},
    "another azp": {"azp": "another"},
    "no exp": {"exp": None},
    "expired": {"exp": int(time.time()) - 3600},
    "exp as text": {"exp": "9999999999"},
    "exp as truth": {"exp": True},
    "no iat": {"iat": None},
    "of yesterday": {"iat": int(time.time()) - 24 * 3600},
    "of tomorrow": {"iat": int(time.time()) + 24 * 3600},
    "another nonce": {"nonce": "of another sign-in"},
    "no nonce": {"nonce": None},
    "another access token's": {"at_hash": "x" * 22},
    "no subject": {"sub": None},
    "an endless subject": {"sub": "a" * 256},
    "a subject that is no text": {"sub": 1},
    "a foreign issuer that begins like ours": {"iss": "http://127.0.0.1.evil.example"},
    "several audiences and another azp": {"aud": [CLIENT, "another"], "azp": "another"},
    "an at_hash of nothing": {"at_hash": ""},
    "a nonce that is no text": {"nonce": ["x"]},
    "groups that are no list": {"groups": {"it": True}},
    "groups elsewhere": {"_claim_names": {"groups": "src1"}},
    "too many groups": {"groups": [f"group-{n}" for n in range(1001)]},
}


@pytest.mark.parametrize("claims", FORGED.values(), ids=FORGED.keys())
def test_forged_claims_let_nobody_in(issuer: ForgingIssuer, ana: User, client: Client, claims: dict[str, Any]) -> None:
    issuer.claims = claims
    answer = come(client, issuer)
    assert (answer.status_code, is_in(client)) == (403, False)
    assert not StaffIdentity.objects.exists()
    assert ways("person.sign_in_failed")[0].startswith("single sign-on: ")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_what_is_signed_by_nobody_or_by_our_own_secret_is_refused(
    issuer: ForgingIssuer, ana: User, client: Client, algorithm: str
) -> None:
    issuer.algorithm = algorithm
    come(client, issuer)
    assert not is_in(client)
    assert ways("person.sign_in_failed") == ["single sign-on: alg"]


def test_the_published_key_is_no_shared_secret(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    """Who takes HS256 for RS256 lets in whoever can read the provider's public key."""
    key = issuer.keys["RS256"]
    for public in (key.as_pem(private=False), orjson.dumps(key.as_dict(private=False))):
        issuer.algorithm, issuer.shared_secret = "HS256", public
        come(client, issuer)
        assert not is_in(client)
    assert set(ways("person.sign_in_failed")) == {"single sign-on: alg"}


def test_a_key_in_the_token_itself_proves_nothing(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    stranger = RSAKey.generate_key(2048)
    for header in ({"jwk": stranger.as_dict(private=False)}, {"jku": f"{issuer.url}/keys"}, {"kid": None}):
        issuer.signs_with, issuer.headers = stranger, header
        come(client, issuer)
        assert not is_in(client)


def test_another_key_under_a_known_name_is_refused(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    issuer.signs_with = issuer.foreign_key
    come(client, issuer)
    assert not is_in(client)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30.", "é.b.c", "x" * 40_000])
def test_what_is_no_token_is_refused(issuer: ForgingIssuer, ana: User, client: Client, token: str) -> None:
    issuer.token = token or "nothing"
    assert come(client, issuer).status_code == 403


def test_userinfo_about_somebody_else_is_refused(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    issuer.userinfo["sub"] = "b-2"
    come(client, issuer)
    assert not is_in(client)
    assert ways("person.sign_in_failed") == ["single sign-on: userinfo_sub"]


@pytest.mark.parametrize("verified", [False, None, "false", 1, "yes"])
def test_an_address_that_is_not_verified_binds_nobody(
    issuer: ForgingIssuer, ana: User, client: Client, verified: Any
) -> None:
    issuer.userinfo["email_verified"] = verified
    come(client, issuer)
    assert not is_in(client)


def test_silence_about_the_address_can_be_trusted_but_a_no_cannot(
    issuer: ForgingIssuer, ana: User, client: Client, settings: Any
) -> None:
    settings.OIDC_TRUST_EMAIL = True
    issuer.userinfo["email_verified"] = False
    come(client, issuer)
    assert not is_in(client)
    issuer.userinfo["email_verified"] = None
    come(client, issuer)
    assert is_in(client)


def test_nobody_is_created(issuer: ForgingIssuer, client: Client) -> None:
    assert b"Ask IT to add you" in come(client, issuer).content
    assert not User.objects.exists()


def test_her_account_stays_hers_whatever_address_it_has_by_now(
    issuer: ForgingIssuer, ana: User, client: Client
) -> None:
    """A subject is never somebody else: not by an address that is another person's, and not after it was ended."""
    lee = person("lee@example.com", is_staff=True, duties=["it-admin"])
    come(client, issuer)
    issuer.userinfo["email"] = lee.email
    again = Client()
    come(again, issuer)
    assert again.get("/me/").context["user"] == ana
    StaffIdentity.objects.update(ended_at=timezone.now(), ended_by="test")
    as_lee = Client()
    assert come(as_lee, issuer).status_code == 403
    assert not is_in(as_lee)
    assert ways("person.sign_in_failed") == ["single sign-on: identity_ended"]


def test_an_owner_is_not_bound_by_an_address(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    come(client, issuer)
    assert not is_in(client)


def test_an_answer_works_once_and_in_its_own_browser(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    state = issuer.authorize(client.get("/account/single-sign-on/start/")["Location"])
    answer = {"code": "the-code", "state": state}
    other = Client()
    assert other.get("/account/single-sign-on/callback/", answer).status_code == 403
    assert client.get("/account/single-sign-on/callback/", answer).status_code == 302
    assert client.get("/account/single-sign-on/callback/", answer).status_code == 403
    assert not is_in(other)


def test_an_answer_that_names_another_provider_is_refused(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    assert come(client, issuer, iss="https://evil.example").status_code == 403
    issuer.discovery = {"authorization_response_iss_parameter_supported": True}
    provider.forget()
    assert come(client, issuer).status_code == 403, "it always names itself, and here it does not"
    assert not is_in(client)
    come(client, issuer, iss=issuer.url)
    assert is_in(client)


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data"},
    ],
)
def test_a_description_that_leads_elsewhere_is_refused(
    issuer: ForgingIssuer, ana: User, client: Client, discovery: dict[str, Any]
) -> None:
    issuer.discovery = discovery
    answer = client.get("/account/single-sign-on/start/")
    if answer.status_code == 302:
        answer = come(client, issuer)
    assert answer.status_code in (403, 503)
    assert not is_in(client)


def test_a_provider_that_is_away_is_told_of_and_password_still_works(
    issuer: ForgingIssuer, ana: User, client: Client, settings: Any
) -> None:
    settings.OIDC_ISSUER = "http://127.0.0.1:1"
    assert b"cannot be asked" in client.get("/account/single-sign-on/start/").content
    enter(client, ana.email)
    assert is_in(client)


def test_the_secret_is_in_no_page_and_in_no_evidence(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    issuer.token = "nothing"
    answer = come(client, issuer)
    told = b"".join(bytes(row.header) for row in EventRow.objects.all())
    for text in (answer.content, told):
        assert SECRET.encode() not in text
        assert b"the-code" not in text


# How long she is in


def test_somebody_switched_off_is_out_with_her_next_request(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    come(client, issuer)
    assert is_in(client)
    User.objects.filter(pk=ana.pk).update(is_active=False)
    assert not is_in(client)
    assert come(client, issuer).status_code == 403


def test_the_provider_is_asked_again_without_a_word_to_her(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    come(client, issuer)
    let_recheck_be_due(client)
    away = client.get("/me/?page=2")
    assert away["Location"] == f"{RECHECK}?next=%2Fme%2F%3Fpage%3D2"
    back = come(client, issuer, by=away["Location"])
    assert issuer.parameters["prompt"] == "none"
    assert back["Location"] == "/me/?page=2"
    assert is_in(client)
    assert kinds()["person.signed_in"] == 1


def test_who_is_gone_at_the_provider_is_out_here(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    come(client, issuer)
    let_recheck_be_due(client)
    state = issuer.authorize(client.get(client.get("/me/")["Location"])["Location"])
    answer = client.get("/account/single-sign-on/callback/", {"error": "login_required", "state": state})
    assert b"not signed in at your identity provider" in answer.content
    assert client.get("/me/")["Location"].startswith("/account/login/")


def test_somebody_else_at_the_provider_ends_the_session(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    person("lee@example.com")
    come(client, issuer)
    let_recheck_be_due(client)
    issuer.claims["sub"] = issuer.userinfo["sub"] = "l-1"
    issuer.userinfo["email"] = "lee@example.com"
    come(client, issuer, by=RECHECK)
    assert not is_in(client)


def test_a_provider_that_is_away_when_asked_again_ends_the_session(
    issuer: ForgingIssuer, ana: User, client: Client
) -> None:
    come(client, issuer)
    let_recheck_be_due(client)
    issuer.token = "nothing"
    come(client, issuer, by=RECHECK)
    assert not is_in(client)


def test_a_form_is_neither_lost_nor_let_through_for_ever(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    come(client, issuer)
    let_recheck_be_due(client)
    assert client.post("/me/tokens/", {}).status_code != 403
    let_recheck_be_due(client, seconds=301)
    answer = client.post("/me/tokens/", {})
    assert answer.status_code == 403
    assert RECHECK.encode() in answer.content
    script = client.get("/me/", headers={"Sec-Fetch-Dest": "empty"})
    assert script.status_code == 403


def test_her_session_ends_when_single_sign_on_is_switched_off(
    issuer: ForgingIssuer, ana: User, client: Client, settings: Any
) -> None:
    come(client, issuer)
    settings.OIDC_ISSUER = ""
    assert not is_in(client)


def test_dangerous_acts_are_proven_at_the_provider(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    User.objects.filter(pk=ana.pk).update(duties=["it-admin"])
    lee = person("lee@example.com")
    page = reverse("make_one_time_login", args=[lee.pk])
    come(client, issuer)
    assert client.get(page).status_code == 200
    let_time_pass(client, TOO_LONG)
    away = client.get(page)
    assert is_asked_again(away)
    assert away["Location"].startswith(AGAIN)
    issuer.claims = {"auth_time": int(time.time()) - 120}
    assert come(client, issuer, by=AGAIN).status_code == 403, "it did not ask her again"
    issuer.claims = {"auth_time": None}
    assert come(client, issuer, by=AGAIN).status_code == 403
    issuer.claims = {}
    come(client, issuer, by=away["Location"])
    assert (issuer.parameters["prompt"], issuer.parameters["max_age"]) == ("login", "60")
    assert client.get(page).status_code == 200


def test_an_old_session_at_the_provider_is_no_fresh_sign_in(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    User.objects.filter(pk=ana.pk).update(duties=["it-admin"])
    page = reverse("make_one_time_login", args=[person("lee@example.com").pk])
    issuer.claims = {"auth_time": int(time.time()) - TOO_LONG}
    come(client, issuer)
    assert is_asked_again(client.get(page))


def test_signing_out_leads_on_to_the_provider(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    come(client, issuer)
    page = client.post("/account/logout/").content.decode().replace("&amp;", "&")
    assert f"{issuer.url}/end?client_id=gatehouse+of+the+tests" in page
    assert "id_token_hint=" in page
    assert not is_in(client)
    enter(client, ana.email)
    assert client.post("/account/logout/").status_code == 302


# Groups


def mapping(group: str, **values: Any) -> GroupMapping:
    return GroupMapping.objects.create(group_name=group, approved_at=timezone.now(), **values)


def test_groups_open_the_admin_and_losing_them_closes_it_everywhere(issuer: ForgingIssuer, client: Client) -> None:
    lee = person("lee@example.com")
    mapping("IT", duties=["it-admin"], admin_access=True)
    issuer.claims["sub"] = issuer.userinfo["sub"] = "l-1"
    issuer.userinfo |= {"email": lee.email, "groups": ["IT", "everybody"]}
    elsewhere = Client()
    for browser in (client, elsewhere):
        come(browser, issuer)
        assert browser.get("/admin/").status_code == 200
    issuer.userinfo["groups"] = ["everybody"]
    let_recheck_be_due(client)
    come(client, issuer, by=RECHECK)
    assert [is_in(client), is_in(elsewhere)] == [False, False]
    come(client, issuer)
    assert is_in(client)
    assert client.get("/admin/").status_code == 302
    assert User.objects.get(pk=lee.pk).duties == []


def came_by_groups(client: Client, issuer: ForgingIssuer, who: User) -> None:
    """She is signed in, in one mapped group; then the provider knows of none."""
    mapping("IT")
    issuer.claims["sub"] = issuer.userinfo["sub"] = f"s-{who.pk}"
    issuer.userinfo |= {"email": who.email, "groups": ["IT", "everybody"]}
    come(client, issuer)
    assert is_in(client)
    issuer.userinfo["groups"] = ["everybody"]


def test_losing_the_last_group_ends_a_person_where_it_is_set_so(
    issuer: ForgingIssuer, ana: User, client: Client, settings: Any
) -> None:
    settings.SINGLE_SIGN_ON_ENDS_WITHOUT_GROUPS = True
    came_by_groups(client, issuer, ana)
    agent = Agent.objects.create(name="bot", owner=ana)
    key = actions.issue_key(agent, by="command:test", expires_in=None)
    let_recheck_be_due(client)
    come(client, issuer, by=RECHECK)
    assert not is_in(client)
    ended = Offboarding.objects.get()
    assert (ended.person, ended.created_by, ended.state) == (ana, "system:single sign-on", "enforcing")
    assert not User.objects.get(pk=ana.pk).is_active
    assert AgentCredential.objects.get(id=key.credential.id).revoked_at is not None
    come(client, issuer)
    assert not is_in(client)
    assert Offboarding.objects.count() == 1


def test_it_ends_nobody_unless_it_is_set_so(issuer: ForgingIssuer, ana: User, client: Client) -> None:
    came_by_groups(client, issuer, ana)
    come(Client(), issuer)
    assert User.objects.get(pk=ana.pk).is_active
    assert not Offboarding.objects.exists()


def test_who_cannot_be_ended_by_her_groups_is_not_let_in_either(
    issuer: ForgingIssuer, ana: User, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that forgets everybody's groups ends a few people, not the organisation."""
    settings.SINGLE_SIGN_ON_ENDS_WITHOUT_GROUPS = True
    monkeypatch.setattr(departures, "FEWEST_AT_ONCE", 0)
    came_by_groups(client, issuer, ana)
    for _ in range(2):
        again = Client()
        come(again, issuer)
        assert [is_in(client), is_in(again)] == [False, False]
    assert User.objects.get(pk=ana.pk).is_active
    assert kinds()["offboarding.failed"] == 2
    monkeypatch.undo()
    come(again, issuer)
    assert not User.objects.get(pk=ana.pk).is_active, "what it was is still known"


# Connecting by one's own word


def connect(client: Client, issuer: ForgingIssuer) -> Any:
    begun = client.post("/account/single-sign-on/connect/oidc/")
    assert begun.status_code == 200, begun
    return come(client, issuer, by="/account/single-sign-on/connect/oidc/go/")


def test_an_owner_connects_herself(issuer: ForgingIssuer, client: Client) -> None:
    owner = person("owner@example.com", is_staff=True, is_superuser=True)
    enter(client, owner.email)
    assert b"Connect single sign-on" in client.get("/account/single-sign-on/").content
    assert connect(client, issuer)["Location"] == "/account/single-sign-on/"
    assert issuer.parameters["prompt"] == "login"
    other = Client()
    come(other, issuer)
    assert other.get("/admin/").status_code == 200


def test_connecting_begins_on_our_page_only_and_with_a_fresh_sign_in(issuer: ForgingIssuer, client: Client) -> None:
    owner = person("owner@example.com", is_staff=True, is_superuser=True)
    enter(client, owner.email)
    assert client.get("/account/single-sign-on/connect/oidc/go/")["Location"] == "/account/single-sign-on/"
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post("/account/single-sign-on/connect/oidc/").status_code == 403
    let_time_pass(client, TOO_LONG)
    assert is_asked_again(client.post("/account/single-sign-on/connect/oidc/"))
    assert not StaffIdentity.objects.exists()


def test_nothing_is_connected_by_a_session_that_was_ended_meanwhile(issuer: ForgingIssuer, client: Client) -> None:
    owner = person("owner@example.com", is_staff=True, is_superuser=True)
    enter(client, owner.email)
    client.post("/account/single-sign-on/connect/oidc/")
    away = client.get("/account/single-sign-on/connect/oidc/go/")
    UserSession.objects.get(user=owner).end()
    state = issuer.authorize(away["Location"])
    client.get("/account/single-sign-on/callback/", {"code": "the-code", "state": state})
    assert not StaffIdentity.objects.exists()
