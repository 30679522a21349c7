"""Connecting an account at a real provider on loopback: set up, off and back, renewed, disconnected; and every way in
which an answer may be somebody else's."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from gateway.accounts import renewing, revoking
from gateway.accounts.presented import Presented
from gateway.accounts.renewing import AccountEnded, AccountUnavailable, Renewal, presented_now
from gateway.accounts.setting_up import CannotSetUp, OtherIssuer, place_of, set_up
from gateway.actions import act
from gateway.drift import rediscover
from gateway.models import AccountConnection
from governance import connected_accounts
from governance.account_tokens import open_tokens
from governance.models import Connector, Secret, UpstreamClient, UpstreamGrant, User
from governance.vault import keyring, put_secret_value
from tests.gateway.oauth_provider import Provider, running

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    settings.UPSTREAM_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with running() as found:
        yield found


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com")


@pytest.fixture
def files(provider: Provider, ana: User) -> Connector:
    """She answers for it, so it is within her reach."""
    return Connector.objects.create(name="files", urls=[provider.resource], account="person", owner=ana)


@pytest.fixture
def way(files: Connector) -> UpstreamClient:
    return set_up(files.pk, person=an_owner())


def an_owner() -> User:
    return User.objects.filter(is_superuser=True).first() or User.objects.create_superuser("owner@example.com")


def hers() -> str:
    return f"/me/accounts/{Connector.objects.get().pk}/"


class Browser:
    def __init__(self, person: User) -> None:
        self.client = Client(raise_request_exception=True)
        self.client.force_login(person)

    def off(self) -> str:
        """Presses the button; the address of the provider's page."""
        page = self.client.post(f"{hers()}connect/")
        assert page.status_code == 200, page.content
        found = re.search(r'class="button"\s+href="([^"]+)"', page.content.decode())
        assert found is not None
        return unescape(found[1])

    def back(self, provider: Provider, said: dict[str, str], *, place: str = "") -> str:
        """What she reads then."""
        page = self.client.get(f"/oauth/callback/{place or place_of(provider.issuer)}/", said, follow=True)
        found = re.search(r'class="note"[^>]*>\s*(.*?)\s*<', page.content.decode(), re.DOTALL)
        return unescape(found[1]) if found else page.content.decode()

    def connect(self, provider: Provider) -> UpstreamGrant:
        told = self.back(provider, provider.agree(self.off()))
        assert "is connected" in told
        return UpstreamGrant.objects.exclude(status="ended").get()


@pytest.fixture
def browser(ana: User) -> Browser:
    return Browser(ana)


@pytest.fixture
def grant(way: UpstreamClient, browser: Browser, provider: Provider) -> UpstreamGrant:
    return browser.connect(provider)


def fresh(grant: UpstreamGrant) -> UpstreamGrant:
    return UpstreamGrant.objects.select_related("client__server", "person", "connector").get(pk=grant.pk)


def expire(grant: UpstreamGrant) -> None:
    UpstreamGrant.objects.filter(pk=grant.pk).update(expires_at=datetime.now(UTC), created_at=long_ago())


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=2)


# -- setting up


def test_the_way_is_found_from_the_upstream_s_address_alone(way: UpstreamClient, provider: Provider) -> None:
    assert (way.server.issuer, way.resource, way.source) == (provider.issuer, provider.resource, "registered")
    assert way.oauth_scopes == ["files"]
    assert set_up(way.connector_id, person=an_owner()).pk == way.pk  # type: ignore[arg-type]
    assert len(provider.clients) == 1


def test_another_authorization_server_is_taken_over_only_by_agreement(way: UpstreamClient, provider: Provider) -> None:
    with running() as evil:
        provider.resource_metadata = {"authorization_servers": [evil.issuer]}
        with pytest.raises(OtherIssuer) as refused:
            set_up(way.connector_id, person=an_owner())  # type: ignore[arg-type]
        assert refused.value.issuer == evil.issuer
        assert not evil.clients
        agreed = set_up(way.connector_id, person=an_owner(), agreed_issuer=evil.issuer)  # type: ignore[arg-type]
    assert agreed.server.issuer == evil.issuer


@pytest.mark.parametrize(
    ("said", "resource", "words"),
    [
        ({"code_challenge_methods_supported": ["plain"]}, {}, "PKCE"),
        ({"code_challenge_methods_supported": None}, {}, "PKCE"),
        ({"issuer": "https://as.example.com"}, {}, "another one's"),
        ({"token_endpoint": "http://as.example.com/token"}, {}, "plain https"),
        ({"token_endpoint": "https://user@as.example.com/token"}, {}, "plain https"),
        ({"registration_endpoint": None}, {}, "redirect address"),
        ({}, {"resource": "https://drive.example.com/mcp"}, "another system's"),
        ({}, {"resource": ["x"]}, "no plain https"),
        ({}, {"authorization_servers": ["file:///etc/passwd"]}, "Nothing describes"),
    ],
)
def test_a_server_that_cannot_be_trusted_is_not_set_up(
    files: Connector, provider: Provider, said: dict[str, Any], resource: dict[str, Any], words: str
) -> None:
    provider.metadata, provider.resource_metadata = said, resource
    with pytest.raises(CannotSetUp, match=words):
        set_up(files.pk, person=an_owner())
    assert not UpstreamClient.objects.exists()


@pytest.mark.parametrize("issuer", ["https://169.254.169.254/x", "https://10.0.0.1/as", "https://[fd00::1]/as"])
def test_addresses_inside_are_not_asked(files: Connector, provider: Provider, issuer: str) -> None:
    provider.resource_metadata = {"authorization_servers": [issuer]}
    with pytest.raises(CannotSetUp, match="not one Gatehouse may connect to"):
        set_up(files.pk, person=an_owner())


def test_redirects_are_not_followed(files: Connector, provider: Provider) -> None:
    provider.faults = {"redirects"}
    with pytest.raises(CannotSetUp, match="Nothing describes"):
        set_up(files.pk, person=an_owner())


def test_an_id_and_secret_from_the_vault_serve_where_nobody_may_register(
    files: Connector, provider: Provider, browser: Browser
) -> None:
    provider.metadata = {"registration_endpoint": None}
    provider.clients["ours"] = {
        "secret": "p%ss:word",
        "redirect_uris": [f"http://127.0.0.1:8000/oauth/callback/{place_of(provider.issuer)}/"],
    }
    files.secret = oauth_secret("ours:p%ss:word")
    files.save()
    assert set_up(files.pk, person=an_owner()).source == "secret"
    assert browser.connect(provider).status == "live"


def test_only_an_owner_sends_a_stored_client_secret_to_a_new_place(files: Connector, provider: Provider) -> None:
    """Else whoever edits connectors could point one at a system whose authorization server is hers."""
    files.secret = oauth_secret("ours:word-of-ours")
    files.save()
    noor = User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    with running() as other:
        provider.resource_metadata = {"authorization_servers": [other.issuer]}
        with pytest.raises(CannotSetUp, match="Only an owner"):
            set_up(files.pk, person=noor)
        assert set_up(files.pk, person=an_owner()).source == "secret"
        assert set_up(files.pk, person=noor).source == "secret"


def oauth_secret(value: str) -> Secret:
    secret = Secret.objects.create(name="files-client", kind="oauth_client")
    act(lambda record, now: put_secret_value(secret, value=value, by="test", record=record, now=now), by="test")
    return secret


# -- off and back


def test_her_account_is_connected_and_its_token_works(grant: UpstreamGrant, provider: Provider, ana: User) -> None:
    assert (grant.person, grant.connector.name if grant.connector else "") == (ana, "files")
    assert provider.knows(open_tokens(grant, keyring=keyring()).access)
    assert not AccountConnection.objects.exists()


def test_an_answer_counts_once(grant: UpstreamGrant, browser: Browser, provider: Provider) -> None:
    said = provider.agree(browser.off())
    assert "is connected" in browser.back(provider, said)
    assert "no connection that you began" in browser.back(provider, said)


def test_another_person_s_browser_has_no_use_for_the_answer(
    way: UpstreamClient, browser: Browser, provider: Provider
) -> None:
    """Else an attacker could connect her own account to somebody else's name; the row waits for its own person."""
    said = provider.agree(browser.off())
    eve = Browser(User.objects.create_user("eve@example.com"))
    assert "no connection that you began" in eve.back(provider, said)
    assert not UpstreamGrant.objects.exists()
    assert "is connected" in browser.back(provider, said)


def test_another_browser_of_the_same_person_has_none_either(
    way: UpstreamClient, browser: Browser, provider: Provider, ana: User
) -> None:
    said = provider.agree(browser.off())
    assert "no connection that you began" in Browser(ana).back(provider, said)


def test_somebody_who_is_not_signed_in_is_sent_to_sign_in(provider: Provider) -> None:
    answer = Client().get(f"/oauth/callback/{place_of(provider.issuer)}/", {"state": "x", "code": "y"})
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/account/login/")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iss": "https://evil.example.com"}, "another provider"),
        ({"iss": ""}, "another provider"),
        ({"state": "guessed"}, "no connection that you began"),
        ({"state": ""}, "no connection that you began"),
        ({"code": ""}, "cannot be read"),
        ({"code": "x" * 5000}, "cannot be read"),
        ({"code": "guessed"}, "did not accept"),
        ({"error": "access_denied"}, "did not agree"),
        ({"error": "<script>alert(1)</script>"}, "The provider refused"),
    ],
)
def test_an_answer_that_is_not_the_provider_s_connects_nothing(
    way: UpstreamClient, browser: Browser, provider: Provider, changes: dict[str, str], words: str
) -> None:
    assert words in browser.back(provider, provider.agree(browser.off()) | changes)
    assert not UpstreamGrant.objects.exists()


def test_an_answer_at_another_provider_s_place_connects_nothing(
    way: UpstreamClient, browser: Browser, provider: Provider
) -> None:
    said = provider.agree(browser.off())
    assert "another provider" in browser.back(provider, said, place=place_of("https://evil.example.com"))


def test_an_answer_that_comes_too_late_connects_nothing(
    way: UpstreamClient, browser: Browser, provider: Provider
) -> None:
    said = provider.agree(browser.off())
    AccountConnection.objects.update(expires_at=long_ago())
    assert "no connection that you began" in browser.back(provider, said)


def test_what_came_for_somebody_who_left_meanwhile_is_revoked_at_once(
    way: UpstreamClient, browser: Browser, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = provider.agree(browser.off())
    connect = connected_accounts.connect

    def too_late(*args: Any, **kwargs: Any) -> UpstreamGrant:
        User.objects.update(is_active=False)
        return connect(*args, **kwargs)

    monkeypatch.setattr(connected_accounts, "connect", too_late)
    browser.back(provider, said)
    assert not UpstreamGrant.objects.exists()
    assert provider.revoked == ["refresh_token", "access_token"]


def test_a_system_out_of_her_reach_does_not_exist(way: UpstreamClient, provider: Provider) -> None:
    eve = Browser(User.objects.create_user("eve@example.com"))
    assert eve.client.get(hers()).status_code == 404
    assert eve.client.post(f"{hers()}connect/").status_code == 404
    assert "files" not in eve.client.get("/me/accounts/").content.decode()


def test_opening_a_page_connects_nothing_and_shows_no_token(grant: UpstreamGrant, browser: Browser) -> None:
    tokens = open_tokens(grant, keyring=keyring())
    for page in ("/me/accounts/", hers()):
        shown = browser.client.get(page).content.decode()
        assert tokens.access not in shown
        assert tokens.refresh not in shown
    assert browser.client.get(f"{hers()}connect/").status_code == 405
    assert not AccountConnection.objects.exists()


def test_what_waits_is_sealed(way: UpstreamClient, browser: Browser) -> None:
    address = browser.off()
    row = AccountConnection.objects.get()
    assert b"verifier" not in bytes(row.sealed)
    assert bytes(row.digest).hex() not in address


# -- renewed


def renewed(grant: UpstreamGrant) -> Presented:
    return presented_now(grant.pk.hex, worker=uuid4())


def test_a_good_token_is_presented_without_asking(grant: UpstreamGrant, provider: Provider) -> None:
    assert provider.knows(renewed(grant).token)
    assert provider.asked == ["authorization_code"]


def test_an_expired_one_is_renewed_and_stored_before_use(grant: UpstreamGrant, provider: Provider) -> None:
    expire(grant)
    presented = renewed(grant)
    assert (presented.generation, provider.knows(presented.token)) == (1, True)
    assert open_tokens(fresh(grant), keyring=keyring()).access == presented.token
    assert renewed(grant).token == presented.token
    assert provider.asked.count("refresh_token") == 1


def test_a_refused_refresh_token_needs_the_human_and_nothing_is_kept(grant: UpstreamGrant, provider: Provider) -> None:
    provider.withdraw()
    expire(grant)
    with pytest.raises(AccountEnded):
        renewed(grant)
    row = fresh(grant)
    assert (row.status, bytes(row.ciphertext)) == ("reconnect", b"")
    assert "hostile" not in row.problem
    with pytest.raises(AccountEnded):
        renewed(grant)


def test_a_provider_that_is_away_costs_nobody_her_account(grant: UpstreamGrant, provider: Provider) -> None:
    provider.faults = {"unreachable"}
    expire(grant)
    with pytest.raises(AccountUnavailable):
        renewed(grant)
    provider.faults = set()
    assert provider.knows(renewed(grant).token)


def test_a_renewal_that_broke_off_before_it_was_stored_is_told_as_what_it_was(
    grant: UpstreamGrant, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider has rotated, we have lost what it gave: only the human can help, and she reads why."""
    expire(grant)
    lost = renewing.look(grant.pk.hex, worker=uuid4())
    assert isinstance(lost, Renewal)
    provider.token({"grant_type": "refresh_token", "refresh_token": lost.refresh, "resource": provider.resource},
                   lost.client.client_id)  # fmt: skip
    UpstreamGrant.objects.update(renewing_until=long_ago())
    with pytest.raises(AccountEnded):
        renewed(grant)
    assert "broke off" in fresh(grant).problem


def test_while_one_renews_the_others_wait(grant: UpstreamGrant) -> None:
    expire(grant)
    assert isinstance(renewing.look(grant.pk.hex, worker=uuid4()), Renewal)
    assert renewing.look(grant.pk.hex, worker=uuid4()) is None


def test_tokens_that_come_after_the_end_are_never_used_and_are_revoked(
    grant: UpstreamGrant, provider: Provider, browser: Browser
) -> None:
    expire(grant)
    worker = uuid4()
    mine = renewing.look(grant.pk.hex, worker=worker)
    assert isinstance(mine, Renewal)
    given = asked(mine)
    browser.client.post(f"{hers()}disconnect/")
    with pytest.raises(AccountEnded):
        renewing.keep(mine, given, worker=worker)
    assert revoking.revoke_due() == 1
    assert not provider.knows(given.access)
    assert provider.families[0].is_over


def asked(renewal: Renewal) -> Any:
    import asyncio

    return asyncio.run(renewing._asked_once(renewal))


def test_an_upstream_that_refuses_every_token_causes_no_flood(grant: UpstreamGrant, provider: Provider) -> None:
    worker = uuid4()
    UpstreamGrant.objects.update(created_at=long_ago())
    first = renewing.look(grant.pk.hex, worker=worker, distrusted=0)
    assert isinstance(first, Renewal)
    kept = renewing.keep(first, asked(first), worker=worker)
    again = renewing.look(grant.pk.hex, worker=worker, distrusted=kept.generation)
    assert isinstance(again, Presented)


def test_without_a_refresh_token_the_human_is_needed_when_it_ends(
    way: UpstreamClient, browser: Browser, provider: Provider
) -> None:
    provider.faults = {"no refresh"}
    grant = browser.connect(provider)
    assert provider.knows(renewed(grant).token)
    expire(grant)
    with pytest.raises(AccountEnded):
        renewed(grant)


@pytest.mark.parametrize("lifetime", [None, "3600", "never", -5, True, 1e300, 10**18])
def test_whatever_a_provider_says_of_lifetimes_is_survived(
    way: UpstreamClient, browser: Browser, provider: Provider, lifetime: Any
) -> None:
    provider.expires_in = lifetime
    assert browser.connect(provider).status == "live"


def test_the_gateway_s_own_account_gets_its_token_when_it_is_first_wanted(provider: Provider) -> None:
    provider.clients["ours"] = {"secret": "word-of-ours", "redirect_uris": []}
    shared = Connector.objects.create(
        name="shared", urls=[provider.resource], account="shared", secret=oauth_secret("ours:word-of-ours")
    )
    set_up(shared.pk, person=an_owner())
    grant = UpstreamGrant.objects.get()
    assert (grant.person, bytes(grant.ciphertext)) == (None, b"")
    assert provider.knows(renewed(grant).token)
    assert provider.asked == ["client_credentials"]


# -- disconnected


def test_what_she_disconnects_is_revoked_there_and_erased_here(
    grant: UpstreamGrant, browser: Browser, provider: Provider
) -> None:
    browser.client.post(f"{hers()}disconnect/")
    assert fresh(grant).status == "ended"
    assert provider.revoked == []
    assert revoking.revoke_due() == 1
    row = fresh(grant)
    assert (row.revocation, bytes(row.ciphertext), bytes(row.wrapped_key)) == ("done", b"", b"")
    assert provider.revoked == ["refresh_token", "access_token"]
    assert revoking.revoke_due() == 0


def test_a_provider_that_is_away_is_told_later(grant: UpstreamGrant, browser: Browser, provider: Provider) -> None:
    browser.client.post(f"{hers()}disconnect/")
    provider.faults = {"unreachable"}
    assert revoking.revoke_due() == 0
    assert fresh(grant).revocation == "due"
    provider.faults = set()
    assert revoking.revoke_due() == 0, "not at once"
    UpstreamGrant.objects.update(revocation_due_at=long_ago())
    assert revoking.revoke_due() == 1


def test_a_provider_that_revokes_only_what_makes_others_is_enough(
    grant: UpstreamGrant, browser: Browser, provider: Provider
) -> None:
    provider.faults = {"keeps access"}
    browser.client.post(f"{hers()}disconnect/")
    assert revoking.revoke_due() == 1
    assert fresh(grant).revocation == "done"


@pytest.mark.parametrize("has_secret", [False, True])
def test_a_server_that_wants_said_what_a_client_may_leave_out_is_told(
    files: Connector, browser: Browser, provider: Provider, has_secret: bool
) -> None:
    """Those built with the official SDK: the id beside HTTP Basic, the empty secret of a public client."""
    if has_secret:
        places = [f"http://127.0.0.1:8000/oauth/callback/{place_of(provider.issuer)}/"]
        provider.clients["ours"] = {"secret": "word-of-ours", "redirect_uris": places}
        files.secret = oauth_secret("ours:word-of-ours")
        files.save()
    set_up(files.pk, person=an_owner())
    provider.faults = {"wants all said"}
    grant = browser.connect(provider)
    expire(grant)
    assert provider.knows(renewed(grant).token)
    browser.client.post(f"{hers()}disconnect/")
    assert revoking.revoke_due() == 1
    assert (fresh(grant).revocation, provider.families[0].is_over) == ("done", True)


def test_where_nothing_can_be_revoked_a_human_is_told_what_to_do(
    files: Connector, browser: Browser, provider: Provider
) -> None:
    provider.metadata = {"revocation_endpoint": None}
    set_up(files.pk, person=an_owner())
    grant = browser.connect(provider)
    browser.client.post(f"{hers()}disconnect/")
    assert revoking.revoke_due() == 1
    row = fresh(grant)
    assert (row.revocation, bytes(row.ciphertext)) == ("manual", b"")
    assert "remove Gatehouse" in row.revocation_note
    assert "ana@example.com" in row.revocation_note


@pytest.mark.parametrize("change", ["connector gone", "connector wants none", "person left"])
def test_accounts_that_nothing_can_use_any_more_end(grant: UpstreamGrant, change: str, provider: Provider) -> None:
    if change == "connector gone":
        Connector.objects.all().delete()
    elif change == "connector wants none":
        Connector.objects.update(account="")
    else:
        User.objects.update(is_active=False)
    assert revoking.end_forsaken() == 1
    assert revoking.revoke_due() == 1
    assert provider.families[0].is_over


def test_the_public_document_names_our_places_and_nothing_secret(provider: Provider, files: Connector) -> None:
    document = Client().get("/.well-known/gateway-client.json")
    assert document.status_code == 200
    assert document.json()["redirect_uris"] == []
    assert document.json()["token_endpoint_auth_method"] == "none"


# -- administrators


def test_tools_are_looked_up_with_the_resource_owner_s_account(
    way: UpstreamClient, browser: Browser, provider: Provider
) -> None:
    assert "resource owner connects hers first" in rediscover(only="files")["files"].error
    browser.connect(provider)
    found = rediscover(only="files")["files"]
    assert (found.error, [tool.name for tool in found.tools]) == ("", ["read"])


def test_an_administrator_sets_up_agrees_to_another_server_and_sees_who_is_connected(
    files: Connector, provider: Provider, browser: Browser
) -> None:
    admin, page = Client(), f"/admin/connectors/{files.pk}/accounts/"
    admin.force_login(an_owner())
    assert "Set up." in admin.post(page, follow=True).content.decode()
    grant = browser.connect(provider)
    shown = admin.get(page).content.decode()
    assert "ana@example.com" in shown
    assert open_tokens(grant, keyring=keyring()).access not in shown
    with running() as other:
        provider.resource_metadata = {"authorization_servers": [other.issuer]}
        asked = admin.post(page)
        assert (asked.status_code, other.issuer in asked.content.decode()) == (409, True)
        assert fresh(grant).status == "live"
        admin.post(page, {"agreed": other.issuer})
    assert fresh(grant).status == "ended"


def test_what_was_left_to_a_human_is_noted_as_done(files: Connector, provider: Provider, browser: Browser) -> None:
    provider.metadata = {"revocation_endpoint": None}
    set_up(files.pk, person=an_owner())
    grant = browser.connect(provider)
    browser.client.post(f"{hers()}disconnect/")
    revoking.revoke_due()
    admin, page = Client(), f"/admin/connectors/{files.pk}/accounts/"
    admin.force_login(an_owner())
    assert "remove Gatehouse" in admin.get(page).content.decode()
    admin.post(page, {"settled": str(grant.pk)})
    assert fresh(grant).revocation == "settled"
    assert admin.post(page, {"settled": "nonsense"}).status_code == 404
