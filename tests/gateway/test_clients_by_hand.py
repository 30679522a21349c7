"""OAuth clients and workloads that somebody adds on a screen."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from governance import key_text
from governance.models import Agent, AgentCredential, OAuthClient, TrustedIssuer, User
from tests.gateway.rows import an_agent

pytestmark = pytest.mark.django_db

NEW_CLIENT = "/admin/oauth-clients/new/"
CLIENTS = "/admin/governance/oauthclient/"
GITHUB = "https://token.actions.githubusercontent.com"


@pytest.fixture
def it_admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"]))
    return client


@pytest.fixture
def agent() -> Agent:
    return an_agent()


@pytest.fixture
def github() -> TrustedIssuer:
    return TrustedIssuer.objects.create(name="github", kind="workload", issuer=GITHUB)


def wish(it_admin: Client, **changed: Any) -> dict[str, Any]:
    once = it_admin.get(NEW_CLIENT).context["form"]["once"].value()
    usual = {
        "once": once,
        "name": "Reports",
        "redirect_uris": "https://reports.example.com/callback\n",
        "grant_types": ["authorization_code", "refresh_token"],
    }
    return {**usual, **changed}


def test_a_client_is_added_and_its_secret_shown_once(it_admin: Client) -> None:
    said = wish(it_admin, has_secret="on")
    page = it_admin.post(NEW_CLIENT, said)
    client = OAuthClient.objects.get()
    secret = page.context["made"].secret
    assert (client.status, client.origin, client.name) == ("approved", "admin", "Reports")
    assert client.redirect_uris == ["https://reports.example.com/callback"]
    assert client.registered_by is not None
    assert client.registered_by.email == "noor@example.com"
    assert secret in page.content.decode()
    assert client.client_id in page.content.decode()
    assert bytes(client.secret_digest or b"") == key_text.digest_of(secret)

    again = it_admin.post(NEW_CLIENT, said, follow=True)
    assert OAuthClient.objects.count() == 1
    assert secret not in again.content.decode()
    assert client.client_id in again.content.decode()


def test_a_public_client_has_no_secret(it_admin: Client) -> None:
    page = it_admin.post(NEW_CLIENT, wish(it_admin, redirect_uris="http://127.0.0.1/callback"))
    assert page.context["made"].secret == ""
    assert "shown only now" not in page.content.decode()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"redirect_uris": "javascript:alert(1)"}, "redirect_uris"),
        ({"redirect_uris": "\n".join(f"https://r.example.com/{n}" for n in range(21))}, "redirect_uris"),
        ({"redirect_uris": ""}, "grant_types"),
        ({"grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"]}, "grant_types"),
        ({"name": " "}, "name"),
    ],
    ids=["script", "too-many", "nowhere", "vouched-without-a-secret", "nameless"],
)
def test_what_cannot_be_is_told_at_its_field(it_admin: Client, changed: dict[str, Any], field: str) -> None:
    page = it_admin.post(NEW_CLIENT, wish(it_admin, **changed))
    assert page.status_code == 400
    assert page.context["form"].errors[field]
    assert not OAuthClient.objects.exists()


def test_the_list_leads_to_the_page_who_may_add(it_admin: Client) -> None:
    assert NEW_CLIENT in it_admin.get(CLIENTS).content.decode()
    auditor = Client()
    auditor.force_login(User.objects.create_user("aud@example.com", is_staff=True, duties=["auditor"]))
    assert NEW_CLIENT not in auditor.get(CLIENTS).content.decode()
    assert auditor.get(NEW_CLIENT).status_code == 403


def test_a_workload_becomes_the_agent(it_admin: Client, agent: Agent, github: TrustedIssuer) -> None:
    address = reverse("agent_workload", args=[agent.pk])
    claims = "repository = octo/app\nenvironment=production\n"
    done = it_admin.post(address, {"issuer": "github", "claims": claims, "expiry": "365"}, follow=True)
    row = AgentCredential.objects.get()
    assert (row.kind, row.issuer, row.agent) == ("workload", GITHUB, agent)
    assert row.claims == {"repository": "octo/app", "environment": "production"}
    assert "environment = production, repository = octo/app" in done.content.decode()


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ("ref = refs/heads/main", "everybody on GitHub"),
        ("repository octo/app", "name = value"),
        ("repository = a/b\nrepository = c/d", "once"),
        ("repository = <b>octo</b>/*", "everybody on GitHub"),
        ("sub = " + "x" * 9000, "characters"),
        ("", "required"),
    ],
    ids=["everybody", "no-sign", "twice", "open", "endless", "nothing"],
)
def test_a_rule_that_will_not_do_is_told(
    it_admin: Client, agent: Agent, github: TrustedIssuer, claims: str, told: str
) -> None:
    address = reverse("agent_workload", args=[agent.pk])
    page = it_admin.post(address, {"issuer": "github", "claims": claims, "expiry": "365"})
    assert page.status_code == 400
    assert told in page.content.decode()
    assert "<b>octo" not in page.content.decode()
    assert not AgentCredential.objects.exists()


def test_without_a_trusted_platform_it_says_what_to_do_first(it_admin: Client, agent: Agent) -> None:
    TrustedIssuer.objects.create(name="okta", kind="directory", issuer="https://idp.example.com")
    page = it_admin.get(reverse("agent_workload", args=[agent.pk])).content.decode()
    assert "No platform is trusted yet" in page
