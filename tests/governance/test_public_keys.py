"""Public keys as people paste them."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import KeySet, import_key

from governance.public_keys import PrivateKeyShown, UnusableKey, public_key_of, read_public_key
from tests.governance.key_texts import P256_D, P256_JWK, P256_MEMBERS

RSA = rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> str:
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def b64(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA.public_key(), "RS256"),
        (ec.generate_private_key(ec.SECP256R1()).public_key(), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()).public_key(), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), "ES512"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "EdDSA"),
    ],
)
def test_a_key_is_the_same_from_pem_and_jwk_and_to_another_library(key: Any, algorithm: str) -> None:
    found = read_public_key(pem(key))
    assert found.jwk["alg"] == algorithm
    assert read_public_key(json.dumps(dict(found.jwk))) == found
    assert found.thumbprint == import_key(dict(found.jwk)).thumbprint()  # type: ignore[arg-type]
    assert pem(public_key_of(found.jwk)) == pem(key)


def test_only_what_makes_it_this_key_is_kept() -> None:
    found = read_public_key(json.dumps({**P256_MEMBERS, "kid": "<b>mine</b>", "x5u": "https://evil.example/"}))
    assert found.jwk.keys() == {"kty", "crv", "x", "y", "alg", "use", "kid"}
    assert found.jwk["kid"] == found.thumbprint == read_public_key(P256_JWK).thumbprint


def test_a_set_of_one_key_is_that_key() -> None:
    one = KeySet([import_key(P256_MEMBERS)]).as_dict(private=False)
    assert read_public_key(json.dumps(one)) == read_public_key(P256_JWK)
    with pytest.raises(UnusableKey, match="set of keys"):
        read_public_key(json.dumps({"keys": [P256_MEMBERS, P256_MEMBERS]}))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**P256_MEMBERS, "d": P256_D}),
        json.dumps({"keys": [{**P256_MEMBERS, "d": P256_D}]}),
        json.dumps({"kty": "oct", "k": "c2VjcmV0"}),
        *(
            RSA.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
            for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH)
        ),
        RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")).decode(),
    ],
)
def test_a_private_key_is_refused_told_to_be_compromised_and_not_repeated(text: str) -> None:
    with pytest.raises(PrivateKeyShown, match="compromised") as refused:
        read_public_key(text)
    assert P256_D not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Paste"),
        ("not a key", "Paste"),
        ("[]", "JSON object"),
        ('{"keys": ["x"]}', "JSON object"),
        ("{}", "Use RSA"),
        (json.dumps({**P256_MEMBERS, "crv": "secp256k1"}), "Use RSA"),
        (json.dumps({**P256_MEMBERS, "use": "enc"}), "encryption"),
        (json.dumps({**P256_MEMBERS, "x": P256_MEMBERS["y"]}), "no valid"),
        (json.dumps({**P256_MEMBERS, "x": 7}), "no valid"),
        (json.dumps({**P256_MEMBERS, "x": "&&&&"}), "no valid"),
        (json.dumps({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}), "no valid"),
        (json.dumps({"kty": "RSA", "n": b64(RSA.public_key().public_numbers().n), "e": "Aw"}), "weak"),
        (json.dumps({"kty": "RSA", "n": b64((1 << 1024) + 1), "e": "AQAB"}), "2048 to 8192 bits"),
        (json.dumps({"kty": "RSA", "n": b64((1 << 9000) + 1), "e": "AQAB"}), "2048 to 8192 bits"),
        (pem(x25519.X25519PrivateKey.generate().public_key()), "Use RSA"),
        (pem(ec.generate_private_key(ec.SECP256K1()).public_key()), "P-256"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no PEM"),
        ("x" * 20_000, "at most"),
    ],
)
def test_what_is_no_strong_public_key_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(UnusableKey, match=why):
        read_public_key(text)
