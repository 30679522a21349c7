"""What a token is for: one of our MCP endpoints (RFC 8707), and the bundles its OAuth scopes name.

An endpoint's canonical name is made of the public address, never of what a request's Host says.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

SCOPE_PREFIX = "bundle:"
LONGEST = 300
MOST_SCOPES = 100
PATH = re.compile(r"/mcp(?:/([a-z0-9][a-z0-9-]{0,62}))?/?")
SCOPE = re.compile(r"bundle:[a-z0-9][a-z0-9-]{0,62}")
DEFAULT_PORTS = {"http": 80, "https": 443}


class BadResource(Exception):
    """It is missing, malformed or not ours."""


class BadScope(Exception):
    """There can be no such OAuth scope."""


def resource_of(bundle: str | None, *, origin: str) -> str:
    """The canonical name of the endpoint of a bundle; of the union endpoint without one."""
    return f"{origin.rstrip('/')}/mcp" + (f"/{bundle}" if bundle else "")


def canonical_resource(resource: str, *, origin: str) -> str:
    """Raises BadResource. A spelling that RFC 3986 holds to be the same is taken; a query or a user is not."""
    if not 0 < len(resource) <= LONGEST or not resource.isascii() or not resource.isprintable():
        raise BadResource
    try:
        asked, ours = urlsplit(resource), urlsplit(origin)
        same = _authority(asked.scheme, asked.hostname, asked.port) == _authority(ours.scheme, ours.hostname, ours.port)
    except ValueError as error:
        raise BadResource from error
    found = PATH.fullmatch(asked.path)
    if not same or found is None or "@" in asked.netloc or "?" in resource or "#" in resource:
        raise BadResource
    return resource_of(found[1], origin=origin)


def _authority(scheme: str, host: str | None, port: int | None) -> tuple[str, str, int | None]:
    return scheme.lower(), (host or "").lower(), port or DEFAULT_PORTS.get(scheme.lower())


def bundle_of(resource: str, *, origin: str) -> str:
    """The bundle of a canonical resource; empty for the union endpoint."""
    return resource.removeprefix(resource_of(None, origin=origin)).removeprefix("/")


def scope_of(bundle: str) -> str:
    return SCOPE_PREFIX + bundle


def bundles_of(oauth_scopes: Iterable[str]) -> frozenset[str]:
    return frozenset(scope.removeprefix(SCOPE_PREFIX) for scope in oauth_scopes if scope.startswith(SCOPE_PREFIX))


def read_scopes(asked: Iterable[str], *, resource: str, origin: str) -> tuple[str, ...]:
    """In order, each once; what is left out is everything at the endpoint of one bundle. Raises BadScope for what is
    no scope of ours, or of another endpoint than the one asked for. `offline_access` says nothing here: who may refresh
    is not the client's to choose."""
    scopes = tuple(dict.fromkeys(scope for scope in asked if scope != "offline_access"))
    if len(scopes) > MOST_SCOPES or not all(SCOPE.fullmatch(scope) for scope in scopes):
        raise BadScope
    bundle = bundle_of(resource, origin=origin)
    if not bundle:
        return scopes
    if set(scopes) - {scope_of(bundle)}:
        raise BadScope
    return (scope_of(bundle),)
