"""Public keys of others: what is taken, and what is not."""

import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from governance.jwk_sets import MOST_KEYS, UnusableKeys, keys_for, public_key, read_key_set

EC = ECKey.generate_key("P-256", {"kid": "ec"}).as_dict(private=False)
EDWARDS = OKPKey.generate_key("Ed25519", {"kid": "ed"}).as_dict(private=False)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"}).as_dict(private=False)


def a_set(*keys: Any) -> str:
    return json.dumps({"keys": keys})


@pytest.mark.parametrize("key", [EC, EDWARDS, RSA], ids=["EC", "OKP", "RSA"])
def test_public_keys_of_the_three_kinds_are_taken(key: dict[str, Any]) -> None:
    assert public_key(key).as_dict(private=False)["kid"] == key["kid"]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (ECKey.generate_key("P-256").as_dict(private=True), "private"),
        (RSAKey.generate_key(2048).as_dict(private=True), "private"),
        (OctKey.generate_key(256).as_dict(private=True), "shared"),
        ({**RSA, "n": RSA["n"][:171]}, "2048"),
        (ECKey.generate_key("secp256k1").as_dict(private=False), "P-256"),
        (OKPKey.generate_key("X25519").as_dict(private=False), "Ed25519"),
        ({**EC, "x": "AAAA"}, "well-formed"),
        ({**EC, "use": "enc"}, "signatures"),
        ({**EC, "kid": 7}, "id"),
        ({**EC, "kty": ["EC"]}, "use RSA"),
        ({"kty": "RSA", "n": RSA["n"]}, "well-formed"),
        ("key", "object"),
    ],
)
def test_others_are_not(key: Any, why: str) -> None:
    with pytest.raises(UnusableKeys, match=why):
        read_key_set(a_set(key))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"keys": []}', '{"keys": {}}', "[" * 60_000, " " * 70_000, a_set(*[EC] * (MOST_KEYS + 1))],
)
def test_what_is_no_bounded_set_is_refused(text: str) -> None:
    with pytest.raises(UnusableKeys):
        read_key_set(text)


def test_the_refusal_repeats_nothing_of_the_key() -> None:
    private = ECKey.generate_key("P-256").as_dict(private=True)
    with pytest.raises(UnusableKeys) as refused:
        read_key_set(a_set(private))
    assert str(private["d"]) not in str(refused.value)


def test_a_key_is_found_by_its_id_and_only_for_its_own_kind_of_signature() -> None:
    document = {"keys": [EC, EDWARDS, {**RSA, "alg": "RS512"}, {"kty": "EC", "crv": "P-384"}, "odd"]}
    assert [key.kid for key in keys_for(document, algorithm="ES256", key_id="ec")] == ["ec"]
    assert keys_for(document, algorithm="RS256", key_id="rsa") == []
    assert keys_for(document, algorithm="EdDSA", key_id="ec") == []
    assert keys_for(document, algorithm="ES256", key_id="other") == []


def test_without_an_id_only_the_one_key_of_its_kind_will_do() -> None:
    other = ECKey.generate_key("P-256").as_dict(private=False)
    assert len(keys_for({"keys": [EC, RSA]}, algorithm="ES256", key_id=None)) == 1
    assert keys_for({"keys": [EC, other]}, algorithm="ES256", key_id=None) == []


def test_of_two_keys_with_one_id_none_is_guessed() -> None:
    twin = {**ECKey.generate_key("P-256").as_dict(private=False), "kid": "ec"}
    assert keys_for({"keys": [EC, twin]}, algorithm="ES256", key_id="ec") == []
