"""Signing in by SAML: who gets in, and which unsigned, stolen, stale, wrapped and clipped answers do not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from lxml import etree

from governance.models import StaffIdentity, User
from tests.gateway.fake_saml_provider import (
    ENTITY,
    NAMES,
    NO_PASSIVE,
    SSO_URL,
    FakeSamlProvider,
    attribute,
    audience,
    key_and_certificate,
    packed,
    stamp,
)
from tests.gateway.signing_in import enter, is_in, person

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

START = "/account/single-sign-on/saml/start/"
CALLBACK = "/account/single-sign-on/saml/callback/"
FINISH = "/account/single-sign-on/saml/finish/"
NOW = datetime.now(UTC)
NOTHING = attribute("favourite colour", "blue")


@pytest.fixture(scope="module")
def keyed() -> FakeSamlProvider:
    return FakeSamlProvider()


@pytest.fixture
def idp(keyed: FakeSamlProvider, settings: Any) -> FakeSamlProvider:
    settings.SAML_IDP_ENTITY_ID, settings.SAML_IDP_SSO_URL = ENTITY, SSO_URL
    settings.SAML_IDP_CERTIFICATE, settings.SAML_TRUST_EMAIL = keyed.certificate, True
    return keyed


@pytest.fixture
def ana() -> User:
    return person("ana@example.com", is_staff=True)


def asked(client: Client, idp: FakeSamlProvider, *, by: str = START) -> str:
    """The id of the request that a browser takes to the provider."""
    away = client.get(by)
    assert away.status_code == 302, away.content.decode()
    return str(idp.request(away["Location"]).get("ID"))


def come(client: Client, idp: FakeSamlProvider, *, by: str = START, **wanted: Any) -> Any:
    return client.post(FINISH, {"SAMLResponse": idp.answer(asked(client, idp, by=by), **wanted)})


def test_she_signs_in_and_the_next_time_her_name_there_is_enough(
    idp: FakeSamlProvider, ana: User, client: Client, settings: Any
) -> None:
    assert b"Sign in with SAML" in client.get("/account/login/").content
    assert come(client, idp, by=f"{START}?next=/admin/governance/agent/")["Location"] == "/admin/governance/agent/"
    assert is_in(client)
    identity = StaffIdentity.objects.get()
    assert (identity.protocol, identity.issuer, identity.subject) == ("saml", ENTITY, "a-1")
    settings.SAML_TRUST_EMAIL = False
    again = Client()
    come(again, idp, attributes=NOTHING)
    assert is_in(again)


def test_the_answer_goes_through_a_page_of_ours(idp: FakeSamlProvider, ana: User, client: Client) -> None:
    """The provider's page is another site: no cookie of ours comes with what it posts."""
    posted = idp.answer(asked(client, idp))
    page = Client(enforce_csrf_checks=True).post(CALLBACK, {"SAMLResponse": posted})
    assert posted in page.content.decode()
    assert b"gatehouse/saml.js" in page.content
    assert not page.cookies
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(FINISH, {"SAMLResponse": posted}).status_code == 302


def test_an_address_is_believed_only_where_it_is_it_s_word(
    idp: FakeSamlProvider, ana: User, client: Client, settings: Any
) -> None:
    settings.SAML_TRUST_EMAIL = False
    assert come(client, idp).status_code == 403
    assert not StaffIdentity.objects.exists()


WRONG: dict[str, dict[str, Any]] = {
    "another audience": {"audience": audience("https://another.example")},
    "no audience": {"audience": ""},
    "another recipient": {"recipient": "https://another.example/acs"},
    "another issuer": {"issuer": "https://evil.example"},
    "another issuer outside": {"response": {"issuer": "https://evil.example"}},
    "expired": {"until": stamp(NOW - timedelta(hours=1)), "since": stamp(NOW - timedelta(hours=2))},
    "not yet": {"since": stamp(NOW + timedelta(hours=1)), "until": stamp(NOW + timedelta(hours=2))},
    "without an end": {"ends": ""},
    "nobody's request": {"answers": ""},
    "another's request": {"answers": 'InResponseTo="_another"'},
    "a passing name": {"format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"},
    "an address as a name": {"format": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"},
    "no name": {"name": ""},
    "an endless name": {"name": "a" * 256},
    "too many groups": {"attributes": attribute("groups", *(f"g{n}" for n in range(1001)))},
}


@pytest.mark.parametrize("wanted", WRONG.values(), ids=WRONG.keys())
def test_answers_that_prove_nothing_let_nobody_in(
    idp: FakeSamlProvider, ana: User, client: Client, wanted: dict[str, Any]
) -> None:
    assert come(client, idp, **wanted).status_code == 403
    assert not is_in(client)
    assert not StaffIdentity.objects.exists()


def test_unsigned_and_foreign_signatures_are_refused(idp: FakeSamlProvider, ana: User, client: Client) -> None:
    for sign in (lambda xml: xml, lambda xml: idp.signed(xml, key=key_and_certificate())):
        request = asked(client, idp)
        answer = packed(idp.response(request, sign(idp.assertion(request))))
        assert client.post(FINISH, {"SAMLResponse": answer}).status_code == 403
    assert not is_in(client)


def test_an_answer_works_once_and_in_its_own_browser(idp: FakeSamlProvider, ana: User, client: Client) -> None:
    answer = {"SAMLResponse": idp.answer(asked(client, idp))}
    stranger = Client()
    asked(stranger, idp)
    assert stranger.post(FINISH, answer).status_code == 403
    assert client.post(FINISH, answer).status_code == 302
    assert client.post(FINISH, answer).status_code == 403
    assert not is_in(stranger)


def test_a_stolen_assertion_in_an_answer_to_one_s_own_request_is_refused(
    idp: FakeSamlProvider, ana: User, client: Client
) -> None:
    """Only the assertion is signed: around it anything can be written."""
    stolen = idp.signed(idp.assertion(asked(Client(), idp)))
    thief = Client()
    answer = packed(idp.response(asked(thief, idp), stolen))
    assert thief.post(FINISH, {"SAMLResponse": answer}).status_code == 403
    unsolicited = idp.signed(idp.assertion("", answers=""))
    answer = packed(idp.response(asked(thief, idp), unsolicited))
    assert thief.post(FINISH, {"SAMLResponse": answer}).status_code == 403
    assert not is_in(thief)


@pytest.mark.parametrize("place", ["before", "around", "in its signature", "beside, in extensions"])
def test_a_signature_wrapped_around_something_else_is_refused(
    idp: FakeSamlProvider, ana: User, client: Client, place: str
) -> None:
    """XML signature wrapping: the signed assertion stays, another one is read."""
    person("owner@example.com", is_staff=True)
    request = asked(client, idp)
    signed = etree.fromstring(idp.signed(idp.assertion(request)))
    forged = etree.fromstring(idp.assertion(request, name="o-1", attributes=attribute("email", "owner@example.com")))
    document = etree.fromstring(idp.response(request, ""))
    if place == "before":
        document.extend([forged, signed])
    elif place == "around":
        forged.append(signed)
        document.append(forged)
    elif place == "in its signature":
        signature = signed.find("ds:Signature", NAMES)
        signed.remove(signature)
        forged.set("ID", str(signed.get("ID")))
        etree.SubElement(signature, f"{{{NAMES['ds']}}}Object").append(signed)
        forged.insert(1, signature)
        document.append(forged)
    else:
        extensions = etree.Element(f"{{{NAMES['samlp']}}}Extensions")
        extensions.append(signed)
        document.insert(1, extensions)
        document.append(forged)
    answer = packed(etree.tostring(document).decode())
    assert client.post(FINISH, {"SAMLResponse": answer}).status_code == 403
    assert not StaffIdentity.objects.exists()


def test_a_comment_does_not_cut_a_name_short(idp: FakeSamlProvider, ana: User, client: Client) -> None:
    """`a-1<!-- -->.evil` signed for one account must not read as another's `a-1`."""
    come(client, idp)
    evil = Client()
    come(evil, idp, name="a-1<!-- x -->.evil", attributes=attribute("email", "nobody@example.com"))
    assert not is_in(evil)
    mail = attribute("email", "ana@example.com<!-- x -->.evil.example")
    come(evil, idp, name="e-1", attributes=mail)
    assert not is_in(evil)


@pytest.mark.parametrize(
    "posted",
    [
        "",
        "no base64!",
        packed("<no xml"),
        packed("<a/>"),
        packed('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
        packed("<a>" * 500 + "</a>" * 500),
        "A" * (300 * 1024),
    ],
    ids=["nothing", "no base64", "no XML", "another document", "entities", "deep", "long"],
)
def test_what_is_no_answer_is_refused(idp: FakeSamlProvider, client: Client, posted: str) -> None:
    assert client.post(FINISH, {"SAMLResponse": posted}).status_code == 403


def test_the_provider_is_asked_again_quietly_and_its_no_ends_the_session(
    idp: FakeSamlProvider, ana: User, client: Client
) -> None:
    come(client, idp)
    session = client.session
    session["single_sign_on"] = session["single_sign_on"] | {"checked_at": 1}
    session.save()
    way = client.get("/me/")["Location"]
    assert way.startswith("/account/single-sign-on/saml/recheck/")
    away = client.get(way)
    request = idp.request(away["Location"])
    assert request.get("IsPassive") == "true"
    refusal = packed(idp.response(str(request.get("ID")), "", status=NO_PASSIVE))
    assert client.post(FINISH, {"SAMLResponse": refusal}).status_code == 403
    assert client.get("/me/")["Location"].startswith("/account/login/")


def test_an_owner_connects_herself_with_a_new_proof(idp: FakeSamlProvider, client: Client) -> None:
    owner = person("owner@example.com", is_staff=True, is_superuser=True)
    enter(client, owner.email)
    assert client.get("/account/single-sign-on/connect/saml/go/")["Location"] == "/account/single-sign-on/"
    client.post("/account/single-sign-on/connect/saml/")
    go = "/account/single-sign-on/connect/saml/go/"
    assert idp.request(client.get(go)["Location"]).get("ForceAuthn") == "true"
    old = stamp(datetime.now(UTC) - timedelta(hours=1))
    assert come(client, idp, by=go, proven=old, attributes=NOTHING).status_code == 403
    assert come(client, idp, by=go, attributes=NOTHING)["Location"] == "/account/single-sign-on/"
    other = Client()
    come(other, idp, attributes=NOTHING)
    assert other.get("/admin/").status_code == 200


def test_its_metadata_name_us(idp: FakeSamlProvider, client: Client) -> None:
    text = client.get("/account/single-sign-on/saml/metadata/").content.decode()
    assert 'entityID="http://127.0.0.1:8000/account/single-sign-on/saml/metadata/"' in text
    assert 'WantAssertionsSigned="true"' in text


def test_it_is_not_there_until_it_is_configured(client: Client) -> None:
    for path in (START, "/account/single-sign-on/saml/metadata/"):
        assert client.get(path).status_code == 404
    for path in (CALLBACK, FINISH):
        assert client.post(path, {"SAMLResponse": ""}).status_code == 404
