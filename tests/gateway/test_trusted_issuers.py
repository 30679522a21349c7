"""Whose signed word counts here: set up by form, by API and by manifest, under the same rules."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from joserfc.jwk import ECKey

from governance.models import TrustedIssuer
from governance.models.issuers import ALGORITHMS
from tests.gateway.signing_in import sign_in

pytestmark = pytest.mark.django_db

KEY = ECKey.generate_key("P-256", {"kid": "one"})
PUBLIC = {"keys": [KEY.as_dict(private=False)]}


@pytest.fixture
def security() -> Client:
    return sign_in("security")


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "okta",
        "kind": "directory",
        "issuer": "https://idp.example.com",
        "algorithms": ["RS256"],
        "longest_seconds": "600",
        "is_enabled": "on",
        "is_single_use": "on",
        **changes,
    }


def saved(client: Client, **changes: Any) -> Any:
    return client.post(reverse("admin:governance_trustedissuer_add"), fields(**changes), follow=True)


def test_an_issuer_is_added_by_form(security: Client) -> None:
    saved(security, jwks=json.dumps(PUBLIC), audiences="api://gatehouse\n\n", grants_access="on")
    row = TrustedIssuer.objects.get()
    assert (row.jwks, row.audiences, row.algorithms) == (PUBLIC, ["api://gatehouse"], ["RS256"])
    assert (row.grants_access, row.ends_access) == (True, False)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": "idp.example.com"}, "https address"),
        ({"issuer": "https://idp.example.com/?tenant=1"}, "https address"),
        ({"issuer": "https://user@idp.example.com"}, "https address"),
        ({"jwks_url": "file:///etc/passwd"}, "https address"),
        ({"jwks": "{}{"}, "no JSON"),
        ({"jwks": json.dumps({"keys": [KEY.as_dict(private=True)]})}, "only public keys"),
        ({"jwks": json.dumps(PUBLIC), "jwks_url": "https://idp.example.com/keys"}, "not both"),
        ({"algorithms": ["HS256"]}, "not one of the available choices"),
        ({"algorithms": []}, "Choose of ES256"),
        ({"kind": "workload", "grants_access": "on"}, "speaks for people"),
        ({"longest_seconds": "90000"}, "less than or equal to 86400"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_the_reason(security: Client, changes: dict[str, Any], why: str) -> None:
    assert why in saved(security, **changes).content.decode()
    assert not TrustedIssuer.objects.exists()


def test_a_new_issuer_may_sign_as_it_likes_unless_somebody_narrows_it(security: Client) -> None:
    shown = security.get(reverse("admin:governance_trustedissuer_add")).content.decode()
    ticked = re.findall(r'value="(\w+)"[^>]*checked|checked[^>]*value="(\w+)"', shown)
    assert {one or other for one, other in ticked} >= set(ALGORITHMS)


def test_the_form_shows_stored_keys_and_keeps_them(security: Client) -> None:
    saved(security, jwks=json.dumps(PUBLIC))
    row = TrustedIssuer.objects.get()
    address = reverse("admin:governance_trustedissuer_change", args=[row.pk])
    assert PUBLIC["keys"][0]["x"] in security.get(address).content.decode()
    security.post(address, fields(jwks=json.dumps(PUBLIC, indent=2), title="Okta", issuer="https://evil.example.com"))
    row.refresh_from_db()
    assert (row.title, row.jwks, row.issuer) == ("Okta", PUBLIC, "https://idp.example.com")


def test_whom_to_trust_is_not_for_it_admins() -> None:
    saved(sign_in("it-admin"))
    assert not TrustedIssuer.objects.exists()
