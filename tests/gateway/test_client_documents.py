"""Clients that describe themselves: read with bounds, and let in by nobody but an administrator."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from audit.models import EventRow
from gateway.fetching import fetch
from gateway.models import ClientDocument
from gateway.oauth import client_documents
from gateway.oauth.client_documents import FLOOR, OLDEST, YOUNG, NoSuchClient, client_by_document
from gateway.oauth.registration import MOST_AN_HOUR
from governance import oauth_clients
from governance.client_documents import MOST_WAITING, is_document_id
from governance.fence.actor import governed_change
from governance.models import OAuthClient, Organization
from governance.oauth_clients import DEVICE, redirect_allowed
from tests.gateway.signing_in import sign_in
from tests.gateway.statements import HERE, FakeIssuer, serving

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ADDRESS = "https://claude.example.com/oauth/client-metadata"
PATH = "/oauth/client-metadata"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DOCUMENT = {
    "client_id": ADDRESS,
    "client_name": "Claude Code",
    "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


@pytest.fixture(autouse=True)
def organization(settings: Any) -> Organization:
    settings.UPSTREAM_ALLOWED_NETWORKS = [ip_network(HERE)]
    cache.clear()
    with governed_change(by="test"):
        return Organization.objects.create(client_hosts=["claude.example.com"], clients_may_register=True)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIssuer]:
    """A real server stands for the host: only the address is another."""
    with serving() as found:
        found.publishes(PATH, DOCUMENT)

        def asked(method: str, url: str, **options: Any) -> Any:
            return fetch(method, url.replace("https://claude.example.com", found.url), **options)

        monkeypatch.setattr(client_documents, "fetch", asked)
        yield found


def shown(*, after: timedelta = timedelta(0), address: str = ADDRESS) -> OAuthClient:
    return client_by_document(address, by="person:ana@example.com", now=NOW + after)


def approve(client: OAuthClient) -> None:
    with governed_change(by="test"):
        oauth_clients.approve(client, by="test", record=[].append)


def test_the_first_who_tries_a_client_puts_it_into_the_queue(host: FakeIssuer) -> None:
    client = shown()
    assert (client.name, client.status, client.origin) == ("Claude Code", "pending", "cimd")
    assert (client.created_by, client.registered_by) == ("person:ana@example.com", None)
    assert redirect_allowed("http://localhost:51234/callback", client.redirect_uris)
    assert redirect_allowed("http://127.0.0.1:7/callback", client.redirect_uris)
    assert not redirect_allowed("http://localhost:51234/other", client.redirect_uris)


def test_it_is_read_once_a_day_and_stays_what_somebody_made_of_it(host: FakeIssuer) -> None:
    approve(shown())
    assert [shown().status, shown(after=YOUNG).status, shown(after=YOUNG * 2).status] == ["approved"] * 3
    assert host.asked == [PATH, PATH]


def test_a_new_place_for_codes_waits_again(host: FakeIssuer) -> None:
    approve(shown())
    host.publishes(PATH, {**DOCUMENT, "redirect_uris": ["http://localhost/other"]})
    assert shown(after=YOUNG + FLOOR).status == "approved"
    host.publishes(PATH, {**DOCUMENT, "redirect_uris": ["http://localhost/cb", "https://evil.example.com/cb"]})
    assert shown(after=YOUNG * 3).status == "pending"


def test_a_new_way_to_a_token_waits_again_and_another_name_does_not(host: FakeIssuer) -> None:
    host.publishes(PATH, {**DOCUMENT, "grant_types": ["authorization_code"]})
    approve(shown())
    host.publishes(PATH, {**DOCUMENT, "grant_types": ["authorization_code"], "client_name": "Claude Code 2"})
    renamed = shown(after=YOUNG + FLOOR)
    assert (renamed.name, renamed.status) == ("Claude Code 2", "approved")
    host.publishes(PATH, {**DOCUMENT, "grant_types": ["authorization_code", DEVICE], "client_name": "Claude Code 2"})
    assert shown(after=YOUNG * 3).status == "pending"


def test_it_serves_while_its_host_is_away_and_no_longer_than_a_week(host: FakeIssuer) -> None:
    shown()
    host.answers.clear()
    assert shown(after=OLDEST).name == "Claude Code"
    with pytest.raises(NoSuchClient):
        shown(after=OLDEST + FLOOR * 2)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({**DOCUMENT, "client_id": "https://claude.example.com/oauth/other"}, 200),
        ({**DOCUMENT, "client_id": None}, 200),
        ({**DOCUMENT, "redirect_uris": []}, 200),
        ({**DOCUMENT, "redirect_uris": ["javascript:alert(1)"]}, 200),
        ({**DOCUMENT, "redirect_uris": ["http://evil.example.com/cb"]}, 200),
        ({**DOCUMENT, "redirect_uris": "http://localhost/callback"}, 200),
        ({**DOCUMENT, "client_name": "\u202eedoC"}, 200),
        ({**DOCUMENT, "client_name": "x" * 101}, 200),
        ({**DOCUMENT, "client_secret": "s"}, 200),
        ({**DOCUMENT, "token_endpoint_auth_method": "client_secret_basic"}, 200),
        ({**DOCUMENT, "grant_types": ["client_credentials"]}, 200),
        ({**DOCUMENT, "grant_types": ["authorization_code", "client_credentials"]}, 200),
        ({**DOCUMENT, "scope": "admin"}, 200),
        ({**DOCUMENT, "padding": "x" * 20_000}, 200),
        (b"[" * 5000, 200),
        (b"", 200),
        (b"http://127.0.0.1:9/elsewhere", 302),
        (DOCUMENT, 404),
        (DOCUMENT, 500),
    ],
)
def test_what_is_no_description_makes_no_client_and_is_not_asked_again_at_once(
    host: FakeIssuer, answer: Any, status: int
) -> None:
    host.publishes(PATH, answer, status=status)
    for _ in range(3):
        with pytest.raises(NoSuchClient):
            shown()
    assert (host.asked, OAuthClient.objects.count()) == ([PATH], 0)
    assert ClientDocument.objects.get().problem


def test_a_host_that_is_not_named_is_not_asked_but_that_it_was_tried_is_on_record(host: FakeIssuer) -> None:
    other = "https://other.example.com/client"
    for _ in range(2):
        with pytest.raises(NoSuchClient, match=r"other\.example\.com"):
            shown(address=other)
    assert host.asked == []
    assert EventRow.objects.filter(kind="oauth_client.not_read").count() == 1


def test_a_name_that_leads_inside_is_not_asked(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.UPSTREAM_ALLOWED_NETWORKS = []
    for inside in ("10.0.0.1", "169.254.169.254", "127.0.0.1", "fd00::1"):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (inside, 443))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
        ClientDocument.objects.all().delete()
        with pytest.raises(NoSuchClient):
            shown()
        assert "address_refused" in ClientDocument.objects.get().problem


@pytest.mark.parametrize(
    "client_id",
    [
        "http://claude.example.com/client", "https://claude.example.com", "https://claude.example.com/",
        "https://user@claude.example.com/c", "https://claude.example.com:8443/c", "https://10.0.0.1/c", "https://localhost/c",
        "https://[::1]/c", "https://claude.example.com/a/../c", "https://claude.example.com/./c",
        "https://claude.example.com/%2e%2e/c", "https://claude.example.com/c?x=1", "https://claude.example.com/c#x",
        "https://claude.example.com/" + "c" * 300, "https://CLAUDE.example.com/c", "https://claude.example.com\\@evil/c",
        "https://2130706433/c", "https://0x7f.1/c", "https://claude.example.com/c\n",
    ],
)  # fmt: skip
def test_an_address_that_could_be_read_in_two_ways_is_no_client(client_id: str) -> None:
    assert not is_document_id(client_id)
    with pytest.raises(NoSuchClient):
        shown(address=client_id)


# Registering


def registers(client: Client, body: Any = None, **headers: Any) -> Any:
    said = {"client_name": "Inspector", "redirect_uris": ["http://127.0.0.1/cb"]} if body is None else body
    raw = said if isinstance(said, bytes) else json.dumps(said).encode()
    return client.post("/oauth/register", raw, content_type="application/json", **headers)


def test_a_client_that_registers_waits(client: Client) -> None:
    answer = registers(client)
    row = OAuthClient.objects.get()
    assert (answer.status_code, answer.json()["client_id"]) == (201, row.client_id)
    assert (row.status, row.origin, row.is_confidential) == ("pending", "dcr", False)
    assert (answer.json()["token_endpoint_auth_method"], "client_secret" in answer.json()) == ("none", False)
    assert answer.headers["Cache-Control"] == "no-store"


def test_it_is_off_unless_the_organisation_wants_it(client: Client, organization: Organization) -> None:
    Organization.objects.update(clients_may_register=False)
    assert registers(client).status_code == 403
    assert not OAuthClient.objects.exists()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["authorization_code", oauth_clients.JWT_BEARER]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "invalid_client_metadata"),
        ({"scope": "bundle:support openid-everything"}, "invalid_client_metadata"),
        ({"scope": ["bundle:support"]}, "invalid_client_metadata"),
        ({"redirect_uris": ["http://evil.example.com/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://*.example.com/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://a.example/{n}" for n in range(30)]}, "invalid_redirect_uri"),
        ({"client_name": ""}, "invalid_client_metadata"),
    ],
)  # fmt: skip
def test_who_asks_for_more_is_refused(client: Client, change: dict[str, Any], error: str) -> None:
    body = {"client_name": "Inspector", "redirect_uris": ["http://127.0.0.1/cb"], **change}
    answer = registers(client, body)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert not OAuthClient.objects.exists()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 9000, b'{"a":' * 40 + b"1" + b"}" * 40, b" " * 17_000]
)
def test_what_is_no_registration_is_refused_in_order(client: Client, body: bytes) -> None:
    assert registers(client, body).status_code == 400


def test_nobody_fills_the_queue(client: Client) -> None:
    answers = [registers(client).status_code for _ in range(MOST_AN_HOUR + 2)]
    assert answers == [201] * MOST_AN_HOUR + [429] * 2
    assert registers(client, REMOTE_ADDR="192.0.2.7").status_code == 201


def test_the_queue_has_an_end(client: Client) -> None:
    OAuthClient.objects.bulk_create(
        OAuthClient(client_id=f"c{n}", name="c", origin="dcr", created_by="x") for n in range(MOST_WAITING)
    )
    assert registers(client).status_code == 503
    assert OAuthClient.objects.count() == MOST_WAITING


def looks_after(client: Client, method: str, registered: dict[str, Any], body: Any = None, token: str = "") -> Any:
    bearer = f"Bearer {token or registered['registration_access_token']}"
    ask = getattr(client, method)
    address = f"/oauth/register/{registered['client_id']}"
    raw = json.dumps(body) if body is not None else ""
    return ask(address, raw, content_type="application/json", headers={"Authorization": bearer})


def test_a_client_looks_after_what_it_registered(client: Client) -> None:
    mine, others = registers(client).json(), registers(client).json()
    approve(OAuthClient.objects.get(client_id=mine["client_id"]))
    body = {"client_id": mine["client_id"], "client_name": "New", "redirect_uris": ["https://new.example.com/cb"]}
    assert looks_after(client, "put", mine, body).json()["client_name"] == "New"
    assert OAuthClient.objects.get(client_id=mine["client_id"]).status == "pending"
    assert looks_after(client, "put", mine, {**body, "client_id": others["client_id"]}).status_code == 400
    stranger = others["registration_access_token"]
    refused = {looks_after(client, each, mine, body, token=stranger).status_code for each in ("put", "delete")}
    assert refused == {401}
    assert looks_after(client, "delete", mine).status_code == 204
    assert OAuthClient.objects.get(client_id=mine["client_id"]).status == "disabled"
    assert looks_after(client, "put", mine, body).status_code == 401


def test_who_was_approved_under_one_name_waits_under_another(client: Client) -> None:
    mine = registers(client).json()
    approve(OAuthClient.objects.get())
    body = {"client_id": mine["client_id"], "client_name": "Inspector", "redirect_uris": ["http://127.0.0.1/cb"]}
    looks_after(client, "put", mine, body)
    assert OAuthClient.objects.get().status == "approved"
    looks_after(client, "put", mine, {**body, "client_name": "Claude Code"})
    assert OAuthClient.objects.get().status == "pending"


# Looking at them


def test_an_administrator_sees_where_codes_go_and_lets_it_in(host: FakeIssuer) -> None:
    client = shown()
    admin = sign_in("security")
    listed = admin.get("/admin/governance/oauthclient/?status__exact=pending").content.decode()
    assert ADDRESS in listed
    assert "the person&#x27;s own machine" in listed
    assert "wait" in admin.get("/admin/").content.decode()
    chosen = {"action": "approve", "_selected_action": [str(client.pk)]}
    assert "Approve 1 OAuth client?" in admin.post("/admin/governance/oauthclient/", chosen).content.decode()
    client.refresh_from_db()
    assert client.status == "pending"
    admin.post("/admin/governance/oauthclient/", {**chosen, "confirmed": "yes"})
    client.refresh_from_db()
    assert client.status == "approved"
    admin.post("/admin/governance/oauthclient/", {**chosen, "action": "disable", "confirmed": "yes"})
    client.refresh_from_db()
    assert client.status == "disabled"
