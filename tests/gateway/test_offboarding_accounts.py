"""What an offboarding's proof says of her accounts at other systems: each tried at its provider, or why it was not."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from gateway.accounts import revoking
from gateway.offboarding_proof import check_again
from gateway.offboardings import begin_offboarding, follow, take_up_what_is_left
from governance.models import Offboarding, OffboardingStep, UpstreamGrant, User
from governance.offboarding import Plan
from tests.gateway.oauth_provider import Provider
from tests.gateway.test_accounts_flow import an_owner, ana, browser, files, fresh, grant, long_ago, provider, way

__all__ = ("ana", "browser", "files", "grant", "provider", "way")

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BOTH_REFUSED = (
    "revoked at the provider; its refresh token was tried and refused; its access token was tried and refused"
)


def left(person: User) -> Offboarding:
    """She is gone, and the worker has been at it."""
    offboarding = begin_offboarding(person, plan=Plan(), by="person:owner@example.com")
    follow(offboarding.pk)
    revoking.revoke_due()
    OffboardingStep.objects.update(next_try_at=long_ago())
    take_up_what_is_left()
    offboarding.refresh_from_db()
    return offboarding


def account_in(receipt: str) -> dict[str, Any]:
    [item] = [item for item in json.loads(receipt)["items"] if item["kind"] == "connected account"]
    return dict(item)


@pytest.mark.parametrize(
    ("fault", "known"),
    [
        ("", BOTH_REFUSED),
        ("keeps access", BOTH_REFUSED),
        ("lies", "renews it nevertheless"),
        ("unreachable", "answered with status 503"),
    ],
    ids=["honest", "no word for access tokens", "lies", "away"],
)
def test_each_account_has_a_row_with_what_its_provider_did(
    grant: UpstreamGrant, provider: Provider, ana: User, fault: str, known: str
) -> None:
    provider.faults = {fault}
    offboarding = left(ana)
    check = check_again(offboarding, by="person:owner@example.com")
    [account] = check.accounts
    assert (account["name"], account["here"]) == ("account at files", "ended")
    assert known in account["at_provider"]
    assert check.is_clean, "nothing of it works here, whatever the provider does"
    item = account_in(offboarding.receipt)
    if fault in ("", "keeps access"):
        assert (item["result"], item["risk"], item["todo"]) == (known, "", "")
    else:
        assert item["result"] != "done"
        assert item["risk"]


def test_what_a_provider_gave_against_its_own_word_is_kept_by_nobody(
    grant: UpstreamGrant, provider: Provider, ana: User
) -> None:
    provider.faults = {"lies"}
    left(ana)
    row = fresh(grant)
    assert (row.revocation, bytes(row.ciphertext)) == ("manual", b"")
    assert "remove Gatehouse" in row.revocation_note
    assert provider.revoked == ["refresh_token", "access_token"] * 2


def test_the_proof_s_page_tells_of_each_account(grant: UpstreamGrant, ana: User) -> None:
    offboarding = left(ana)
    check_again(offboarding, by="person:owner@example.com")
    admin = Client()
    admin.force_login(an_owner())
    shown = admin.get(reverse("offboarding", args=[offboarding.pk])).content.decode()
    assert f"account at files: {BOTH_REFUSED}" in " ".join(shown.split())


def test_an_account_that_lives_again_is_no_clean_proof(grant: UpstreamGrant, ana: User) -> None:
    offboarding = left(ana)
    UpstreamGrant.objects.filter(pk=grant.pk).update(status="live", ended_at=None, ended_by="")
    check = check_again(offboarding, by="person:owner@example.com")
    assert "account at files" in check.live
    assert not check.is_clean
