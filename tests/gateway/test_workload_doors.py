"""From a rule, made by API or by command, to a token: the whole way of a job that has no secret."""

import json
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client

from governance.agent_clients import JWT_BEARER
from governance.models import AgentCredential, OAuthClient, Organization, StaffIdentity, TrustedIssuer, User
from governance.oauth_resources import resource_of
from tests.gateway.calling import Api, owner
from tests.gateway.rows import an_agent
from tests.gateway.statements import as_set, claims_of, new_key, signed

__all__ = ("owner",)
pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]
GITHUB = "https://token.actions.githubusercontent.com"
KEY = new_key("one")
RULE = {"repository": "octo/app", "environment": "production"}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.fixture(autouse=True)
def github() -> TrustedIssuer:
    return TrustedIssuer.objects.create(name="github", kind="workload", issuer=GITHUB, jwks=as_set(KEY))


def job(**said: Any) -> str:
    usual = {"aud": settings.PUBLIC_URL, "sub": "repo:octo/app:environment:production", **RULE}
    return signed(claims_of(GITHUB, **{**usual, **said}), KEY)


def exchanged(token: str, **said: Any) -> Any:
    body = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "resource": resource_of("support", origin=settings.PUBLIC_URL),
        **said,
    }
    return Client().post("/oauth/token", body)


def test_a_rule_by_api_gives_a_job_a_token_and_its_end_ends_it(owner: Api) -> None:
    agent = an_agent()
    wish = {"kind": "workload", "workload": {"issuer": "github", "claims": RULE}, "label": "deploys"}
    made = owner.post(f"agents/{agent.pk}/credentials", wish)
    assert (made.status_code, made.json()["key"]) == (201, None)
    answer = exchanged(job())
    told = answer.json()
    assert (answer.status_code, told["token_type"], "refresh_token" in told) == (200, "Bearer", False)
    assert told["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert told["expires_in"] <= 600
    owner.post(f"credentials/{made.json()['key_id']}/revoke", {})
    assert exchanged(job()).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("wish", "member"),
    [
        ({"kind": "workload"}, "workload"),
        ({"workload": {"issuer": "github", "claims": RULE}}, "workload"),
        ({"kind": "workload", "workload": {"issuer": "gitlab", "claims": RULE}}, "workload.issuer"),
        ({"kind": "workload", "workload": {"issuer": "github", "claims": {"repository_owner": "octo"}}}, ""),
        ({"kind": "workload", "workload": {"issuer": "github", "claims": {}}}, ""),
        ({"kind": "workload", "workload": {"issuer": "github", "claims": {"ref": 7}}}, "workload.claims.ref"),
    ],
)
def test_a_rule_that_will_not_do_is_refused_by_api(owner: Api, wish: dict[str, Any], member: str) -> None:
    answer = owner.post(f"agents/{an_agent().pk}/credentials", wish)
    assert answer.status_code in (400, 422)
    assert member in json.dumps(answer.json())
    assert not AgentCredential.objects.exists()


def test_a_rule_by_command() -> None:
    an_agent()
    out = StringIO()
    claims = [part for name, value in RULE.items() for part in ("--claim", f"{name}={value}")]
    call_command("issue_key", "triage-bot", "--workload", "github", *claims, "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["kind"], told["key"]) == ("workload", None)
    assert AgentCredential.objects.get().claims == RULE
    with pytest.raises(CommandError, match="everybody on GitHub"):
        call_command("issue_key", "triage-bot", "--workload", "github", "--claim", "ref=refs/heads/main")
    with pytest.raises(CommandError, match="NAME=VALUE"):
        call_command("issue_key", "triage-bot", "--workload", "github", "--claim", "octo/app")


@pytest.mark.parametrize(
    "said", [{"subject_token": ""}, {"subject_token": "a.b.c"}, {"resource": "http://[::1"}, {"actor_token": "x"}]
)
def test_what_is_no_exchange_is_refused_in_order(said: dict[str, str]) -> None:
    answer = exchanged(job(), **said)
    assert (answer.status_code, "error" in answer.json()) == (400, True)


def test_a_client_of_the_organisation_shows_identity_assertions(owner: Api) -> None:
    """Enterprise-managed authorization: added by API, its secret shown once, no consent and no refresh token."""
    ana = User.objects.create_user("ana@example.com")
    TrustedIssuer.objects.create(
        name="okta", kind="directory", issuer="https://idp.example.com", jwks=as_set(KEY), grants_access=True
    )
    StaffIdentity.objects.create(
        person=ana, protocol="oidc", issuer="https://idp.example.com", subject="00u1", created_by="test"
    )
    wish = {"name": "Chat", "grant_types": [JWT_BEARER], "confidential": True}
    added = owner.post("oauth-clients", wish).json()
    said = {
        "aud": settings.PUBLIC_URL,
        "sub": "00u1",
        "client_id": added["client_id"],
        "resource": resource_of("support", origin=settings.PUBLIC_URL),
    }
    text = signed(claims_of("https://idp.example.com", **said), KEY, typ="oauth-id-jag+jwt")
    body = {"grant_type": JWT_BEARER, "assertion": text, "client_id": added["client_id"]}
    assert Client().post("/oauth/token", body).status_code == 401
    answer = Client().post("/oauth/token", {**body, "client_secret": added["client_secret"]})
    assert (answer.status_code, "refresh_token" in answer.json()) == (200, False)
    again = Client().post("/oauth/token", {**body, "client_secret": added["client_secret"]})
    assert again.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "Chat", "grant_types": [JWT_BEARER]},
        {"name": "Chat"},
        {"name": "Chat", "redirect_uris": ["javascript:alert(1)"]},
        {"name": " ", "redirect_uris": ["http://127.0.0.1/cb"]},
        {"name": "Chat", "grant_types": ["client_credentials"], "confidential": True},
    ],
)
def test_a_client_that_will_not_do_is_not_added(owner: Api, wish: dict[str, Any]) -> None:
    assert owner.post("oauth-clients", wish).status_code in (400, 422)
    assert not OAuthClient.objects.exists()


def test_how_clients_may_introduce_themselves_is_told_as_the_organisation_wants_it() -> None:
    def told() -> set[str]:
        document = Client().get("/.well-known/oauth-authorization-server").json()
        return document.keys() & {"registration_endpoint", "client_id_metadata_document_supported"}

    Organization.objects.create()
    assert told() == set()
    Organization.objects.update(client_hosts=["claude.ai"])
    assert told() == {"client_id_metadata_document_supported"}
    Organization.objects.update(clients_may_register=True)
    assert told() == {"client_id_metadata_document_supported", "registration_endpoint"}
