"""Signed statements of others: the one that is right counts; change anything of it and it does not."""

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from gateway.oauth.assertions import DEEPEST, MOST_BYTES, Expected, NotBelieved, Statement, Unproven, believe, read
from governance.jwk_sets import keys_for
from tests.gateway.statements import OURS, as_set, claims_of, new_key, signed

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
IDP = "https://idp.example.com"
KEY = new_key("one")
OTHER = new_key("other")
EXPECTED = Expected(issuer=IDP, audiences=(OURS,), algorithms=("ES256", "EdDSA", "RS256"), kinds=("JWT",))


def published(*keys: Key) -> Any:
    document = as_set(*keys)

    def find(unproven: Unproven) -> Iterable[Key]:
        return keys_for(document, algorithm=unproven.algorithm, key_id=unproven.key_id)

    return find


def believed(text: str, *, expected: Expected = EXPECTED, keys: Any = None, now: datetime = NOW) -> Statement:
    return believe(read(text), expected, keys or published(KEY, OTHER), now=now)


def refused(text: str, **options: Any) -> str:
    with pytest.raises(NotBelieved) as found:
        believed(text, **options)
    return found.value.code


def said(**changes: Any) -> dict[str, Any]:
    return claims_of(IDP, now=NOW, **changes)


def raw(header: Any, claims: Any, signature: str = "AAAA") -> str:
    parts = (json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (header, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature])


def test_what_is_right_is_believed() -> None:
    found = believed(signed(said(sub="ana"), KEY))
    assert (found.issuer, found.text("sub")) == (IDP, "ana")
    assert found.keep_until == NOW + timedelta(seconds=330)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048, {"kid": "r"}), "RS256"),
        (OKPKey.generate_key("Ed25519", {"kid": "e"}), "EdDSA"),
        (KEY, "ES256"),
    ],
    ids=["RS256", "EdDSA", "ES256"],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_each_way_to_sign_that_counts(key: Key, algorithm: str) -> None:
    assert believed(signed(said(), key, alg=algorithm), keys=published(key, OTHER)).issuer == IDP


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"iss": IDP + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": [IDP]}, "issuer"),
        ({"aud": None}, "audience"),
        ({"aud": "https://other.example.com"}, "audience"),
        ({"aud": [OURS, "https://other.example.com"]}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": {OURS: 1}}, "audience"),
        ({"aud": [OURS, 7]}, "audience"),
        ({"aud": OURS.upper()}, "audience"),
        ({"exp": None}, "time"),
        ({"exp": AT}, "time"),
        ({"exp": AT - 1}, "time"),
        ({"exp": AT + 3600}, "time"),
        ({"exp": 10**30}, "time"),
        ({"exp": str(AT + 60)}, "time"),
        ({"exp": True}, "time"),
        ({"exp": -1}, "time"),
        ({"iat": AT + 600, "exp": AT + 900}, "time"),
        ({"iat": AT - 3600}, "time"),
        ({"iat": "now"}, "time"),
        ({"nbf": AT + 120}, "time"),
        ({"nbf": []}, "time"),
        ({"jti": None}, "id"),
        ({"jti": ""}, "id"),
        ({"jti": 7}, "id"),
        ({"jti": "x" * 257}, "id"),
    ],
)
def test_each_claim_is_asked(changes: dict[str, Any], code: str) -> None:
    """None takes it out."""
    assert refused(signed(said(**changes), KEY)) == code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"typ": None}, "type"),
        ({"typ": "at+jwt"}, "type"),
        ({"typ": "secevent+jwt"}, "type"),
        ({"kid": "unknown"}, "signature"),
        ({"kid": None}, "signature"),
        ({"kid": "other"}, "signature"),
        ({"b64": True}, "header"),
        ({"zip": "DEF"}, "header"),
    ],
)
def test_each_member_of_the_header_is_asked(header: dict[str, Any], code: str) -> None:
    assert refused(signed(said(), KEY, **header)) == code


def test_who_asks_for_an_extension_is_refused() -> None:
    assert refused(raw({"alg": "ES256", "typ": "JWT", "kid": "one", "crit": ["exp"]}, said())) == "header"


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "HS256", "HS512", "RS1", "ES512", "PS256", ""])
def test_no_other_way_to_sign_counts(algorithm: str) -> None:
    assert refused(raw({"alg": algorithm, "typ": "JWT", "kid": "one"}, said())) in ("algorithm", "header")


def test_a_public_key_is_no_shared_secret() -> None:
    """The classic confusion: signed by HMAC with the text of the public key."""
    shared = OctKey.import_key(json.dumps(KEY.as_dict(private=False)).encode())
    text = signed(said(), shared, alg="HS256", kid="one")
    assert refused(text) == "algorithm"
    assert refused(text, expected=replace(EXPECTED, algorithms=("ES256",))) == "algorithm"


def test_a_key_in_the_header_or_where_the_header_says_is_not_taken() -> None:
    evil = ECKey.generate_key("P-256", {"kid": "one"})
    text = signed(said(), evil, jwk=evil.as_dict(private=False), jku="https://evil.example.com/keys")
    assert refused(text) == "signature"


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a.b", "a.b.c.d", "e30.e30.", ".e30.e30", "e30.e30.A=", "e30 .e30.AA", "é.e30.AA", "x" * 20_000,
        "e3.e30.AA", "e31.e30.AA",
    ],
)  # fmt: skip
def test_what_is_no_token_is_none(text: str) -> None:
    with pytest.raises(NotBelieved):
        believed(text)


@pytest.mark.parametrize(
    "claims",
    [
        b"[]",
        b"7",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"iss": NaN}',
        b'{"iss": "a", "iss": "b"}',
        b'{"x": {"y": 1, "y": 2}}',
        b"[" * 5000,
        b'{"a":' * 1500 + b"1" + b"}" * 1500,
        b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1),
    ],
    ids=lambda each: each[:12].decode(errors="replace"),
)
def test_claims_that_two_readers_would_read_differently_are_not_read(claims: bytes) -> None:
    assert refused(signed(claims, KEY)) == "form"


def test_one_that_is_too_long_is_not_read() -> None:
    assert refused(signed(said(pad="x" * MOST_BYTES), KEY)) == "form"


def test_another_spelling_of_a_token_is_another_token() -> None:
    """A signature's last letter has bits to spare: with them an id of the text would be met twice."""
    text = signed(said(), KEY)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = text[:-1] + letters[letters.index(text[-1]) ^ 1]
    assert refused(twin) in ("form", "signature")


def test_an_event_does_not_expire_and_is_taken_for_a_while() -> None:
    events = replace(EXPECTED, expires=False, longest=timedelta(days=1))
    assert refused(signed(said(), KEY), expected=events) == "time"
    assert believed(signed(said(exp=None), KEY), expected=events).keep_until > NOW + timedelta(hours=23)
    assert refused(signed(said(exp=None, iat=None), KEY), expected=events) == "time"
    assert refused(signed(said(exp=None, iat=AT - 2 * 86_400), KEY), expected=events) == "time"


def test_one_that_is_also_for_others_counts_only_where_that_is_usual() -> None:
    text = signed(said(aud=[OURS, "https://kubernetes.default.svc"]), KEY)
    assert believed(text, expected=replace(EXPECTED, only_for_us=False)).issuer == IDP


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(("iss", "aud", "exp")), value=VALUES)
def test_whatever_else_a_claim_says_is_refused_in_order(name: str, value: Any) -> None:
    claims = {**said(), name: value}
    if value in (claims_of(IDP, now=NOW)[name], [OURS]) or (name == "exp" and _is_in_time(value)):
        return
    assert refused(signed(claims, KEY)) in ("issuer", "audience", "time")


def _is_in_time(value: Any) -> bool:
    return isinstance(value, int | float) and AT < value <= AT + 630


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_changed_letter_of_a_token_is_believed(data: st.DataObject) -> None:
    text = signed(claims_of(IDP, now=NOW, jti="always-the-same"), KEY)
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("AQZaz09-_.="))
    if text[place] != letter:
        with pytest.raises(NotBelieved):
            believed(text[:place] + letter + text[place + 1 :])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda found: raw(found, found)))
def test_whatever_is_shown_is_refused_in_order(text: str) -> None:
    with pytest.raises(NotBelieved):
        believed(text)
