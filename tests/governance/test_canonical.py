"""Strict parsing, the one encoding, and digests."""

import hashlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.canonical import NotCanonical, call_digest, definition_hash, digest, encode, parse

INTEGERS = st.integers(-(2**63), 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
KEYS = st.one_of(st.sampled_from(["a", "b", ":", '"', '":', ' "', "\\", "", "é", "\x00"]), TEXT)
SCALARS = st.one_of(st.none(), st.booleans(), INTEGERS, st.floats(allow_nan=False, allow_infinity=False), KEYS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t", "\r", " \n"])


@st.composite
def documents(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON text as a hostile hand writes it: odd spaces, escapes, perhaps a key twice."""
    shape = draw(st.sampled_from(["scalar", "list", "object"])) if depth else "scalar"
    if shape == "scalar":
        return json.dumps(draw(SCALARS), ensure_ascii=draw(st.booleans()))
    if shape == "list":
        return "[" + ",".join(draw(st.lists(documents(depth=depth - 1), max_size=3))) + "]"
    member = st.tuples(KEYS, st.booleans(), SPACE, SPACE, documents(depth=depth - 1))
    members = draw(st.lists(member, max_size=4))
    return "{" + ",".join(f"{json.dumps(k, ensure_ascii=e)}{s}:{t}{v}" for k, e, s, t, v in members) + "}"


def has_duplicates(text: str) -> bool:
    found = False

    def note(members: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in members}) != len(members)

    json.loads(text, object_pairs_hook=note)
    return found


def refusal(body: bytes, **limits: int) -> str:
    with pytest.raises(NotCanonical) as refused:
        parse(body, **limits)
    return refused.value.code


@given(documents())
def test_a_document_is_refused_exactly_when_some_object_names_a_key_twice(text: str) -> None:
    if has_duplicates(text):
        assert refusal(text.encode()) == "duplicate_key"
    else:
        assert parse(text.encode()) == json.loads(text)


@given(VALUES)
def test_what_was_encoded_parses_to_the_same_and_encodes_to_the_same(value: Any) -> None:
    body = encode(value)
    assert parse(body) == value
    assert encode(parse(body)) == body


@given(st.dictionaries(KEYS, SCALARS, min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    assert encode(dict(reversed(value.items()))) == encode(value)


@given(st.integers())
def test_integers_are_exact_or_refused(number: int) -> None:
    body = b'{"n":%d}' % number
    if -(2**63) <= number < 2**64:
        assert parse(body)["n"] == number
        assert type(parse(body)["n"]) is int
    else:
        assert refusal(body) in ("number_out_of_range", "invalid_json")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_of_any_size_are_kept(number: float) -> None:
    assert parse(orjson.dumps([number])) == [number]


@given(st.binary(max_size=40) | st.text('[]{}",:0 ', max_size=12).map(str.encode))
def test_arbitrary_bytes_parse_or_are_refused(body: bytes) -> None:
    try:
        orjson.loads(body)
    except ValueError:
        assert refusal(body) == "invalid_json"
    else:
        assert has_duplicates(body.decode()) or parse(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b'{"a":1', "invalid_json"),
        (b"NaN", "invalid_json"),
        (b"[Infinity]", "invalid_json"),
        (b"1e400", "invalid_json"),
        (b'"\\ud800"', "invalid_json"),
        (b'"\xff"', "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        (b'{"a":1,"\\u0061":2}', "duplicate_key"),
        (b'{"a":":","a":1}', "duplicate_key"),
        (b'{"a" :1,"a" :2}', "duplicate_key"),
        (b'{"a" :1,"a":2}', "duplicate_key"),
        (b"18446744073709551616", "number_out_of_range"),
        (b"-9223372036854775809", "number_out_of_range"),
        (b'[{"a":[123456789012345678901234567890]}]', "number_out_of_range"),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(body: bytes, code: str) -> None:
    assert refusal(body) == code


def test_the_refusal_names_the_key() -> None:
    with pytest.raises(NotCanonical, match='The key "amount" occurs twice'):
        parse(b'{"amount":1,"amount":100}')


@pytest.mark.parametrize("depth", [65, 1000, 1024, 1025, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    assert refusal(b"[" * depth + b"]" * depth) == "too_deep"
    assert refusal(b'{"a" :' * depth + b"1" + b"}" * depth) == "too_deep"


def test_deep_nesting_behind_a_large_number_is_refused() -> None:
    assert refusal(b"[[1e30]," + b"[" * 900 + b"]" * 900 + b"]") == "too_deep"


def test_the_depth_limit_is_inclusive() -> None:
    assert parse(b"[" * 64 + b"]" * 64)
    assert refusal(b"[[[]]]", max_depth=2) == "too_deep"
    assert parse(b"1", max_depth=0) == 1


def test_nul_is_legal_inside_a_string() -> None:
    assert encode(parse(b'{"a":"x\\u0000y"}')) == b'{"a":"x\\u0000y"}'


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_different_fields_have_different_digests(left: list[bytes], right: list[bytes]) -> None:
    assert (digest(b"d", *left) == digest(b"d", *right)) is (left == right)


def test_the_digest_is_sha256_over_length_prefixed_fields() -> None:
    expected = hashlib.sha256(bytes(7) + b"\x03dom" + bytes(7) + b"\x01x" + bytes(8)).digest()
    assert digest(b"dom", b"x", b"") == expected


CALL: dict[str, Any] = {
    "organization": "example",
    "agent": "triage-bot",
    "person": "",
    "connector": "helpdesk",
    "tool": "billing_refund",
    "definition": "00ff",
    "arguments": b'{"amount":100}',
    "bundle_version": "support@3",
}


def test_every_part_of_a_call_is_bound() -> None:
    digests = {call_digest(**{**CALL, name: value + value[:1] if value else "ana"}) for name, value in CALL.items()}
    assert len(digests | {call_digest(**CALL)}) == len(CALL) + 1


def test_a_definition_is_the_same_whatever_the_order_and_differs_by_any_field() -> None:
    tool = {"name": "t", "inputSchema": {"type": "object"}, "x-unknown": 1}
    assert definition_hash(tool) == definition_hash(dict(reversed(tool.items())))
    assert definition_hash(tool) != definition_hash({**tool, "x-unknown": 2})
