"""Public keys of agents as people paste them: JSON Web Key or PEM, strong enough, and never the private half."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.views.decorators.debug import sensitive_variables

LONGEST_TEXT: Final = 16 * 1024
RSA_BITS: Final = range(2048, 8193)
SMALLEST_EXPONENT: Final = 65537
CURVES: Final[dict[str, ec.EllipticCurve]] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
ALGORITHMS: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
PRIVATE_MEMBERS: Final = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class UnusableKey(Exception):
    """No key that an agent could prove itself by; the message says why and repeats nothing of it."""


class PrivateKeyShown(UnusableKey):
    """The private half was handed over."""

    def __init__(self) -> None:
        super().__init__(
            "This is a private key. It has left its place and counts as compromised: throw it away, make a new pair,"
            " and register only its public half. Nothing of it was kept here."
        )


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`jwk` has the members that make it this key, and the algorithm it signs with; nothing else of what was pasted."""

    jwk: Mapping[str, str]
    thumbprint: str
    """After RFC 7638, SHA-256, base64url."""

    @property
    def hint(self) -> str:
        return f"{self.jwk['alg']} {self.thumbprint[:8]}"


@sensitive_variables()
def read_public_key(text: str | bytes) -> PublicKey:
    """Raises UnusableKey."""
    raw = text.encode(errors="replace") if isinstance(text, str) else text
    if len(raw) > LONGEST_TEXT:
        raise UnusableKey(f"A key has at most {LONGEST_TEXT // 1024} KiB.")
    if b"PRIVATE KEY" in raw:
        raise PrivateKeyShown
    return _of_key(_from_pem(raw) if raw.lstrip().startswith(b"-----") else _from_jwk(_parsed(raw)))


def public_key_of(jwk: Mapping[str, str]) -> Key:
    """Of a row's `public_key`, for whoever verifies a signature. Raises UnusableKey."""
    return _from_jwk(jwk)


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        jwk = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UnusableKey("Paste a public key as JSON (JWK) or PEM (-----BEGIN PUBLIC KEY-----).") from None
    if isinstance(jwk, dict) and isinstance(keys := jwk.get("keys"), list):
        if len(keys) != 1:
            raise UnusableKey("This is a set of keys. Register each of them by itself.")
        jwk = keys[0]
    if not isinstance(jwk, dict):
        raise UnusableKey("A JWK is a JSON object.")
    return jwk


def _from_pem(raw: bytes) -> Key:
    try:
        key = load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("This is no PEM public key (-----BEGIN PUBLIC KEY-----) of a kind known here.") from None
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise UnusableKey("Use RSA, an elliptic curve (P-256, P-384, P-521) or Ed25519.")
    return key


def _from_jwk(jwk: Mapping[str, Any]) -> Key:
    if PRIVATE_MEMBERS & jwk.keys():
        raise PrivateKeyShown
    if jwk.get("use", "sig") != "sig":
        raise UnusableKey("This key is for encryption. An agent signs with its key: use one for signatures.")
    try:
        return _of_members(jwk)
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error, UnsupportedAlgorithm):
        raise UnusableKey("The members of this JWK make no valid public key.") from None


def _of_members(jwk: Mapping[str, Any]) -> Key:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
    if kind == "EC" and curve in CURVES:
        return ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), CURVES[curve]).public_key()
    if kind == "OKP" and curve == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"]))
    raise UnusableKey("Use RSA, an elliptic curve (P-256, P-384, P-521) or Ed25519.")


def _of_key(key: Key) -> PublicKey:
    members = _members(key)
    thumbprint = _text(hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest())
    algorithm = "RS256" if members["kty"] == "RSA" else ALGORITHMS[members["crv"]]
    return PublicKey({**members, "alg": algorithm, "use": "sig", "kid": thumbprint}, thumbprint)


def _members(key: Key) -> dict[str, str]:
    """Those that RFC 7638 takes, written the one way they can be."""
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_members(key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": _text(key.public_bytes_raw())}
    curve = next((name for name, known in CURVES.items() if known.name == key.curve.name), None)
    if curve is None:
        raise UnusableKey("Of elliptic curves, use P-256, P-384 or P-521.")
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    x, y = (_text(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
    return {"crv": curve, "kty": "EC", "x": x, "y": y}


def _rsa_members(key: rsa.RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    if key.key_size not in RSA_BITS:
        raise UnusableKey(f"An RSA key has {RSA_BITS.start} to {RSA_BITS.stop - 1} bits; this one has {key.key_size}.")
    if numbers.e < SMALLEST_EXPONENT or numbers.e.bit_length() > 32 or numbers.n % 2 == 0:
        raise UnusableKey("The exponent or modulus of this RSA key is weak.")
    return {"e": _of_number(numbers.e), "kty": "RSA", "n": _of_number(numbers.n)}


def _bytes(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("no base64url")
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _of_number(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
