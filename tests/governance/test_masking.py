"""A vault value in a result: found in every form it may take, and gone after masking."""

import base64
import codecs
import json
import string
import time
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from governance.canonical import encode, parse
from governance.inspection.masking import SHORTEST_APART, Hit, VaultIndex
from governance.vault import known_forms, maskable_forms

TOKEN = 'tök/en+"1\\2'
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
SECRETS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=("Cs",)), min_size=8, max_size=14),
        st.text('ab1,:[]{}"\\ ', min_size=8, max_size=10),
        st.sampled_from(["12345678", "[SECRET:s", "SECRET:s0", "1,2,3,4,5", "truefalse", "aaaaaaaa"]),
    ),
    min_size=1,
    max_size=3,
)


def index_of(*values: str, kind: str = "bearer") -> VaultIndex:
    return VaultIndex((f"s{number}", maskable_forms(kind, value)) for number, value in enumerate(values))


@st.composite
def results(draw: st.DrawFn, values: list[str]) -> Any:
    """JSON that repeats the values in leaves, keys, numbers and nested JSON."""
    spellings = [form.decode() for value in values for form in maskable_forms("bearer", value)]
    leaky = st.tuples(TEXT, st.sampled_from([*spellings, *values]), TEXT).map("".join)
    leaves = st.one_of(leaky, TEXT, st.integers(-(2**63), 2**63), st.just(12345678), st.booleans(), st.none())
    return draw(
        st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(leaky | TEXT, inner), max_leaves=8)
    )


@given(st.data(), SECRETS)
def test_after_masking_no_form_is_left_and_the_result_parses(data: st.DataObject, values: list[str]) -> None:
    value = data.draw(results(values))
    index = index_of(*values)
    masked, hits = index.mask(value)
    body = encode(masked)
    assert parse(body) == masked
    assert not index.find(body)
    assert bool(hits) is (masked != value)
    for form in (form.decode() for secret in values for form in maskable_forms("bearer", secret)):
        assert form in "[SECRET]" or orjson.dumps(form)[1:-1] not in body


ATBASH = str.maketrans({a: chr(2 * ord("n") - 1 - ord(a)) for a in string.ascii_lowercase}) | str.maketrans(
    {a: chr(2 * ord("N") - 1 - ord(a)) for a in string.ascii_uppercase}
)


def base58(data: bytes) -> str:
    """As bitcoin writes it."""
    alphabet = [each for each in string.digits + string.ascii_uppercase + string.ascii_lowercase if each not in "0OIl"]
    number, written = int.from_bytes(data), ""
    while number:
        number, rest = divmod(number, 58)
        written = alphabet[rest] + written
    return written


HIDDEN = {
    "hex": lambda text: f"x{text.encode().hex()}y",
    "upper-hex": lambda text: text.encode().hex().upper(),
    "base32": lambda text: base64.b32encode(f"{text} and more".encode()).decode(),
    "lower-base32": lambda text: base64.b32encode(text.encode()).decode().lower(),
    "base64-of-more": lambda text: base64.b64encode(f"a {text} b".encode()).decode(),
    "base64-of-yet-more": lambda text: base64.urlsafe_b64encode(f"a{text}".encode()).decode(),
    "base85": lambda text: base64.b85encode(text.encode()).decode(),
    "ascii85": lambda text: base64.a85encode(text.encode()).decode(),
    "backwards": lambda text: text[::-1],
    "rot13": lambda text: codecs.encode(text, "rot13"),
}


HIDDEN_TWICE = {
    "rot47": lambda text: "".join(chr(33 + (ord(each) - 33 + 47) % 94) for each in text),
    "atbash": lambda text: text.translate(ATBASH),
    "cases": lambda text: text.swapcase(),
    "base58": lambda text: base58(text.encode()),
    "number": lambda text: str(int.from_bytes(text.encode())),
    "hex-backwards": lambda text: f"x{text.encode().hex()[::-1]}",
    "base64-backwards": lambda text: base64.b64encode(f"a {text} b".encode()).decode()[::-1],
    "backwards-in-base64": lambda text: base64.b64encode(f"it {text[::-1]} is".encode()).decode(),
    "rot13-backwards": lambda text: codecs.encode(text, "rot13")[::-1],
    "base64-in-base64": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
}


@given(value=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=16, max_size=40))
def test_a_value_in_another_alphabet_or_two_disguises_is_known(value: str) -> None:
    index = VaultIndex([("billing", known_forms("bearer", value))])
    for name, hidden in HIDDEN_TWICE.items():
        assert index.find(orjson.dumps({"note": f"it is {hidden(value)} now"})), name


def test_what_is_hardly_a_number_hides_nothing() -> None:
    assert not VaultIndex([("billing", known_forms("bearer", "\0" * 20 + "a"))]).find(b'{"count":97}')


@pytest.mark.parametrize("hidden", HIDDEN)
@given(value=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12, max_size=40))
def test_a_value_that_somebody_hid_is_known(hidden: str, value: str) -> None:
    index = VaultIndex([("billing", known_forms("bearer", value))])
    body = orjson.dumps({"note": f"it is {HIDDEN[hidden](value)} now"})
    assert index.find(body)
    assert not index.find(orjson.dumps(index.mask(parse(body))[0]))


@given(
    st.text(string.ascii_letters + string.digits + "-_.", min_size=20, max_size=40),
    st.sampled_from([" ", "\n", ", ", "/", "•"]),
    st.integers(1, 5),
)
def test_a_value_with_gaps_is_known(value: str, gap: str, size: int) -> None:
    assume(sum(map(str.isalnum, value)) >= SHORTEST_APART)
    index = VaultIndex([("billing", known_forms("bearer", value))])
    pieces = [value[at : at + size] for at in range(0, len(value), size)]
    for note in (gap.join(pieces), pieces, gap.join(value.encode().hex())):
        assert index.find_apart(orjson.dumps({"note": note}))
    assert not index.find_apart(b'{"note": "plain words of no interest, 12 of them"}')


@given(st.recursive(TEXT | st.integers(0, 9), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_a_result_without_a_value_stays_as_it_is(value: Any) -> None:
    index = index_of("correct horse battery staple")
    assume(not index.find(encode(value)))
    assert index.mask(value) == (value, [])


@pytest.mark.parametrize(
    "leak",
    [
        TOKEN,
        f"Authorization: Bearer {TOKEN}!",
        json.dumps({"token": TOKEN}, ensure_ascii=False),
        base64.b64encode(TOKEN.encode()).decode(),
        base64.urlsafe_b64encode(TOKEN.encode()).decode(),
        base64.b64encode(TOKEN.encode() + b" and more").decode(),
        f"https://x.example/?t={quote(TOKEN, safe='')}",
    ],
)
def test_every_form_is_masked_in_values_and_keys(leak: str) -> None:
    index = index_of(TOKEN)
    assert index.find(encode({"text": leak}))
    masked, hits = index.mask({"content": [{"type": "text", "text": leak}], leak: 1})
    assert "[SECRET:s0]" in masked["content"][0]["text"]
    assert Hit("s0", "/content/0/text") in hits
    assert len(hits) == 2
    assert not index.find(encode(masked))


def test_an_escaped_value_is_found_after_canonical_encoding() -> None:
    wire = b'{"a":"\\u0073ecret-value-1"}'
    index = index_of("secret-value-1")
    assert not index.find(wire)
    assert index.find(encode(parse(wire)))


def test_the_password_of_a_pair_is_masked_alone_and_encoded() -> None:
    index = index_of("ana:open-sesame", kind="basic")
    pair = base64.b64encode(b"ana:open-sesame").decode()
    masked, _ = index.mask(["open-sesame", pair, "ana:open-sesame", "ana"])
    assert masked == ["[SECRET:s0]", "[SECRET:s0]", "[SECRET:s0]", "ana"]


def test_a_number_that_spells_a_value_becomes_text() -> None:
    assert index_of("12345678").mask({"pin": 12345678, "n": 1}) == (
        {"pin": "[SECRET:s0]", "n": 1},
        [Hit("s0", "/pin")],
    )


def test_keys_that_become_equal_keep_their_members() -> None:
    masked, _ = index_of("first-secret").mask({"first-secret": 1, "[SECRET:s0]": 2})
    assert sorted(masked.values()) == [1, 2]


def test_a_value_across_leaves_costs_the_whole_result() -> None:
    masked, hits = index_of("1,2,3,4,5").mask({"numbers": [1, 2, 3, 4, 5]})
    assert masked == "[SECRET]"
    assert hits


def test_a_name_that_gives_its_value_away_is_not_shown() -> None:
    index = VaultIndex([("hunter2hunter2", (b"hunter2hunter2",))])
    assert index.mask("x hunter2hunter2 x")[0] == "x [SECRET] x"


@pytest.mark.parametrize("kind", ["bearer", "header", "basic", "oauth_client"])
def test_short_values_are_not_looked_for(kind: str) -> None:
    assert maskable_forms(kind, "a:bcdef") == ()


@given(st.text(alphabet="abcdef", min_size=8, max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_a_value_is_found_at_any_offset_and_only_there(value: str, before: bytes, after: bytes) -> None:
    index = VaultIndex([("s", (value.encode(),))])
    assert index.find(before + value.encode() + after)
    assert index.find(before) is (value.encode() in before)


def test_among_many_values_each_is_found() -> None:
    values = [base64.b32encode(bytes([n]) * 25).decode() for n in range(256)]
    index = index_of(*values)
    assert all(index.find(orjson.dumps({"a": n, "b": value})) for n, value in enumerate(values))
    assert not index.find(orjson.dumps({"a": values[0][:-1]}))


def test_nothing_shows_the_values() -> None:
    index = index_of(TOKEN)
    assert TOKEN not in repr(index)
    assert TOKEN not in repr(index.mask({"a": TOKEN}))


def test_a_quick_look_over_two_kilobytes_is_quick() -> None:
    """Measured at about 10 us for 50 tokens; the bound leaves room for a busy machine."""
    index = index_of(*(base64.b32encode(bytes([n]) * 25).decode().lower() for n in range(50)))
    data = orjson.dumps({"text": "the quick brown fox jumps over the lazy dog " * 45})
    best = min(_duration(index, data) for _ in range(20))
    assert best < 100e-6


def _duration(index: VaultIndex, data: bytes) -> float:
    started = time.perf_counter()
    index.find(data)
    return time.perf_counter() - started


def test_places_are_told_up_to_a_bound_and_with_short_keys() -> None:
    index = VaultIndex([("token", [b"s3cr3t-value"])])
    masked, hits = index.mask({"k" * 5000: ["s3cr3t-value"] * 5000})
    assert len(hits) == 1000
    assert max(len(hit.path) for hit in hits) < 100
    assert "s3cr3t" not in str(masked)


def test_many_keys_that_become_one_by_masking_all_survive() -> None:
    index = VaultIndex([("a", [b"s3cr3t-value"])])
    members = {f"{'s3cr3t-value' * times}": times for times in range(1, 4)} | {"[SECRET:a]": 0, "[SECRET:a]#2": 9}
    masked, _ = index.mask(members)
    assert sorted(masked.values()) == [0, 1, 2, 3, 9]
