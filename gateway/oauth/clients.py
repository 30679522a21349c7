"""Which client a request to the token endpoint is from, and how it proves that."""

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote_plus

from gateway.oauth.assertions import NotBelieved, Statement
from gateway.oauth.client_assertions import ASSERTION_TYPE, prove
from governance import agent_keys, key_text
from governance.models import AgentCredential, OAuthClient

LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request says of its client, in any of the three ways; several at once prove nothing (RFC 6749 2.3)."""

    client_id: str = ""
    secret: str = field(default="", repr=False)
    assertion_type: str = ""
    assertion: str = field(default="", repr=False)
    basic: str = field(default="", repr=False)
    """The Authorization header, if it is of that scheme."""

    @property
    def is_proof(self) -> bool:
        return bool(self.secret or self.assertion or self.basic)


@dataclass(frozen=True, slots=True)
class Proven:
    """`credential` is that of an agent; `statement` is still to be spent with what it is taken for."""

    client: OAuthClient
    credential: AgentCredential | None = None
    statement: Statement | None = None


def find_client(client_id: str) -> OAuthClient | None:
    """An approved one."""
    if not 0 < len(client_id) <= 255 or not client_id.isprintable():
        return None
    rows = OAuthClient.objects.filter(client_id=client_id, status=OAuthClient.Status.APPROVED)
    return rows.order_by("id").first()


def prove_client(shown: Shown, *, now: datetime) -> Proven | None:
    """None for all that does not prove it, whatever is wrong with it. Not inside a transaction."""
    if sum(map(bool, (shown.secret, shown.assertion, shown.basic))) != 1:
        return None
    if shown.assertion:
        return _by_assertion(shown, now)
    client_id, secret = (shown.client_id, shown.secret) if shown.secret else _of_basic(shown.basic)
    if shown.client_id and client_id != shown.client_id:
        return None
    client = find_client(client_id)
    return _by_secret(client, secret, now) if client is not None else None


def _by_assertion(shown: Shown, now: datetime) -> Proven | None:
    if shown.assertion_type != ASSERTION_TYPE:
        return None
    try:
        found = prove(shown.assertion, client_id=shown.client_id, now=now)
    except NotBelieved:
        return None
    return Proven(found.client, found.credential, found.statement)


def _of_basic(header: str) -> tuple[str, str]:
    """Both halves are form-encoded (RFC 6749 section 2.3.1)."""
    try:
        decoded = base64.b64decode(header.partition(" ")[2][:LONGEST], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def _by_secret(client: OAuthClient, secret: str, now: datetime) -> Proven | None:
    """256 random bits need no slow hash: a look-up by digest is all there is to guess at."""
    digest = key_text.digest_of(secret)
    if client.agent_id is None:
        known = client.secret_digest
        return Proven(client) if known is not None and hmac.compare_digest(bytes(known), digest) else None
    live = AgentCredential.objects.filter(agent_keys.live(now), kind=AgentCredential.Kind.CLIENT_SECRET)
    found = live.filter(agent_id=client.agent_id, digest=digest).select_related("agent")
    credential = found.order_by("id").first()
    if credential is None or (credential.not_before is not None and credential.not_before > now):
        return None
    return Proven(client, credential)
