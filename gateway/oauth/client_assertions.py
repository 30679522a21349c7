"""How an agent's own client proves itself without a secret: private_key_jwt (RFC 7523), by a key registered for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.oauth.assertions import Expected, NotBelieved, Statement, Unproven, believe, read
from gateway.oauth.trusted import our_names
from governance import agent_keys
from governance.jwk_sets import PublicKey, UnusableKeys, public_key
from governance.models import AgentCredential, OAuthClient

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = ("ES256", "ES384", "ES512", "EdDSA", "RS256")
LONGEST: Final = timedelta(minutes=10)
KINDS: Final = ("", "JWT", "client-authentication+jwt")


@dataclass(frozen=True, slots=True)
class Proven:
    """The client, and by which of its credentials; the statement is to be spent with what it is taken for."""

    client: OAuthClient
    credential: AgentCredential
    statement: Statement


def prove(assertion: str, *, client_id: str = "", now: datetime) -> Proven:
    """`client_id` is what the request says besides, if it does. Raises NotBelieved.

    A key serves one client alone, so a statement of another agent is by nobody. Reads only; spends nothing.
    """
    unproven = read(assertion)
    claimed = unproven.issuer
    if unproven.claims.get("sub") != claimed or (client_id and client_id != claimed):
        raise NotBelieved("issuer", "It is not by the client for itself.")
    client = _client(claimed)
    for credential, key in _keys_of(client, unproven, now):
        try:
            statement = believe(unproven, _expected(claimed), lambda _, key=key: [key], now=now)  # type: ignore[misc]
        except NotBelieved as reason:
            if reason.code == "signature":
                continue
            raise
        return Proven(client, credential, statement)
    raise NotBelieved("signature", "No key of the client made its signature.")


def _expected(client_id: str) -> Expected:
    return Expected(issuer=client_id, audiences=our_names(), algorithms=ALGORITHMS, kinds=KINDS, longest=LONGEST)


def _client(client_id: str) -> OAuthClient:
    clients = OAuthClient.objects.select_related("agent__owner").exclude(agent=None)
    client = clients.filter(client_id=client_id, status=OAuthClient.Status.APPROVED).first()
    if client is None:
        raise NotBelieved("issuer", "There is no such client.")
    return client


def _keys_of(client: OAuthClient, unproven: Unproven, now: datetime) -> Iterator[tuple[AgentCredential, PublicKey]]:
    """Named by its thumbprint, or all that sign this way: an agent has few."""
    live = AgentCredential.objects.filter(agent_keys.live(now), agent=client.agent)
    registered = live.filter(kind=AgentCredential.Kind.PUBLIC_KEY).order_by("-created_at")
    named = registered.filter(thumbprint=unproven.key_id) if unproven.key_id else registered.none()
    for credential in list(named) or list(registered[: agent_keys.MOST_LIVE]):
        jwk = credential.public_key or {}
        if jwk.get("alg") != unproven.algorithm or (credential.not_before is not None and credential.not_before > now):
            continue
        try:
            yield credential, public_key(jwk)
        except UnusableKeys:
            continue
