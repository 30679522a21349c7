"""Signed statements of others (JWT), read as if an attacker had written every byte.

Nothing of a statement is believed before its signature: what is read earlier (issuer, key id, algorithm) only picks
the key. A header that names a key or an address of keys is not followed. What is believed was read here, once, by one
parser; the library only checks the signature. No database, no network, no clock: `now` is given.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from connectors.json_depth import is_too_deep

MOST_BYTES: Final = 16 * 1024
DEEPEST: Final = 8
SKEW: Final = timedelta(seconds=30)
"""How far the clocks of others may be from ours."""
LONGEST_ID: Final = 256
LONGEST_AUDIENCE: Final = 2000
MOST_AUDIENCES: Final = 20
LAST_MOMENT: Final = 253_402_300_799
"""Of the year 9999; a later expiry is no date."""
_PART = re.compile(r"[A-Za-z0-9_-]+\Z", re.ASCII)
_NOT_DONE_HERE: Final = frozenset({"crit", "b64", "zip", "enc"})
"""Members of a header by which a token would have to be read in another way than it is."""


class NotBelieved(Exception):
    """The statement counts for nothing. `code` names the check that failed, for evidence and for the one who set the
    issuer up; whoever showed the statement is told no more than that it will not do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Unproven:
    """A statement before anybody checked its signature: good for finding the key, and for nothing else."""

    algorithm: str
    key_id: str | None
    kind: str
    """Its `typ`, as it was written."""
    issuer: str
    claims: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a statement has to say to count here."""

    issuer: str
    audiences: Collection[str]
    algorithms: Collection[str]
    kinds: Collection[str] = ("", "JWT")
    """Of `typ`, which keeps a statement made for one purpose from serving another."""
    longest: timedelta = timedelta(minutes=10)
    only_for_us: bool = True
    """One that is also meant for somebody else could be shown to us by that somebody."""
    needs_id: bool = True
    needs_issue_time: bool = False
    expires: bool = True
    """Security events do not expire (RFC 8417); they are bounded by when they were issued."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What an issuer really said, for us, and in time."""

    issuer: str
    id: str
    claims: Mapping[str, Any] = field(repr=False)
    keep_until: datetime
    """Until when its id has to be remembered."""

    def text(self, claim: str, *, longest: int = 1000) -> str:
        """Raises NotBelieved unless the claim is there and is plain text."""
        found = self.claims.get(claim)
        if not isinstance(found, str) or not 0 < len(found) <= longest or not found.isprintable():
            _no("claims", f"It says no usable {claim}.")
        return found


KeysFor = Callable[[Unproven], Iterable[Key]]


def read(text: str) -> Unproven:
    """Raises NotBelieved."""
    if not text.isascii() or len(text) > MOST_BYTES:
        _no("form", f"It is no token of at most {MOST_BYTES} bytes.")
    parts = text.split(".")
    if len(parts) != 3 or not all(_PART.match(part) for part in parts):
        _no("form", "It is no signed token in compact form.")
    header, claims = (_object(part) for part in parts[:2])
    return Unproven(
        algorithm=_header_text(header, "alg"),
        key_id=_key_id(header),
        kind=_header_text(header, "typ") if "typ" in header else "",
        issuer=_issuer(claims),
        claims=claims,
        text=text,
    )


def believe(unproven: Unproven, expected: Expected, keys: KeysFor, *, now: datetime) -> Statement:
    """Raises NotBelieved. Whether its id is new is asked where that is remembered (`spent.py`)."""
    if unproven.algorithm not in expected.algorithms:
        _no("algorithm", "It is not signed in a way that counts here.")
    if not _is_kind(unproven.kind, expected.kinds):
        _no("type", "It was made for another purpose.")
    if unproven.issuer != expected.issuer:
        _no("issuer", "It is by somebody else.")
    _check_signature(unproven, keys(unproven))
    _check_audience(unproven.claims.get("aud"), expected)
    keep_until = _checked_times(unproven.claims, expected, now)
    return Statement(unproven.issuer, _id(unproven.claims, expected), unproven.claims, keep_until)


def _check_signature(unproven: Unproven, keys: Iterable[Key]) -> None:
    if not any(_is_by(key, unproven) for key in keys):
        _no("signature", "No key that counts made its signature.")


def _is_by(key: Key, unproven: Unproven) -> bool:
    """A key serves its own kind of signature only, whatever the token's header asks for."""
    signed, _, signature = unproven.text.rpartition(".")
    algorithm = JWSRegistry.algorithms[unproven.algorithm]
    try:
        algorithm.check_key(key)
        return algorithm.verify(signed.encode(), _decoded(signature), key)
    except (JoseError, ValueError, TypeError):
        return False


def _object(part: str) -> dict[str, Any]:
    raw = _decoded(part)
    try:
        found = json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or is_too_deep(raw, found, max_depth=DEEPEST):
        _no("form", "It does not hold what it should.")
    return found


def _decoded(part: str) -> bytes:
    """The one way to write these bytes: bits left over at the end are another spelling of the same token."""
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4)) if len(part) % 4 != 1 else b""
    if urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        _no("form", "It is no signed token in compact form.")
    return raw


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Two members of one name are two statements, of which each reader believes another."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_number(_: str) -> NoReturn:
    raise ValueError


def _key_id(header: Mapping[str, Any]) -> str | None:
    if _NOT_DONE_HERE & header.keys():
        _no("header", "Its header asks for something that is not done here.")
    return _header_text(header, "kid") if "kid" in header else None


def _header_text(header: Mapping[str, Any], name: str) -> str:
    found = header.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_ID:
        _no("header", "Its header is not one of a signed token.")
    return found


def _is_kind(kind: str, wanted: Collection[str]) -> bool:
    """As media types go: without case, and with or without `application/`."""
    plain = kind.lower().removeprefix("application/")
    return any(plain == each.lower().removeprefix("application/") for each in wanted)


def _issuer(claims: Mapping[str, Any]) -> str:
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= 500:
        _no("issuer", "It does not say by whom it is.")
    return issuer


def _check_audience(audience: Any, expected: Expected) -> None:
    found = [audience] if isinstance(audience, str) else audience
    if not isinstance(found, list) or not 0 < len(found) <= MOST_AUDIENCES:
        _no("audience", "It does not say for whom it is.")
    if not all(isinstance(each, str) and len(each) <= LONGEST_AUDIENCE for each in found):
        _no("audience", "It does not say for whom it is.")
    if not set(found) & set(expected.audiences) or (expected.only_for_us and len(set(found)) != 1):
        _no("audience", "It is meant for somebody else.")


def _checked_times(claims: Mapping[str, Any], expected: Expected, now: datetime) -> datetime:
    issued, begins, ends = (_moment(claims, name) for name in ("iat", "nbf", "exp"))
    if any(moment is not None and moment > now + SKEW for moment in (issued, begins)):
        _no("time", "It does not hold yet.")
    if issued is None and (expected.needs_issue_time or not expected.expires):
        _no("time", "It does not say when it was made.")
    if not expected.expires:
        ends = _end_of_event(issued, ends, expected)
    if ends is None or ends <= now:
        _no("time", "Its time is over, or it would hold for ever.")
    if ends > min(issued or now, now) + expected.longest + SKEW:
        _no("time", "It would hold longer than is taken here.")
    return ends + SKEW


def _end_of_event(issued: datetime | None, ends: datetime | None, expected: Expected) -> datetime | None:
    if ends is not None:
        _no("time", "It expires, which what it should be does not.")
    return issued + expected.longest if issued is not None else None


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    found = claims.get(name)
    if found is None and name not in claims:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= LAST_MOMENT:
        _no("time", "One of its times is none.")
    return datetime.fromtimestamp(found, UTC)


def _id(claims: Mapping[str, Any], expected: Expected) -> str:
    found = claims.get("jti")
    if found is None and not expected.needs_id and "jti" not in claims:
        return ""
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_ID:
        _no("id", "It has no id of its own.")
    return found


def _no(code: str, message: str) -> NoReturn:
    raise NotBelieved(code, message)
