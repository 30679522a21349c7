"""Public keys as others write them (RFC 7517): read strictly, bounded, and never a secret among them."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

PublicKey = RSAKey | ECKey | OKPKey
MOST_KEYS: Final = 50
MOST_BYTES: Final = 64 * 1024
LONGEST_KEY_ID: Final = 256
FEWEST_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 8192
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KINDS: Final[dict[tuple[str, str], tuple[str, type[Any]]]] = {
    ("RSA", ""): ("RS256", RSAKey),
    ("EC", "P-256"): ("ES256", ECKey),
    ("EC", "P-384"): ("ES384", ECKey),
    ("EC", "P-521"): ("ES512", ECKey),
    ("OKP", "Ed25519"): ("EdDSA", OKPKey),
}


class UnusableKeys(ValueError):
    """The message says what is wrong, in words for whoever pasted them; it repeats nothing of the keys."""


def read_key_set(text: str | bytes) -> dict[str, Any]:
    """A set as text, e.g. from a form or an answer. Raises UnusableKeys."""
    if len(text) > MOST_BYTES:
        raise UnusableKeys(f"the key set is larger than {MOST_BYTES} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableKeys("the key set is no JSON") from None
    check_key_set(document)
    return dict(document)


def check_key_set(document: Any) -> None:
    """For what an administrator pastes: every key must be one that can be used. Raises UnusableKeys."""
    for key in _members(document):
        public_key(key)


def public_key(jwk: Any) -> PublicKey:
    """Raises UnusableKeys for anything but one public key that can verify one of ALGORITHMS."""
    if not isinstance(jwk, dict):
        raise UnusableKeys("a key is a JSON object")
    if _SECRET_MEMBERS & jwk.keys():
        raise UnusableKeys("it holds a private or a shared key; only public keys belong here")
    _, kind = _KINDS.get(_kind_of(jwk), ("", None))
    if kind is None:
        raise UnusableKeys("use RSA, EC P-256, P-384, P-521 or Ed25519 keys")
    if jwk.get("use", "sig") != "sig":
        raise UnusableKeys("it holds a key that is not for signatures")
    key_id = jwk.get("kid", "")
    if not isinstance(key_id, str) or len(key_id) > LONGEST_KEY_ID:
        raise UnusableKeys(f"a key's id is text of at most {LONGEST_KEY_ID} characters")
    return _imported(jwk, kind)


def _imported(jwk: dict[str, Any], kind: type[Any]) -> PublicKey:
    try:
        if kind is RSAKey and not FEWEST_RSA_BITS <= _bits(jwk["n"]) <= MOST_RSA_BITS:
            raise UnusableKeys(f"RSA keys have {FEWEST_RSA_BITS} to {MOST_RSA_BITS} bits")
        key: PublicKey = kind.import_key(dict(jwk))
        key.public_key  # noqa: B018  (only now is it read as a point on its curve)
    except UnusableKeys:
        raise
    except (JoseError, ValueError, TypeError, KeyError, OverflowError):
        raise UnusableKeys("it holds a key that is not well-formed") from None
    return key


def _bits(modulus: str) -> int:
    return int.from_bytes(urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))).bit_length()


def keys_for(document: Any, *, algorithm: str, key_id: str | None) -> list[PublicKey]:
    """The keys of a set that may have made a signature: those with that id, or without an id in the token the only
    one of that kind. Keys of other kinds are passed over, as issuers publish them for others."""
    fitting = [jwk for jwk in _members(document) if _fits(jwk, algorithm)]
    if key_id is not None:
        fitting = [jwk for jwk in fitting if jwk.get("kid") == key_id]
    return [*_usable(fitting)] if len(fitting) == 1 else []


def _usable(found: Iterable[Any]) -> Iterable[PublicKey]:
    for jwk in found:
        try:
            yield public_key(jwk)
        except UnusableKeys:
            continue


def _fits(jwk: Any, algorithm: str) -> bool:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return False
    return _KINDS.get(_kind_of(jwk), ("", None))[0] == algorithm


def _kind_of(jwk: dict[str, Any]) -> tuple[str, str]:
    kind, curve = jwk.get("kty"), jwk.get("crv", "")
    return (kind, curve) if isinstance(kind, str) and isinstance(curve, str) else ("", "")


def _members(document: Any) -> list[Any]:
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not 0 < len(keys) <= MOST_KEYS:
        raise UnusableKeys(f'write {{"keys": [...]}} with 1 to {MOST_KEYS} keys')
    return keys
