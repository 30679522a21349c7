"""A person connects her account: off to the provider's page, and back with a code.

What we must remember meanwhile is one sealed row, found by the digest of `state`, good for ten minutes and one use, and
bound to the person and the browser session that set out. Whoever else comes back with it has nothing.
"""

import asyncio
import hmac
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import BoundedSemaphore
from typing import Final
from uuid import UUID

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from connectors import oauth_client
from connectors.oauth_client import Client, Given
from connectors.oauth_http import OAuthFailure
from gateway.accounts.renewing import new_egress
from gateway.accounts.revoking import revoke_tokens
from gateway.accounts.setting_up import place_of, redirect_uri
from gateway.actions import act
from gateway.models import AccountConnection
from gateway.sealing import NotOurs, seal, unseal
from governance import connected_accounts
from governance.account_tokens import Tokens, open_client
from governance.connected_accounts import CannotConnect, covers
from governance.models import Connector, UpstreamClient, UpstreamGrant, User
from governance.snapshot import Bundle, Snapshot
from governance.vault import VaultError, keyring

logger = logging.getLogger(__name__)

PURPOSE: Final = "account connection"
LIFETIME: Final = timedelta(minutes=10)
MOST_OPEN: Final = 10
LONGEST_CODE: Final = 4_096
LONGEST_STATE: Final = 200
AT_ONCE = BoundedSemaphore(6)
"""Providers that are asked at once: the other pages need turns, too."""
NOT_HERE = "This answer belongs to no connection that you began here in the last ten minutes. Begin again."
FROM_ANOTHER = "The answer came from another provider than the one you were sent to. Nothing was connected."
SAID_NO = {
    "access_denied": "You did not agree, or the provider did not let you. Nothing was connected.",
    "temporarily_unavailable": "The provider is not available now. Try again later.",
}


@dataclass(frozen=True, slots=True)
class Begun:
    """What we want to know when she comes back."""

    client: str
    issuer: str
    session: str
    needs_issuer: bool
    verifier: str = field(repr=False)


# -- which accounts


def connectors_for(person: User, snapshot: Snapshot, now: datetime) -> list[str]:
    """Ids of the systems where an account of hers is of use: those that she or an agent of hers reaches, and those she
    answers for. Others do not exist for her."""
    me = person.pk.hex
    bundles = list(snapshot.person_bundles(me, now))
    for agent in snapshot.agents.values():
        if agent.owner.id == me and agent.is_live:
            bundles += snapshot.bundles_of(agent, now)
    reached = set(_connectors(bundles))
    return [
        each.id
        for each in sorted(snapshot.connectors.values(), key=lambda each: each.name)
        if each.account == "person" and (each.id in reached or each.owner_id == me)
    ]


def _connectors(bundles: Iterable[Bundle]) -> Iterator[str]:
    for bundle in bundles:
        yield from (tool.connector.id for tool in bundle.tools.values())
        yield from (selection.connector.id for selection in bundle.selections)


# -- off to the provider


def begin(connector: Connector, person: User, *, session_key: str) -> str:
    """The address of the provider's page. Raises CannotConnect."""
    client = UpstreamClient.objects.select_related("server").filter(connector=connector).first()
    if client is None or not covers(client.resource, connector.urls):
        raise CannotConnect("An administrator has to set up this system's authorization server first.")
    state, verifier = oauth_client.new_secret(), oauth_client.new_secret()
    metadata, issuer = client.server.metadata, client.server.issuer
    begun = Begun(
        client=client.pk.hex,
        issuer=issuer,
        session=_digest(session_key).hex(),
        needs_issuer=metadata.get("authorization_response_iss_parameter_supported") is True,
        verifier=verifier,
    )
    said = {
        "response_type": "code",
        "client_id": _client_id(client),
        "redirect_uri": redirect_uri(issuer),
        "state": state,
        "code_challenge": oauth_client.challenge_of(verifier),
        "code_challenge_method": "S256",
        "resource": client.resource,
    }
    if client.oauth_scopes:
        said["scope"] = " ".join(client.oauth_scopes)
    _remember(state, begun, person)
    return oauth_client.authorization_url(metadata["authorization_endpoint"], said)


def _client_id(client: UpstreamClient) -> str:
    """Raises CannotConnect."""
    try:
        return open_client(client, keyring=keyring())[0]
    except VaultError:
        raise CannotConnect("The client's id cannot be read now. Tell an administrator.") from None


@transaction.atomic
def _remember(state: str, begun: Begun, person: User) -> None:
    digest, now = _digest(state), datetime.now(UTC)
    hers = AccountConnection.objects.filter(person_id=person.pk).order_by("-expires_at")
    AccountConnection.objects.filter(pk__in=[row.pk for row in hers[MOST_OPEN - 1 :]]).delete()
    sealed = seal(PURPOSE, json.dumps(asdict(begun)).encode(), bound_to=_binding(digest, person))
    AccountConnection.objects.create(digest=digest, person_id=person.pk, sealed=sealed, expires_at=now + LIFETIME)


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _binding(digest: bytes, person: User) -> str:
    return f"{person.pk.hex} {digest.hex()}"


# -- and back


def finish(said: Mapping[str, str], *, place: str, person: User, session_key: str) -> UpstreamGrant:
    """`said` are the parameters of the provider's answer, `place` where it came to. Raises CannotConnect."""
    begun = _taken(said.get("state", ""), person, session_key)
    if place_of(begun.issuer) != place or said.get("iss", "") not in _issuers(begun):
        raise CannotConnect(FROM_ANOTHER)
    if error := said.get("error"):
        raise CannotConnect(SAID_NO.get(error, "The provider refused. Nothing was connected."))
    code = said.get("code", "")
    if not 0 < len(code) <= LONGEST_CODE or not code.isascii() or not code.isprintable():
        raise CannotConnect("The provider's answer cannot be read. Nothing was connected.")
    client = UpstreamClient.objects.select_related("server", "secret").filter(pk=UUID(begun.client)).first()
    if client is None or client.connector_id is None or client.server.issuer != begun.issuer:
        raise CannotConnect("Something changed meanwhile. Begin again.")
    given = _redeemed(client, code, begun)
    return _kept(client, given, person)


def _issuers(begun: Begun) -> tuple[str, ...]:
    """What `iss` may say (RFC 9207): where the server promises to say it, silence is somebody else's."""
    return (begun.issuer,) if begun.needs_issuer else (begun.issuer, "")


def _taken(state: str, person: User, session_key: str) -> Begun:
    """Once. Raises CannotConnect. Somebody else's row is not found, and stays for its own person."""
    digest = _digest(state) if 0 < len(state) <= LONGEST_STATE else b""
    with transaction.atomic():
        rows = AccountConnection.objects.filter(digest=digest, person_id=person.pk, expires_at__gt=datetime.now(UTC))
        row = rows.select_for_update().first()
        is_mine = row is not None and rows.delete()[0] == 1
    if row is None or not is_mine:
        raise CannotConnect(NOT_HERE)
    try:
        begun = Begun(**json.loads(unseal(PURPOSE, bytes(row.sealed), bound_to=_binding(digest, person))))
    except NotOurs:
        raise CannotConnect(NOT_HERE) from None
    if not hmac.compare_digest(begun.session, _digest(session_key).hex()):
        raise CannotConnect(NOT_HERE)
    return begun


@sensitive_variables()
def _redeemed(client: UpstreamClient, code: str, begun: Begun) -> Given:
    """Raises CannotConnect."""
    try:
        client_id, client_secret = open_client(client, keyring=keyring())
        known = Client(client_id, client_secret, client.auth_method)
        with _a_place():
            return asyncio.run(_redeem(client, known, code, begun))
    except VaultError:
        raise CannotConnect("The client's secret cannot be read now. Tell an administrator.") from None
    except OAuthFailure as failure:
        logger.warning("connecting an account at %s failed: %s", begun.issuer, failure.code)
        raise CannotConnect("The provider did not accept the answer. Begin again.") from None


@contextmanager
def _a_place() -> Iterator[None]:
    """Raises CannotConnect."""
    if not AT_ONCE.acquire(blocking=False):
        raise CannotConnect("Too many accounts are being connected right now. Begin again in a moment.")
    try:
        yield
    finally:
        AT_ONCE.release()


@sensitive_variables()
async def _redeem(client: UpstreamClient, known: Client, code: str, begun: Begun) -> Given:
    egress = new_egress()
    try:
        return await oauth_client.redeem(
            egress,
            client.server.metadata["token_endpoint"],
            known,
            code=code,
            verifier=begun.verifier,
            redirect_uri=redirect_uri(begun.issuer),
            resource=client.resource,
            now=datetime.now(UTC),
        )
    finally:
        egress.close()


@sensitive_variables()
def _kept(client: UpstreamClient, given: Given, person: User) -> UpstreamGrant:
    """Raises CannotConnect."""
    tokens = Tokens(given.access, given.refresh, given.expires_at, given.oauth_scopes)
    by = f"person:{person.email}"
    try:
        return act(
            lambda record, now: connected_accounts.connect(client, person, tokens, by=by, record=record, now=now), by=by
        )
    except CannotConnect:
        _hand_back(client, tokens)
        raise


@sensitive_variables()
def _hand_back(client: UpstreamClient, tokens: Tokens) -> None:
    """What nobody may use is better revoked; where that fails, it ends by itself, and nobody knows it."""
    endpoint = client.server.metadata.get("revocation_endpoint")
    if endpoint:
        client_id, client_secret = open_client(client, keyring=keyring())
        asyncio.run(revoke_tokens(endpoint, Client(client_id, client_secret, client.auth_method), tokens))
