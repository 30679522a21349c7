"""Whether an ID token proves what it says: OpenID Connect Core 3.1.3.7, with nothing left out. Pure; keys are given."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import deserialize_compact

from connectors.json_depth import is_too_deep

ALGORITHMS: Final = {"RS256": "RSA", "ES256": "EC"}
"""What a provider may sign with. No `none`, and nothing symmetric: our client secret is no signing key."""

LONGEST_TOKEN: Final = 32 * 1024
LONGEST_SUBJECT: Final = 255
CLOCK_SKEW: Final = 60
OLDEST: Final = 10 * 60
"""Seconds: it comes straight from the token endpoint."""

Key = RSAKey | ECKey
FindKeys = Callable[[str | None], list[Key]]
"""Those with this key id; with None, all."""


class NotProven(Exception):
    """The code is for evidence; nothing of what the other side wrote is in either."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Expected:
    issuer: str
    client_id: str
    nonce: str
    now: float
    max_age: float | None = None
    """When set, the person must have proven herself at the provider within so many seconds."""


def proven_claims(token: Any, expected: Expected, *, find_keys: FindKeys, access_token: str) -> dict[str, Any]:
    """Raises NotProven."""
    claims = _signed(token, find_keys)
    _check_parties(claims, expected)
    _check_times(claims, expected)
    if not _same(claims.get("nonce"), expected.nonce):
        raise NotProven("nonce", "The answer does not belong to this sign-in.")
    if "at_hash" in claims and not _same(claims["at_hash"], _half_hash(access_token)):
        raise NotProven("at_hash", "The answer was put together from two.")
    return claims


def subject_of(claims: dict[str, Any]) -> str:
    """Raises NotProven."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise NotProven("sub", "The provider does not say whose account this is.")
    return subject


def _signed(token: Any, find_keys: FindKeys) -> dict[str, Any]:
    header = _header(token)
    algorithm, kid = header["alg"], header.get("kid")
    for key in find_keys(kid):
        if key.key_type != ALGORITHMS[algorithm]:
            continue
        try:
            payload = deserialize_compact(token, key, algorithms=[algorithm]).payload
        except (JoseError, ValueError):
            continue
        return _object(payload)
    raise NotProven("signature", "The answer is not signed by a key of the provider.")


def _header(token: Any) -> dict[str, Any]:
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN or not token.isascii() or token.count(".") != 2:
        raise NotProven("token", "The provider sent no ID token.")
    text = token.partition(".")[0]
    try:
        header = _object(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except binascii.Error:
        raise NotProven("token", "The provider sent no ID token.") from None
    if header.get("alg") not in ALGORITHMS:
        raise NotProven("alg", "The answer is not signed with RS256 or ES256.")
    if "crit" in header or not isinstance(header.get("kid", ""), str):
        raise NotProven("token", "The ID token's header is not one that we understand.")
    return header


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or is_too_deep(raw, found):
        raise NotProven("token", "The provider sent no ID token.")
    return found


def _check_parties(claims: dict[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise NotProven("iss", "The answer is another provider's.")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences:
        raise NotProven("aud", "The answer is for another application.")
    party = claims.get("azp")
    if (len(audiences) > 1 or party is not None) and party != expected.client_id:
        raise NotProven("azp", "The answer was given to another application.")


def _check_times(claims: dict[str, Any], expected: Expected) -> None:
    expires, issued = _number(claims, "exp"), _number(claims, "iat")
    if expires <= expected.now - CLOCK_SKEW:
        raise NotProven("exp", "The answer has expired.")
    if not expected.now - OLDEST <= issued <= expected.now + CLOCK_SKEW:
        raise NotProven("iat", "The answer is not of now. Is the clock right here and at the provider?")
    if expected.max_age is not None and _number(claims, "auth_time") < expected.now - expected.max_age - CLOCK_SKEW:
        raise NotProven("auth_time", "The provider did not ask you to prove again who you are.")


def _number(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotProven(name, f"The answer has no {name}.")
    return value


def _same(given: Any, wanted: str) -> bool:
    return isinstance(given, str) and bool(wanted) and hmac.compare_digest(given.encode(), wanted.encode())


def _half_hash(access_token: str) -> str:
    """Of all algorithms above the hash is SHA-256."""
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).decode().rstrip("=")
