"""From a connector's address to the way its accounts are connected: who authorizes, and as whom we are known there.

An administrator's act. Everything found on the way is the upstream's word, so a different authorization server than the
one she agreed to is never taken over silently.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings

from connectors import oauth_client, oauth_discovery
from connectors.egress import Egress
from connectors.oauth_discovery import Found
from connectors.oauth_http import OAuthFailure
from gateway.accounts.renewing import new_egress
from gateway.actions import act
from governance import connected_accounts
from governance.connected_accounts import ClientIdentity
from governance.destinations import SENT_ELSEWHERE, may_send
from governance.facts import Recorder
from governance.models import Connector, Secret, UpstreamClient, User

DOCUMENT_PATH = "/.well-known/gateway-client.json"
NAME = "Gatehouse"
PERSON = Connector.Account.PERSON
REGISTERED = UpstreamClient.Source.REGISTERED


class CannotSetUp(Exception):
    """The message says why, and what an administrator can do; it holds nothing that the upstream wrote."""


class OtherIssuer(CannotSetUp):
    """The upstream names another authorization server than before; `issuer` is what she would have to agree to."""

    def __init__(self, issuer: str) -> None:
        super().__init__(
            f"The system now names another authorization server: {issuer}. Agree to it only if you know why."
        )
        self.issuer = issuer


@dataclass(frozen=True, slots=True)
class Wanted:
    """A connector as it stood when its upstream was asked."""

    connector: Connector
    pinned: UpstreamClient | None
    url: str

    @property
    def pinned_issuer(self) -> str:
        return self.pinned.server.issuer if self.pinned is not None else ""


def redirect_uri(issuer: str) -> str:
    """Another one for each server: an answer that comes to the wrong one was meant for another (mix-up)."""
    return f"{settings.PUBLIC_URL}/oauth/callback/{place_of(issuer)}/"


def place_of(issuer: str) -> str:
    return sha256(issuer.encode()).hexdigest()[:16]


def set_up(connector_id: UUID, *, person: User, agreed_issuer: str = "") -> UpstreamClient:
    """Asks the upstream, then its authorization server, then writes. Raises CannotSetUp."""
    by = f"person:{person.email}"
    wanted = _wanted(connector_id)
    try:
        found, identity = asyncio.run(_found(wanted, agreed_issuer))
    except OAuthFailure as failure:
        raise CannotSetUp(failure.message) from None
    return act(lambda record, now: _written(wanted, found, identity, person=person, record=record, now=now), by=by)


def _wanted(connector_id: UUID) -> Wanted:
    connector = Connector.objects.select_related("secret").get(pk=connector_id)
    if not connector.account:
        raise CannotSetUp("Choose first whose account calls of this connector use.")
    if len({_origin(url) for url in connector.urls}) != 1:
        raise CannotSetUp("Accounts need a system with one address.")
    if connector.secret is not None and connector.secret.kind != Secret.Kind.OAUTH_CLIENT:
        raise CannotSetUp("With accounts, the secret must be of kind OAuth client: it says as which client we come.")
    if connector.account != PERSON and connector.secret is None:
        raise CannotSetUp("The gateway's own account needs a secret of kind OAuth client.")
    pinned = UpstreamClient.objects.select_related("server").filter(connector=connector).first()
    return Wanted(connector, pinned, str(connector.urls[0]))


def _origin(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


async def _found(wanted: Wanted, agreed_issuer: str) -> tuple[Found, ClientIdentity]:
    egress = new_egress()
    try:
        found = await oauth_discovery.discover(egress, wanted.url, pinned_issuer=wanted.pinned_issuer)
        if wanted.pinned is not None and found.issuer not in (wanted.pinned_issuer, agreed_issuer):
            raise OtherIssuer(found.issuer)
        if wanted.connector.account == PERSON:
            _check_for_people(found.metadata)
        return found, await _identity(egress, wanted, found)
    finally:
        egress.close()


def _check_for_people(metadata: Mapping[str, Any]) -> None:
    if "authorization_endpoint" not in metadata:
        raise CannotSetUp("Its authorization server has no page where people could agree.")
    if "S256" not in metadata.get("code_challenge_methods_supported", ()):
        raise CannotSetUp("Its authorization server does not offer PKCE with S256, without which codes can be stolen.")


async def _identity(egress: Egress, wanted: Wanted, found: Found) -> ClientIdentity:
    """What an administrator entered counts first, then what was agreed before, then a public document, then
    registration. Raises OAuthFailure."""
    secret, metadata, pinned = wanted.connector.secret, found.metadata, wanted.pinned
    if secret is not None:
        method = oauth_client.auth_method(metadata, has_secret=True)
        return ClientIdentity(UpstreamClient.Source.SECRET, auth_method=method, secret=secret)
    if settings.HTTPS and metadata.get("client_id_metadata_document_supported"):
        return ClientIdentity(UpstreamClient.Source.DOCUMENT, f"{settings.PUBLIC_URL}{DOCUMENT_PATH}")
    if (
        pinned is not None
        and pinned.server.issuer == found.issuer
        and pinned.source == UpstreamClient.Source.REGISTERED
    ):
        return ClientIdentity(pinned.source, pinned.client_id, pinned.auth_method)
    if "registration_endpoint" not in metadata:
        raise CannotSetUp(
            f"Its authorization server {found.issuer} does not let us register ourselves. Register a client there with"
            f" the redirect address {redirect_uri(found.issuer)}, store its id and secret as a secret of kind OAuth"
            " client, and choose it as this connector's secret."
        )
    registered = await oauth_client.register(
        egress, metadata["registration_endpoint"], _registration(found.issuer, found.oauth_scopes)
    )
    return ClientIdentity(
        UpstreamClient.Source.REGISTERED,
        registered.client_id,
        registered.auth_method,
        client_secret=registered.client_secret,
    )


def _registration(issuer: str, oauth_scopes: tuple[str, ...]) -> dict[str, Any]:
    scope = {"scope": " ".join(oauth_scopes)} if oauth_scopes else {}
    return {**described(), **scope, "redirect_uris": [redirect_uri(issuer)]}


def described() -> dict[str, Any]:
    """What we say of ourselves wherever we are asked: a public client, kept safe by PKCE."""
    return {
        "client_name": NAME,
        "client_uri": settings.PUBLIC_URL,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }


def client_document() -> dict[str, Any]:
    """Ours (CIMD), for servers that know clients by an address. Tells no more of us than those servers see."""
    rows = UpstreamClient.objects.filter(source=UpstreamClient.Source.DOCUMENT, connector__isnull=False)
    issuers = sorted(set(rows.values_list("server__issuer", flat=True)))
    return {
        "client_id": f"{settings.PUBLIC_URL}{DOCUMENT_PATH}",
        **described(),
        "redirect_uris": [redirect_uri(issuer) for issuer in issuers],
    }


def _written(
    wanted: Wanted, found: Found, identity: ClientIdentity, *, person: User, record: Recorder, now: datetime
) -> UpstreamClient:
    connector = Connector.objects.select_for_update().filter(pk=wanted.connector.pk).first()
    asked = wanted.connector
    if connector is None or (connector.urls, connector.account, connector.secret_id) != (
        asked.urls,
        asked.account,
        asked.secret_id,
    ):
        raise CannotSetUp("The connector was changed meanwhile. Nothing was kept; try again.")
    if identity.secret is not None and not _may_present(identity.secret, wanted, found, person):
        raise CannotSetUp(SENT_ELSEWHERE)
    server = connected_accounts.put_server(found.issuer, found.metadata, now=now)
    scopes = connector.oauth_scopes or found.oauth_scopes
    by = f"person:{person.email}"
    return connected_accounts.set_client(
        connector, server, identity, resource=found.resource, oauth_scopes=scopes, by=by, record=record, now=now
    )


def _may_present(secret: Secret, wanted: Wanted, found: Found, person: User) -> bool:
    """Whether the client's secret goes where it goes already, or whoever asks may send it elsewhere."""
    pinned = wanted.pinned
    is_known = pinned is not None and (pinned.server.issuer, pinned.secret_id) == (found.issuer, secret.pk)
    return is_known or may_send(secret, [found.issuer], person=person)
