"""The keys of others, fetched and kept: from memory of the database while they are young, anew when a token names one
that is not there, and never more often than every half minute, whatever tokens come.

Not inside a transaction: the other side may take its time. While one request fetches, others go on with the copy there
is, or are refused for the moment; none of them waits.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.fetching import NotFetched, fetch, json_object
from gateway.models import KeySetCopy
from governance.jwk_sets import MOST_BYTES, PublicKey, UnusableKeys, keys_for
from governance.models import TrustedIssuer

YOUNG: Final = timedelta(minutes=30)
"""Until then nobody asks again without a reason."""
OLDEST: Final = timedelta(hours=24)
"""How long a copy counts while the issuer cannot be reached; a key it withdrew counts no longer than that."""
FLOOR: Final = timedelta(seconds=30)
FETCH_SECONDS: Final = 5.0
METADATA_BYTES: Final = 64 * 1024
WELL_KNOWN: Final = "/.well-known/"


class KeysAway(Exception):
    """Nobody can say now whether a signature is right; later somebody may."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where keys come from: written down, at an address, or where the issuer's metadata says."""

    issuer: str
    url: str = ""
    written: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(f"{self.issuer}\n{self.url}".encode()).digest()


def source_of(issuer: TrustedIssuer) -> Source:
    return Source(issuer.issuer, issuer.jwks_url, issuer.jwks)


def find_keys(source: Source, *, algorithm: str, key_id: str | None, now: datetime) -> list[PublicKey]:
    """None fits, if the list is empty. Raises KeysAway."""
    if source.written:
        return _fitting(source.written, algorithm, key_id)
    copy = KeySetCopy.objects.filter(source=source.digest).first()
    known = _fitting(copy.keys, algorithm, key_id) if copy and _is_at_most(copy, OLDEST, now) else []
    if known and copy and _is_at_most(copy, YOUNG, now):
        return known
    if not _may_try(source, copy, now):
        return known or _unknown(copy, now)
    fetched = _fetched(source, now)
    if fetched is None:
        return known or _unknown(copy, now)
    return _fitting(fetched, algorithm, key_id)


def _unknown(copy: KeySetCopy | None, now: datetime) -> list[PublicKey]:
    """With a copy that is young, there is no such key; without one, nobody knows."""
    if copy is not None and _is_at_most(copy, YOUNG, now):
        return []
    raise KeysAway("The issuer's keys cannot be had right now.")


def _fitting(document: Any, algorithm: str, key_id: str | None) -> list[PublicKey]:
    try:
        return keys_for(document, algorithm=algorithm, key_id=key_id)
    except UnusableKeys:
        return []


def _is_at_most(copy: KeySetCopy, age: timedelta, now: datetime) -> bool:
    return copy.fetched_at is not None and now - copy.fetched_at <= age


def _may_try(source: Source, copy: KeySetCopy | None, now: datetime) -> bool:
    """One of all processes, and not too soon after the last."""
    if copy is None:
        wanted = {"issuer": source.issuer, "tried_at": now}
        return KeySetCopy.objects.get_or_create(source=source.digest, defaults=wanted)[1]
    due = KeySetCopy.objects.filter(source=source.digest, tried_at__lte=now - FLOOR)
    return bool(due.update(tried_at=now))


def _fetched(source: Source, now: datetime) -> Any:
    """None if it could not be had; why is kept for those who look after the issuer."""
    kept = KeySetCopy.objects.filter(source=source.digest)
    try:
        document = _asked(source.url or _address_of_keys(source.issuer), at_most=MOST_BYTES)
        if not isinstance(document.get("keys"), list):
            raise NotFetched("It did not answer with a key set.")
    except NotFetched as reason:
        kept.update(problem=str(reason)[:300])
        return None
    kept.update(keys=document, fetched_at=now, problem="")
    return document


def _address_of_keys(issuer: str) -> str:
    """As the issuer's own metadata says, if that is about this very issuer. Raises NotFetched."""
    reason = NotFetched("It publishes no metadata.")
    for address in _metadata_addresses(issuer):
        try:
            metadata = _asked(address, at_most=METADATA_BYTES)
        except NotFetched as failure:
            reason = failure
            continue
        found = metadata.get("jwks_uri")
        if metadata.get("issuer") != issuer or not isinstance(found, str) or len(found) > 2000:
            raise NotFetched("Its metadata are not about this issuer, or name no keys.")
        if urlsplit(issuer).scheme == "https" and not found.startswith("https://"):
            raise NotFetched("Its metadata lead to an address without https.")
        return found
    raise reason


def _metadata_addresses(issuer: str) -> Iterator[str]:
    """OpenID Connect Discovery puts it behind the path, RFC 8414 before it."""
    parts = urlsplit(issuer)
    yield f"{issuer.rstrip('/')}{WELL_KNOWN}openid-configuration"
    yield f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}oauth-authorization-server{parts.path.rstrip('/')}"


def _asked(url: str, *, at_most: int) -> dict[str, Any]:
    headers = (("Accept", "application/json"),)
    return json_object(fetch("GET", url, headers=headers, seconds=FETCH_SECONDS, at_most=at_most))


def forget_unused(now: datetime) -> int:
    """Copies for issuers and addresses nobody asked for in a month."""
    return KeySetCopy.objects.filter(tried_at__lt=now - timedelta(days=30)).delete()[0]
