"""Clients that describe themselves: at an address that is their id (client ID metadata documents), or by registering
(RFC 7591). What they say is read strictly, and lets nobody in: each waits until an administrator has looked at it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from governance import oauth_clients
from governance.facts import Fact, Recorder
from governance.models import OAuthClient, Organization
from governance.oauth_clients import CODE, FOR_PEOPLE, LOOPBACK, BadClient

LONGEST_ID: Final = 255
MOST_WAITING: Final = 100
"""Of each origin: nobody fills the queue so that the one that matters is not seen."""
_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+\Z", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()+,;=:@%/-]*\Z", re.ASCII)
_SECRET_MEMBERS: Final = frozenset({"client_secret", "client_secret_expires_at"})


class TooManyWait(Exception):
    """The queue is full; somebody has to look at it first."""


@dataclass(frozen=True, slots=True)
class Described:
    """A client in its own words."""

    name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]


def is_document_id(client_id: str) -> bool:
    """An https address on its standard port with a path, and nothing that could be spelled in two ways."""
    if len(client_id) > LONGEST_ID or not client_id.startswith("https://"):
        return False
    host, path = host_of(client_id), client_id[len("https://") :].partition("/")[2]
    parts = f"/{path}"
    is_plain = not {".", ".."} & set(parts.split("/")) and "%2e" not in parts.lower()
    return bool(host) and len(parts) > 1 and is_plain and bool(_PATH.match(parts))


def host_of(client_id: str) -> str:
    """Empty for what is no plain host name: no address in numbers, no port, no user."""
    try:
        authority = urlsplit(client_id).netloc
    except ValueError:
        return ""
    return authority if _HOST.match(authority) and not authority.rpartition(".")[2].isdecimal() else ""


def is_host(text: str) -> bool:
    return bool(_HOST.match(text)) and not text.rpartition(".")[2].isdecimal()


def may_be_read(client_id: str) -> bool:
    """Whether the organisation lets documents of this host be read at all."""
    hosts = Organization.objects.values_list("client_hosts", flat=True).first() or []
    return is_document_id(client_id) and host_of(client_id) in hosts


def read_document(client_id: str, document: Mapping[str, Any]) -> Described:
    """Raises BadClient."""
    if document.get("client_id") != client_id:
        raise BadClient("client_id", "The document is about another client.")
    return read_metadata(document)


def read_metadata(said: Mapping[str, Any]) -> Described:
    """Of a public client that people let in: whoever asks for more is refused, not cut down. Raises BadClient."""
    if _SECRET_MEMBERS & said.keys():
        raise BadClient("client_secret", "A client that describes itself has no secret.")
    if said.get("token_endpoint_auth_method", "none") != "none":
        raise BadClient("token_endpoint_auth_method", "Only public clients describe themselves: none.")
    grant_types = _texts(said, "grant_types", [CODE])
    if set(grant_types) - set(FOR_PEOPLE) or CODE not in grant_types:
        raise BadClient("grant_types", f"Choose among {', '.join(FOR_PEOPLE)}, with {CODE}.")
    if set(_texts(said, "response_types", ["code"])) != {"code"}:
        raise BadClient("response_types", "Only code.")
    _check_scope(said.get("scope", ""))
    redirect_uris = _texts(said, "redirect_uris", [])
    if not redirect_uris:
        raise BadClient("redirect_uris", "Name where answers go.")
    oauth_clients.check_redirects([*redirect_uris])
    return Described(_name(said), redirect_uris, grant_types)


def _texts(said: Mapping[str, Any], name: str, default: list[str]) -> tuple[str, ...]:
    found = said.get(name, default)
    if not isinstance(found, list) or len(found) > oauth_clients.MOST_REDIRECTS:
        raise BadClient(name, f"{name} is a short list.")
    if not all(isinstance(each, str) for each in found):
        raise BadClient(name, f"{name} is a list of texts.")
    return tuple(dict.fromkeys(found))


def _check_scope(scope: Any) -> None:
    """A scope given here gives nothing: what a client may is said when a person lets it in."""
    if not isinstance(scope, str) or len(scope) > 2000:
        raise BadClient("scope", "scope is text.")
    for each in scope.split():
        if each != "offline_access" and not each.startswith("bundle:"):
            raise BadClient("scope", "There is no such scope here.")


def _name(said: Mapping[str, Any]) -> str:
    name = said.get("client_name", "")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= 100 or not name.isprintable():
        raise BadClient("client_name", "Name the client, in at most 100 printable characters.")
    return name.strip()


# -- what follows


def enqueue(
    described: Described, *, client_id: str = "", origin: str, by: str, record: Recorder, now: datetime
) -> OAuthClient:
    """A new client, which waits. Raises BadClient, TooManyWait."""
    waiting = OAuthClient.objects.filter(status=OAuthClient.Status.PENDING, origin=origin)
    if waiting.count() >= MOST_WAITING:
        raise TooManyWait(f"{MOST_WAITING} clients wait for approval already.")
    return oauth_clients.register(
        name=described.name,
        redirect_uris=described.redirect_uris,
        grant_types=described.grant_types,
        client_id=client_id,
        origin=origin,
        status=OAuthClient.Status.PENDING,
        by=by,
        record=record,
        now=now,
    ).client


def renew(client: OAuthClient, described: Described, *, by: str, record: Recorder) -> OAuthClient:
    """What the document says by now. What whoever approved it had not seen makes it wait again: a new place for codes,
    a new way to a token, and another name, unless the host that is trusted with its clients gives it."""
    row = OAuthClient.objects.select_for_update().get(id=client.id)
    said = {
        "name": described.name,
        "redirect_uris": [*described.redirect_uris],
        "grant_types": [*described.grant_types],
    }
    if all(getattr(row, field) == value for field, value in said.items()):
        return row
    new_places = places_of(described.redirect_uris) - places_of(row.redirect_uris)
    new_ways = set(described.grant_types) - set(row.grant_types)
    is_renamed = described.name != row.name and row.origin == OAuthClient.Origin.DCR
    waits = bool(new_places or new_ways or is_renamed) and row.status == OAuthClient.Status.APPROVED
    for field, value in said.items():
        setattr(row, field, value)
    row.status = OAuthClient.Status.PENDING if waits else row.status
    row.save(update_fields=[*said, "status"])
    told = {"waits_again": waits, "new_places": sorted(new_places), "new_ways": sorted(new_ways), "by": by}
    record(Fact("oauth_client.described_anew", f"oauth_client:{row.client_id}", told))
    return row


def places_of(redirect_uris: Any) -> set[str]:
    """Where codes go: a host, an app's own scheme, or the person's own machine."""
    found = set()
    for uri in redirect_uris:
        parts = urlsplit(uri)
        is_own_machine = parts.scheme == "http" and parts.hostname in LOOPBACK
        found.add("loopback" if is_own_machine else f"{parts.scheme}://{parts.netloc.lower()}")
    return found
