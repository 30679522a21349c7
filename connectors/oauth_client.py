"""What an OAuth client asks a token endpoint and its neighbours for: tokens, their renewal, their revocation, an
identity. No database, no vault: who calls brings the client's secret and keeps what comes back."""

import base64
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from connectors.egress import Egress
from connectors.oauth_discovery import PING, scopes_in
from connectors.oauth_http import OAuthFailure, Reply, post_form, post_json

LONGEST_TOKEN = 16 * 1024
LONGEST_LIFE = timedelta(days=3650)
BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"
_TOKEN = re.compile(r"[\x21-\x7e]+")
UNSAID_ERRORS = ("invalid_request", "invalid_client", "unauthorized_client")
FINAL_ERRORS = ("unsupported_token_type", "invalid_request", "invalid_client", "unauthorized_client")


@dataclass(frozen=True, slots=True)
class Client:
    """As whom we ask."""

    client_id: str
    client_secret: str = field(default="", repr=False)
    auth_method: str = NONE


@dataclass(frozen=True, slots=True)
class Given:
    """What a token endpoint gave. `refresh` is empty if it gave none: then the old one goes on."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at: datetime | None
    oauth_scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    client_id: str
    client_secret: str = field(repr=False)
    auth_method: str


def new_secret() -> str:
    """For `state` and the PKCE verifier: 256 random bits."""
    return secrets.token_urlsafe(32)


def challenge_of(verifier: str) -> str:
    """PKCE S256."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def authorization_url(endpoint: str, said: Mapping[str, str]) -> str:
    joint = "&" if urlsplit(endpoint).query else "?"
    return f"{endpoint}{joint}{urlencode(said)}"


def auth_method(metadata: Mapping[str, Any], *, has_secret: bool) -> str:
    """Of those the server offers; RFC 8414 says that a server which names none takes HTTP Basic."""
    if not has_secret:
        return NONE
    offered = metadata.get("token_endpoint_auth_methods_supported") or [BASIC]
    return POST if POST in offered and BASIC not in offered else BASIC


async def redeem(
    egress: Egress, endpoint: str, client: Client, *, code: str, verifier: str, redirect_uri: str, resource: str,
    now: datetime,
) -> Given:  # fmt: skip
    """The code of one authorization. Raises OAuthFailure."""
    said = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": redirect_uri,
        "resource": resource,
    }
    return _given(await _ask(egress, endpoint, client, said), now)


async def renew(egress: Egress, endpoint: str, client: Client, *, refresh: str, resource: str, now: datetime) -> Given:
    """Raises OAuthFailure; `invalid_grant` says that only its human can help."""
    said = {"grant_type": "refresh_token", "refresh_token": refresh, "resource": resource}
    return _given(await _ask(egress, endpoint, client, said), now)


async def own_token(
    egress: Egress, endpoint: str, client: Client, *, oauth_scopes: Iterable[str], resource: str, now: datetime
) -> Given:
    """The client's own account (client credentials). Raises OAuthFailure."""
    said = {"grant_type": "client_credentials", "resource": resource}
    if scope := " ".join(oauth_scopes):
        said["scope"] = scope
    return _given(await _ask(egress, endpoint, client, said), now)


async def revoke(egress: Egress, endpoint: str, client: Client, *, token: str, kind: str) -> None:
    """RFC 7009. `kind` is refresh_token or access_token. Raises OAuthFailure; `unreachable` may be tried again."""
    reply = await _sent(egress, endpoint, client, {"token": token, "token_type_hint": kind})
    if reply.status == 200:
        return
    if reply.error in FINAL_ERRORS and reply.status < 500:
        raise OAuthFailure(reply.error, f"The provider did not revoke it ({reply.error}).")
    raise OAuthFailure("unreachable", f"The provider answered with status {reply.status}.")


async def is_accepted(egress: Egress, resource: str, *, token: str) -> bool | None:
    """Whether the system itself still takes the token; None where its answer does not tell. Raises OAuthFailure."""
    reply = await post_json(egress, resource, PING, (("Authorization", f"Bearer {token}"),))
    return {200: True, 202: True, 401: False}.get(reply.status)


async def register(egress: Egress, endpoint: str, document: Mapping[str, Any]) -> Registered:
    """RFC 7591. Raises OAuthFailure."""
    reply = await post_json(egress, endpoint, document)
    client_id, client_secret = reply.body.get("client_id"), reply.body.get("client_secret", "")
    if reply.status not in (200, 201) or not _is_text(client_id, 500) or not isinstance(client_secret, str):
        raise OAuthFailure("not_registered", "The authorization server does not let us register ourselves.")
    if client_secret and not _is_text(client_secret, LONGEST_TOKEN):
        raise OAuthFailure("bad_answer", "The authorization server gave a client secret that cannot be used.")
    method = reply.body.get("token_endpoint_auth_method")
    known = method if method in (BASIC, POST, NONE) else (BASIC if client_secret else NONE)
    return Registered(str(client_id), client_secret, known)


async def _ask(egress: Egress, endpoint: str, client: Client, said: Mapping[str, str]) -> Reply:
    reply = await _sent(egress, endpoint, client, said)
    if reply.status == 200 and reply.body:
        return reply
    if reply.status in (400, 401, 403) and reply.error:
        raise OAuthFailure(reply.error, f"The authorization server refuses ({reply.error}).")
    raise OAuthFailure("unreachable", f"The authorization server answered with status {reply.status}.")


async def _sent(egress: Egress, endpoint: str, client: Client, said: Mapping[str, str]) -> Reply:
    """Servers built with the official MCP SDK want in the body what RFC 6749 section 2.3 lets a client leave out: the
    id beside HTTP Basic, the empty secret of who has none. Others may take that for a second proof, so it is said only
    to those who refuse without; a client that is refused has used up no code and no token."""
    fields, headers = _authenticated(client, said)
    reply = await post_form(egress, endpoint, fields, headers)
    if reply.error not in UNSAID_ERRORS or client.auth_method == POST:
        return reply
    more = {"client_id": client.client_id} | ({"client_secret": ""} if client.auth_method == NONE else {})
    return await post_form(egress, endpoint, fields | more, headers)


def _authenticated(client: Client, said: Mapping[str, str]) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    if client.auth_method == BASIC:
        pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
        return dict(said), (("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),)
    fields = {**said, "client_id": client.client_id}
    return (fields | {"client_secret": client.client_secret} if client.auth_method == POST else fields), ()


def _given(reply: Reply, now: datetime) -> Given:
    """Raises OAuthFailure (`bad_answer`) for what cannot be presented as a bearer token."""
    said = reply.body
    access, refresh = said.get("access_token"), said.get("refresh_token") or ""
    kind = said.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise OAuthFailure("bad_answer", "The authorization server gave a token of a kind that we do not present.")
    if not _is_text(access, LONGEST_TOKEN) or (refresh and not _is_text(refresh, LONGEST_TOKEN)):
        raise OAuthFailure("bad_answer", "The authorization server gave a token that cannot be used.")
    scope = said.get("scope")
    scopes = scopes_in(scope.split(" ")) if isinstance(scope, str) else ()
    return Given(str(access), refresh, _end(said.get("expires_in"), now), scopes)


def _end(seconds: object, now: datetime) -> datetime | None:
    """None: it does not say, so the token is used until it is refused."""
    if isinstance(seconds, str) and seconds.isdecimal() and len(seconds) < 12:
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        return None
    return now + timedelta(seconds=min(float(seconds), LONGEST_LIFE.total_seconds()))


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and _TOKEN.fullmatch(value) is not None
