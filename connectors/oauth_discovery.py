"""From the address of a protected upstream to its authorization server: RFC 9728, then RFC 8414 or OpenID discovery."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from connectors.egress import Egress
from connectors.oauth_http import OAuthFailure, Reply, get, is_fit_url, post_json

MOST_SCOPES = 100
LONGEST_SCOPE = 200
LONGEST_CHALLENGE = 4_096
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "revocation_endpoint", "registration_endpoint")
LISTS = (
    "grant_types_supported",
    "code_challenge_methods_supported",
    "token_endpoint_auth_methods_supported",
    "revocation_endpoint_auth_methods_supported",
)
FLAGS = ("client_id_metadata_document_supported", "authorization_response_iss_parameter_supported")
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_PARAMETER = re.compile(r'\b(resource_metadata|scope)\s*=\s*"([^"\\]{0,1000})"', re.IGNORECASE)
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


@dataclass(frozen=True, slots=True)
class Found:
    """`metadata` is what the server says of itself, cut to what we use and checked. `oauth_scopes` are those that the
    upstream names."""

    issuer: str
    metadata: Mapping[str, Any] = field(repr=False)
    resource: str
    oauth_scopes: tuple[str, ...]


async def discover(egress: Egress, url: str, *, pinned_issuer: str = "") -> Found:
    """Raises OAuthFailure. Of several servers the pinned one if the upstream still names it, else the first."""
    challenge = await _challenge(egress, url)
    resource = await _resource_metadata(egress, url, challenge.get("resource_metadata", ""))
    issuers = _issuers(resource) or [_origin(url)]
    issuer = pinned_issuer if pinned_issuer in issuers else issuers[0]
    metadata = await server_metadata(egress, issuer)
    scopes = scopes_in(challenge.get("scope", "").split(" ")) or scopes_in(resource.get("scopes_supported"))
    return Found(issuer, metadata, _resource(resource, url), scopes)


async def _challenge(egress: Egress, url: str) -> dict[str, str]:
    """What the upstream says when it is asked without a token."""
    reply = await post_json(egress, url, PING)
    said = reply.headers.get("www-authenticate", "")[:LONGEST_CHALLENGE]
    return {name.lower(): value for name, value in _PARAMETER.findall(said)} if reply.status == 401 else {}


async def _resource_metadata(egress: Egress, url: str, named: str) -> dict[str, Any]:
    """Empty if the upstream has none: those of before RFC 9728 are their own authorization servers."""
    for place in _once(named, *_well_known(url, "oauth-protected-resource")):
        reply = await get(egress, place)
        if reply.status == 200 and reply.body:
            return reply.body
        if reply.status >= 500:
            raise OAuthFailure("unreachable", "The upstream fails to say who authorizes for it.")
    return {}


def _resource(document: Mapping[str, Any], url: str) -> str:
    """What tokens are asked for. It must be this upstream, or a token for it would be good elsewhere."""
    named = document.get("resource", url)
    if not is_fit_url(named):
        raise OAuthFailure("bad_metadata", "The upstream's resource identifier is no plain https address.")
    wanted, own = urlsplit(named), urlsplit(url)
    path = wanted.path.rstrip("/")
    is_above = own.path == path or own.path.startswith(f"{path}/")
    if (wanted.scheme, wanted.netloc.lower()) != (own.scheme, own.netloc.lower()) or not is_above:
        raise OAuthFailure("bad_metadata", "The upstream's resource identifier is another system's.")
    return str(named)


def _issuers(document: Mapping[str, Any]) -> list[str]:
    named = document.get("authorization_servers")
    return [each for each in named[:10] if is_fit_url(each)] if isinstance(named, list) else []


async def server_metadata(egress: Egress, issuer: str) -> dict[str, Any]:
    """Raises OAuthFailure."""
    if not is_fit_url(issuer, with_query=False):
        raise OAuthFailure("bad_metadata", "The authorization server's name is no plain https address.")
    for place in _once(*_well_known(issuer, "oauth-authorization-server")[:1], *_openid(issuer)):
        reply = await get(egress, place)
        if reply.status == 200 and reply.body:
            return _checked(reply, issuer)
        if reply.status >= 500:
            raise OAuthFailure("unreachable", "The authorization server fails to describe itself.")
    raise OAuthFailure("no_metadata", "Nothing describes an authorization server of this system.")


def _checked(reply: Reply, issuer: str) -> dict[str, Any]:
    """The issuer is compared letter by letter (RFC 8414 section 3.3): else one server could speak for another."""
    said = reply.body
    if said.get("issuer") != issuer:
        raise OAuthFailure("bad_metadata", "The authorization server's description is another one's.")
    kept: dict[str, Any] = {name: said[name] for name in ENDPOINTS if said.get(name) is not None}
    if not all(is_fit_url(address) for address in kept.values()) or "token_endpoint" not in kept:
        raise OAuthFailure("bad_metadata", "An address of the authorization server is no plain https address.")
    kept |= {name: _texts(said[name]) for name in LISTS if name in said}
    kept |= {name: said.get(name) is True for name in FLAGS}
    return kept


def scopes_in(named: object) -> tuple[str, ...]:
    """Only what RFC 6749 section 3.3 lets be one."""
    texts = (each for each in named[:MOST_SCOPES] if isinstance(each, str)) if isinstance(named, list) else ()
    return tuple(dict.fromkeys(each for each in texts if len(each) <= LONGEST_SCOPE and _SCOPE.fullmatch(each)))


def _texts(named: object) -> list[str]:
    return [each[:100] for each in named[:50] if isinstance(each, str)] if isinstance(named, list) else []


def _well_known(url: str, name: str) -> tuple[str, ...]:
    """With the path behind the well-known part, then without any."""
    path, origin = urlsplit(url).path.rstrip("/"), _origin(url)
    return f"{origin}/.well-known/{name}{path}", f"{origin}/.well-known/{name}"


def _openid(issuer: str) -> tuple[str, ...]:
    inserted, _ = _well_known(issuer, "openid-configuration")
    return inserted, f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _once(*places: str) -> Iterator[str]:
    return iter(dict.fromkeys(place for place in places if place))
