"""Issuers that say that access is over: pushed, fetched, by Universal Logout. Each is in force when it is answered."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client

from audit.models import EventRow
from gateway.departures import FEWEST_AT_ONCE
from gateway.security_events.polling import poll_all
from gateway.security_events.reading import CAEP, RISC, Subject, subjects_of
from governance import oauth_clients
from governance.authorizations import let_in
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    Authorization,
    Directory,
    DirectoryUser,
    Offboarding,
    Secret,
    StaffIdentity,
    TrustedIssuer,
    User,
)
from governance.vault import put_secret_value
from tests.gateway.statements import HERE, OURS, FakeIssuer, as_set, claims_of, new_key, serving, signed

pytestmark = [pytest.mark.django_db, pytest.mark.database]
IDP = "https://idp.example.com"
KEY = new_key("one")
ANA = {"format": "iss_sub", "iss": IDP, "sub": "00u1"}
REVOKED = f"{CAEP}session-revoked"
DISABLED = f"{RISC}account-disabled"


@pytest.fixture(autouse=True)
def okta(settings: Any) -> TrustedIssuer:
    settings.PUBLIC_URL = OURS
    settings.UPSTREAM_ALLOWED_NETWORKS = [ip_network(HERE)]
    return TrustedIssuer.objects.create(
        name="okta", kind="directory", issuer=IDP, jwks=as_set(KEY), ends_access=True, longest_seconds=600
    )


@pytest.fixture
def ana() -> User:
    User.objects.create_superuser("owner@example.com")
    person = User.objects.create_user("ana@example.com")
    StaffIdentity.objects.create(person=person, protocol="oidc", issuer=IDP, subject="00u1", created_by="test")
    return person


@pytest.fixture
def browser(ana: User) -> Client:
    """She is signed in."""
    client = Client()
    client.force_login(ana)
    key = client.session.session_key
    UserSession.objects.get_or_create(user=ana, session_key=key, defaults={"ip": "192.0.2.1", "user_agent": "Firefox"})
    return client


def is_in(browser: Client) -> bool:
    return browser.get("/me/").status_code == 200


def event(kind: str = REVOKED, body: Any = None, *, key: Any = KEY, typ: str = "secevent+jwt", **said: Any) -> str:
    usual = {"events": {kind: {} if body is None else body}, "sub_id": ANA, "sub": None, "exp": None}
    return signed(claims_of(IDP, **{**usual, **said}), key, typ=typ)


def pushed(text: str, *, kind: str = "application/secevent+jwt") -> Any:
    return Client().post("/ssf/events", text, content_type=kind)


def told() -> list[str]:
    return [row.kind for row in EventRow.objects.filter(kind__startswith="security_event")]


def test_a_revoked_session_is_over_when_it_is_answered(browser: Client) -> None:
    assert is_in(browser)
    assert pushed(event()).status_code == 202
    assert not is_in(browser)
    assert (Session.objects.count(), told()) == (0, ["security_event.received"])


@pytest.mark.parametrize("kind", [DISABLED, f"{RISC}account-purged"])
def test_who_is_disabled_there_is_offboarded_here_once(browser: Client, ana: User, kind: str) -> None:
    Agent.objects.create(name="triage-bot", owner=ana)
    assert [pushed(event(kind)).status_code, pushed(event(kind)).status_code] == [202, 202]
    ana.refresh_from_db()
    ended = Offboarding.objects.get()
    assert (ana.is_active, ended.created_by, Agent.objects.get().status) == (False, "issuer:okta", "suspended")
    assert not is_in(browser)


@pytest.mark.parametrize(
    ("kind", "body", "is_over"),
    [
        (f"{CAEP}credential-change", {"credential_type": "password", "change_type": "update"}, True),
        (f"{CAEP}credential-change", {"credential_type": "fido2-roaming", "change_type": "create"}, False),
        (f"{RISC}credential-compromise", {}, True),
        (f"{RISC}sessions-revoked", {}, True),
        (f"{CAEP}device-compliance-change", {"current_status": "not-compliant"}, False),
        ("https://schemas.openid.net/secevent/ssf/event-type/verification", {"state": "x"}, False),
        ("https://example.com/unheard-of", {}, False),
    ],
)
def test_what_an_event_does(browser: Client, kind: str, body: dict[str, Any], is_over: bool) -> None:
    assert pushed(event(kind, body)).status_code == 202
    assert is_in(browser) is not is_over
    assert told() == ["security_event.received"]


def test_one_that_comes_again_does_nothing_and_is_well_received(browser: Client, ana: User) -> None:
    text = event()
    pushed(text)
    again = Client()
    again.force_login(ana)
    assert pushed(text).status_code == 202
    assert is_in(again)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"iss": "https://evil.example.com"}, "invalid_issuer"),
        ({"aud": "https://other.example.com"}, "invalid_audience"),
        ({"key": new_key("one")}, "invalid_key"),
        ({"typ": "JWT"}, "invalid_request"),
        ({"exp": 9_999_999_999}, "invalid_request"),
        ({"jti": None}, "invalid_request"),
        ({"iat": int((datetime.now(UTC) - timedelta(days=8)).timestamp())}, "invalid_request"),
        ({"events": {}}, "invalid_request"),
        ({"events": []}, "invalid_request"),
        ({"events": {REVOKED: []}}, "invalid_request"),
        ({"events": {f"{REVOKED}{n}": {} for n in range(11)}}, "invalid_request"),
        ({"sub_id": None}, "invalid_request"),
        ({"sub_id": {"format": "phone_number", "phone_number": "+1"}}, "invalid_request"),
        ({"sub_id": "ana@example.com"}, "invalid_request"),
    ],
)
def test_what_is_no_event_of_a_trusted_issuer_ends_nothing(browser: Client, said: dict[str, Any], error: str) -> None:
    answer = pushed(event(**said))
    assert (answer.status_code, answer.json()["err"]) == (400, error)
    assert is_in(browser)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é", "x" * 20_000])
def test_what_is_no_token_is_refused_in_order(text: str) -> None:
    assert pushed(text).status_code == 400


def test_it_comes_as_what_it_is(browser: Client) -> None:
    assert pushed(event(), kind="application/json").status_code == 400
    assert is_in(browser)


@pytest.mark.parametrize("change", [{"ends_access": False}, {"is_enabled": False}])
def test_an_issuer_that_may_not_end_access_does_not(browser: Client, change: dict[str, Any]) -> None:
    TrustedIssuer.objects.update(**change)
    assert pushed(event()).status_code == 400
    assert is_in(browser)


@pytest.mark.parametrize(
    "subject",
    [
        {"format": "email", "email": "ANA@example.com"},
        {"format": "account", "uri": "acct:ana@example.com"},
        {"format": "opaque", "id": "00u1"},
        {"format": "complex", "user": ANA, "session": {"format": "opaque", "id": "s1"}},
        {"user": {"format": "email", "email": "ana@example.com"}},
        {"format": "aliases", "identifiers": [ANA, {"format": "email", "email": "ana@example.com"}]},
        {"subject_type": "iss-sub", "iss": IDP, "sub": "00u1"},
    ],
)
def test_each_way_to_name_her(browser: Client, subject: dict[str, Any]) -> None:
    assert pushed(event(sub_id=None, body={"subject": subject})).status_code == 202
    assert not is_in(browser)


@pytest.mark.parametrize(
    "subject",
    [
        {"format": "email", "email": "owner@example.com"},
        {"format": "email", "email": "nobody@example.com"},
        {"format": "iss_sub", "iss": "https://other.example.com", "sub": "00u1"},
        {"format": "opaque", "id": "ana@example.com"},
        {"format": "aliases", "identifiers": [ANA, {"format": "opaque", "id": "00u2"}]},
    ],
)
def test_an_issuer_ends_only_those_whom_it_knows(browser: Client, ana: User, subject: dict[str, Any]) -> None:
    """The owner never signed in by it; and two names that lead to two people lead to nobody."""
    other = User.objects.create_user("bo@example.com")
    StaffIdentity.objects.create(person=other, protocol="oidc", issuer=IDP, subject="00u2", created_by="test")
    assert pushed(event(DISABLED, sub_id=subject)).status_code == 202
    assert (is_in(browser), Offboarding.objects.count()) == (True, 0)


def test_aliases_of_aliases_have_an_end() -> None:
    nested: dict[str, Any] = ANA
    for _ in range(50):
        nested = {"format": "aliases", "identifiers": [nested] * 10}
    assert list(subjects_of(nested)) == []
    assert list(subjects_of({"user": {"user": ANA}})) == []
    assert list(subjects_of({"user": {"format": "email", "email": "a@b.c"}})) == [Subject(email="a@b.c")]


def test_the_last_owner_stays_but_not_her_sessions(browser: Client, ana: User) -> None:
    User.objects.filter(email="owner@example.com").update(is_superuser=False)
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    assert pushed(event(DISABLED)).status_code == 202
    ana.refresh_from_db()
    assert (ana.is_active, is_in(browser)) == (True, False)


def test_a_stream_of_events_ends_no_whole_organisation(okta: TrustedIssuer, ana: User) -> None:
    for number in range(FEWEST_AT_ONCE + 2):
        person = User.objects.create_user(f"p{number}@example.com")
        StaffIdentity.objects.create(
            person=person, protocol="oidc", issuer=IDP, subject=f"p{number}", created_by="test"
        )
    texts = [event(DISABLED, sub_id={**ANA, "sub": f"p{number}"}) for number in range(FEWEST_AT_ONCE + 2)]
    answers = [pushed(text) for text in texts]
    assert [answer.status_code for answer in answers] == [202] * FEWEST_AT_ONCE + [503] * 2
    assert answers[-1].headers["Retry-After"]
    assert User.objects.filter(is_active=False).count() == FEWEST_AT_ONCE
    assert EventRow.objects.filter(kind="security_events.braked").exists()
    Offboarding.objects.update(created_at=datetime.now(UTC) - timedelta(minutes=11))
    assert pushed(texts[-1]).status_code == 202


# Universal Logout


def logged_out(subject: Any = ANA, *, typ: str = "global-token-revocation+jwt", body: Any = None, **said: Any) -> Any:
    usual = {"aud": f"{OURS}/oauth/global-token-revocation"}
    token = signed(claims_of(IDP, **{**usual, **said}), KEY, typ=typ)
    raw = json.dumps({"sub_id": subject}) if body is None else body
    headers = {"Authorization": f"Bearer {token}"}
    return Client().post("/oauth/global-token-revocation", raw, content_type="application/json", headers=headers)


def test_universal_logout_ends_sessions_and_every_clients_tokens(browser: Client, ana: User) -> None:
    now = datetime.now(UTC)
    acting: dict[str, Any] = {"by": "test", "record": [].append, "now": now}
    client = oauth_clients.register(name="Chat", redirect_uris=["https://c.example/cb"], **acting).client
    with governed_change(by="test"):
        let_in(client, ana, resource=f"{OURS}/mcp", oauth_scopes=["bundle:support"], **acting)
    assert logged_out().status_code == 204
    assert (is_in(browser), Authorization.objects.get().revoked_by) == (False, "issuer:okta")
    ana.refresh_from_db()
    assert ana.is_active


def test_universal_logout_of_somebody_unknown_is_told() -> None:
    assert logged_out({"format": "email", "email": "nobody@example.com"}).status_code == 404


@pytest.mark.parametrize(
    "said",
    [
        {"typ": "JWT"},
        {"typ": "secevent+jwt"},
        {"iss": "https://evil.example.com"},
        {"aud": "https://other.example.com"},
        {"seconds": 3600},
        {"exp": None},
        {"jti": None},
    ],
)
def test_universal_logout_takes_the_issuers_word_only(browser: Client, said: dict[str, Any]) -> None:
    assert logged_out(**said).status_code == 401
    assert is_in(browser)


@pytest.mark.parametrize("body", ["", "[]", "{", '{"sub_id": {}}', '{"sub_id": "x"}', "[" * 9000, "x" * 20_000])
def test_universal_logout_of_nobody_is_refused_in_order(body: str) -> None:
    assert logged_out(body=body).status_code == 400


def test_universal_logout_needs_a_token() -> None:
    address, body = "/oauth/global-token-revocation", json.dumps({"sub_id": ANA})
    assert Client().post(address, body, content_type="application/json").status_code == 401
    assert Client().get(address).status_code == 405


# Fetched


class Transmitter:
    """Holds events until they are acknowledged, as RFC 8936 has it."""

    def __init__(self, issuer: FakeIssuer) -> None:
        self.issuer, self.held, self.errors, self.tokens = issuer, dict[str, str](), dict[str, Any](), list[str]()

    def answer(self, body: bytes, token: str) -> dict[str, Any]:
        said = json.loads(body)
        self.tokens.append(token)
        self.errors |= said.get("setErrs", {})
        for name in (*said.get("ack", []), *said.get("setErrs", {})):
            self.held.pop(name, None)
        return {"sets": dict(list(self.held.items())[: said["maxEvents"]]), "moreAvailable": False}


@pytest.fixture
def transmitter() -> Iterator[Transmitter]:
    with serving() as issuer:
        found = Transmitter(issuer)
        issuer.polled = found.answer
        yield found


def test_events_are_fetched_taken_and_only_then_acknowledged(
    transmitter: Transmitter, okta: TrustedIssuer, browser: Client
) -> None:
    secret = Secret.objects.create(name="okta-events")
    with governed_change(by="test"):
        put_secret_value(secret, value="s3cret-of-events", by="test", record=[].append, now=datetime.now(UTC))
    address = f"{transmitter.issuer.url}/poll"
    TrustedIssuer.objects.update(poll_url=address, poll_secret=secret)
    transmitter.held = {"a": event(), "b": event(aud="https://other.example.com"), "c": event()}
    assert poll_all() == 2
    assert not is_in(browser)
    assert (transmitter.held, set(transmitter.errors)) == ({}, {"b"})
    assert set(transmitter.tokens) == {"Bearer s3cret-of-events"}
    assert poll_all() == 0


def test_an_issuer_that_cannot_be_asked_is_left_for_the_next_time(okta: TrustedIssuer) -> None:
    secret = Secret.objects.create(name="okta-events")
    TrustedIssuer.objects.update(poll_url="http://127.0.0.1:9/poll", poll_secret=secret)
    assert poll_all() == 0


def test_the_directory_that_goes_with_it_says_whom_it_knows(okta: TrustedIssuer) -> None:
    directory, at = Directory.objects.create(name="okta"), datetime.now(UTC)
    person = User.objects.create_user("bo@example.com")
    DirectoryUser.objects.create(
        directory=directory, person=person, user_name="bo", user_name_key="bo", created_at=at, changed_at=at
    )
    subject = {"format": "email", "email": "bo@example.com"}
    assert logged_out(subject).status_code == 404
    TrustedIssuer.objects.update(directory=directory)
    assert logged_out(subject).status_code == 204
