"""Whose accounts are connected where: for administrators and scripts, with the end of it, and never with what."""

import pytest
from django.test import Client

from gateway.accounts import revoking
from governance.account_tokens import open_tokens
from governance.models import Connector, UpstreamGrant, User
from governance.vault import keyring
from tests.gateway.calling import Api, it_admin, problem
from tests.gateway.oauth_provider import Provider
from tests.gateway.test_accounts_flow import Browser, ana, browser, files, fresh, grant, provider, set_up, way

__all__ = ("ana", "browser", "files", "grant", "provider", "way")

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = "/admin/governance/upstreamgrant/"


def test_a_script_sees_whose_account_is_where_and_ends_it(grant: UpstreamGrant, provider: Provider) -> None:
    api = it_admin()
    [told] = api.get("connected-accounts?connector=files&status=live").json()["results"]
    assert (told["person"], told["connector"], told["issuer"]) == ("ana@example.com", "files", provider.issuer)
    assert api.get("connected-accounts?person=eve@example.com").json()["results"] == []

    ended = api.post(f"connected-accounts/{grant.pk}/revoke").json()
    assert (ended["status"], ended["revocation"], ended["ended_by"]) == ("ended", "due", f"person:{api.person.email}")
    problem(api.post(f"connected-accounts/{grant.pk}/revoke"), 409, "conflict")

    assert revoking.revoke_due() == 1
    assert api.get(f"connected-accounts/{grant.pk}").json()["revocation"] == "done"
    assert provider.families[0].is_over


def test_what_only_a_human_can_revoke_she_notes(files: Connector, provider: Provider, browser: Browser) -> None:
    provider.metadata = {"revocation_endpoint": None}
    set_up(files.pk, person=User.objects.create_superuser("owner@example.com"))
    grant = browser.connect(provider)
    api = it_admin()
    problem(api.post(f"connected-accounts/{grant.pk}/settle"), 409, "conflict")
    api.post(f"connected-accounts/{grant.pk}/revoke")
    revoking.revoke_due()

    [left] = api.get("connected-accounts?revocation=manual").json()["results"]
    assert "remove Gatehouse" in left["revocation_note"]
    assert api.post(f"connected-accounts/{left['id']}/settle").json()["revocation"] == "settled"


def test_she_sees_her_own_and_nobody_else_s(grant: UpstreamGrant, ana: User) -> None:
    assert [row["id"] for row in Api(ana).get("connected-accounts").json()["results"]] == [str(grant.pk)]
    eve = Api(User.objects.create_user("eve@example.com"))
    assert eve.get("connected-accounts").json()["results"] == []
    assert eve.get(f"connected-accounts/{grant.pk}").status_code in (403, 404)
    assert eve.post(f"connected-accounts/{grant.pk}/revoke").status_code in (403, 404)
    assert fresh(grant).status == "live"


def test_an_administrator_ends_accounts_from_their_list_after_a_look(grant: UpstreamGrant, provider: Provider) -> None:
    admin = Client()
    admin.force_login(User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"]))
    tokens = open_tokens(grant, keyring=keyring())
    for path in (LIST, f"{LIST}{grant.pk}/change/", f"{LIST}?q=ana@example.com"):
        shown = admin.get(path).content.decode()
        assert "ana@example.com" in shown
        assert tokens.access not in shown
        assert tokens.refresh not in shown

    chosen = {"action": "end", "_selected_action": str(grant.pk)}
    assert "their providers are told" in admin.post(LIST, chosen).content.decode()
    assert fresh(grant).status == "live", "looking ends nothing"
    admin.post(LIST, {**chosen, "confirmed": "yes"})
    assert (fresh(grant).status, fresh(grant).ended_by) == ("ended", "person:noor@example.com")
    assert revoking.revoke_due() == 1
    assert provider.families[0].is_over
