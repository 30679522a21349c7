"""Clients of our authorization server: registering, approving, disabling them; and where an answer may be sent."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from governance import authorizations, key_text, oauth_tokens
from governance.agent_clients import CLIENT_CREDENTIALS, JWT_BEARER, told_of
from governance.facts import Fact, Recorder
from governance.models import OAuthClient, User

CODE = "authorization_code"
REFRESH = "refresh_token"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = (CODE, REFRESH, DEVICE, CLIENT_CREDENTIALS, JWT_BEARER)
FOR_PEOPLE = (CODE, REFRESH, DEVICE)
SECRET_PREFIX = "gate_cs_"  # noqa: S105 - what secrets begin with
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_REDIRECTS = 20
LONGEST_REDIRECT = 2000
FORBIDDEN_SCHEMES = frozenset(("javascript", "data", "vbscript", "file", "blob", "about", "ws", "wss", "ftp"))


class BadClient(Exception):
    """Such a client cannot be registered; `field` is what will not do, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Registered:
    """The only moment at which a secret exists; empty for a public client."""

    client: OAuthClient
    secret: str = field(default="", repr=False)


def new_client_id() -> str:
    return f"gate_client_{secrets.token_urlsafe(16)}"


def register(
    *,
    name: str,
    redirect_uris: Iterable[str],
    grant_types: Iterable[str] = FOR_PEOPLE,
    client_id: str = "",
    origin: str = OAuthClient.Origin.ADMIN,
    status: str = OAuthClient.Status.APPROVED,
    has_secret: bool = False,
    registered_by: User | None = None,
    by: str,
    record: Recorder,
    now: datetime,
) -> Registered:
    """A client that people let in. Raises BadClient."""
    uris, grants = list(redirect_uris), list(grant_types)
    check_redirects(uris)
    if not name.strip() or len(name) > 100:
        raise BadClient("name", "Name the client, in at most 100 characters.")
    allowed = (*FOR_PEOPLE, JWT_BEARER) if has_secret else FOR_PEOPLE
    if not grants or set(grants) - set(allowed) or (CODE in grants and not uris):
        raise BadClient("grant_types", f"Choose among {', '.join(allowed)}; codes need a redirect URI.")
    secret = key_text.new_text(SECRET_PREFIX) if has_secret else ""
    client = OAuthClient.objects.create(
        client_id=client_id or new_client_id(),
        name=name.strip(),
        status=status,
        origin=origin,
        redirect_uris=uris,
        grant_types=grants,
        secret_digest=key_text.digest_of(secret) if secret else None,
        registered_by=registered_by,
        created_by=by,
    )
    record(Fact("oauth_client.registered", f"oauth_client:{client.client_id}", told_of(client)))
    return Registered(client, secret)


def approve(client: OAuthClient, *, by: str, record: Recorder) -> bool:
    """From the queue, or after it was disabled; what was ended stays ended. False if it was approved already."""
    rows = OAuthClient.objects.filter(id=client.id).exclude(status=OAuthClient.Status.APPROVED)
    if not rows.update(status=OAuthClient.Status.APPROVED):
        return False
    record(Fact("oauth_client.approved", f"oauth_client:{client.client_id}", {"by": by}))
    return True


def disable(client: OAuthClient, *, by: str, record: Recorder, now: datetime) -> int:
    """Nobody is let in by it any more, and all it holds ends; returns how many authorizations did.

    Its row is taken first: whoever issues a token for it holds that row meanwhile.
    """
    rows = OAuthClient.objects.filter(id=client.id).exclude(status=OAuthClient.Status.DISABLED)
    if rows.update(status=OAuthClient.Status.DISABLED):
        record(Fact("oauth_client.disabled", f"oauth_client:{client.client_id}", {"by": by}))
    ended = authorizations.end_of_client(client, by=by, record=record, now=now)
    oauth_tokens.end_those_of_client(client, by=by, record=record, now=now)
    return ended


# -- where an answer may be sent


def check_redirects(uris: list[str]) -> None:
    """Raises BadClient for what no client may register: a browser would run it, or anybody could listen."""
    if len(uris) > MOST_REDIRECTS:
        raise BadClient("redirect_uris", f"At most {MOST_REDIRECTS} redirect URIs.")
    for uri in uris:
        if not _is_registrable(uri):
            raise BadClient("redirect_uris", f"'{uri[:100]}' may not be a redirect URI.")


def _is_registrable(uri: str) -> bool:
    if not 0 < len(uri) <= LONGEST_REDIRECT or not uri.isascii() or not uri.isprintable() or " " in uri:
        return False
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    if not parts.scheme or "#" in uri or "\\" in uri or "@" in parts.netloc or "*" in parts.netloc:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme == "http":
        return parts.hostname in LOOPBACK
    return parts.scheme not in FORBIDDEN_SCHEMES and (bool(parts.netloc) or len(parts.path) > 1)


def is_loopback(uri: str) -> bool:
    """Whoever runs on the person's machine may listen there."""
    parts = urlsplit(uri)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def redirect_allowed(uri: str, registered: Iterable[str]) -> bool:
    """The very same string; at a loopback address any port (RFC 8252 section 7.3, and `localhost` as clients do)."""
    if not _is_registrable(uri):
        return False
    if uri in registered:
        return True
    return is_loopback(uri) and any(is_loopback(other) and _portless(other) == _portless(uri) for other in registered)


def _portless(uri: str) -> tuple[str | None, str, str, bool]:
    parts = urlsplit(uri)
    return parts.hostname, parts.path, parts.query, "?" in uri
