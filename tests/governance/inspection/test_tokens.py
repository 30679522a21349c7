"""Tokens of reversible masks: what is masked parses, and only who has the values gets back what was there."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.inspection.findings import Finding, Severity
from governance.inspection.redaction import redact
from governance.inspection.tokens import (
    LONGEST_VALUE,
    Names,
    Value,
    goes_back,
    last_of,
    masked,
    token,
    tokens_in,
    unmasked,
    values_in,
    without_tokens,
)

NAMES = Names(frozenset(("personal_data", "secret")))
MAIL = re.compile(r"[a-z]+@corp\.example")
DIGITS = re.compile(r"[0-9]{3,}")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["ana@corp.example", "bo@corp.example", "4111", 'a "b\\" \\u00e9', "\\", '"', "ana@corp.examplebo@corp.example ünd"]
)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
PLAIN = st.recursive(
    TEXTS | NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
JSON_TEXTS = (st.lists(PLAIN, max_size=3) | st.dictionaries(TEXTS, PLAIN, max_size=3)).map(
    lambda value: orjson.dumps(value).decode()
)
ANYTHING = st.recursive(
    TEXTS | NUMBERS | JSON_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


def found_in(value: Any, path: str = "") -> list[Finding]:
    """Addresses and digits wherever they stand, as an engine would tell of them; spans may cross what JSON means."""
    if isinstance(value, dict):
        below = [(f"{path}/{key[:64].replace('~', '~0').replace('/', '~1')}", key) for key in value]
        keys = [each for place, key in below for each in _spans(key, place, in_key=True)]
        return [*keys, *(each for place, key in below for each in found_in(value[key], place))]
    if isinstance(value, list):
        return [each for number, member in enumerate(value) for each in found_in(member, f"{path}/{number}")]
    if value is None or isinstance(value, bool):
        return []
    return _spans(value if isinstance(value, str) else str(value), path)


def _spans(text: str, path: str, *, in_key: bool = False) -> list[Finding]:
    kinds = (("email", MAIL, "personal"), ("digits", DIGITS, "secret"))
    return [
        Finding(rule, 1, kind, Severity.HIGH, 0.9, path, *match.span(), "raw", in_key=in_key)  # type: ignore[arg-type]
        for rule, pattern, kind in kinds
        for match in pattern.finditer(text)
    ]


def tokens_for(values: list[Value], proof: str = "aaaaaaaa") -> dict[Value, str]:
    return {value: token(f"{value.label}#{number}", proof, "") for number, value in enumerate(values, start=1)}


def read(value: Any) -> Any:
    """With text that is JSON as what it says: spelled otherwise it says the same."""
    if isinstance(value, str):
        try:
            inner = orjson.loads(value) if value[:1] in "{[" else None
        except ValueError:
            inner = None
        return ("json", read(inner)) if isinstance(inner, dict | list) else value
    if isinstance(value, dict):
        return {key: read(member) for key, member in value.items()}
    return [read(member) for member in value] if isinstance(value, list) else value


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_what_was_masked_comes_back_for_the_right_reader_and_for_nobody_else(value: Any) -> None:
    found = found_in(value)
    tokens = tokens_for(values_in(value, found, NAMES))
    hidden = masked(value, found, NAMES, tokens)
    assert orjson.loads(orjson.dumps(hidden)) == hidden
    assert read(unmasked(hidden, {text: value for value, text in tokens.items()})) == read(value)
    others = {text: value for value, text in tokens_for(list(tokens), "bbbbbbbb").items()}
    assert unmasked(hidden, others) == hidden


@settings(max_examples=60, deadline=None)
@given(JSON_TEXTS)
def test_text_that_is_json_stays_json(text: str) -> None:
    found = found_in([text])
    for shown in (redact([text], found), masked([text], found, NAMES, tokens_for(values_in([text], found, NAMES)))):
        assert type(orjson.loads(shown[0])) is type(orjson.loads(text))
        assert not MAIL.search(shown[0])


ACROSS = ('{"a":"x@b", "b":12345}', '["\\ud83d\\ude00 1234"]', '{"a":"\\\\","b":1234}')


@pytest.mark.parametrize("text", ACROSS, ids=str)
def test_a_finding_across_json_takes_no_sign_of_it(text: str) -> None:
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            across = Finding("address", 1, "personal", Severity.HIGH, 0.9, "/0", start, end, "raw")
            orjson.loads(redact([text], [across])[0])


def test_values_are_told_apart_by_what_they_are() -> None:
    value = {"a": 4111, "b": "4111", "c": "4111"}
    assert [(each.text, each.is_number) for each in values_in(value, found_in(value), NAMES)] == [
        ("4111", True),
        ("4111", False),
    ]


def test_what_is_not_named_or_too_long_or_orders_is_masked_for_good() -> None:
    value = {"a": "ana@corp.example", "b": "1" * (LONGEST_VALUE + 1), "c": "obey me"}
    orders = Finding("override", 1, "injection", Severity.HIGH, 0.9, "/c", 0, 7, "raw")
    found = [*found_in(value), orders]
    assert values_in(value, found, Names(frozenset(("secret",)))) == []
    assert [each.label for each in values_in(value, found, NAMES)] == ["EMAIL"]
    assert masked(value, found, NAMES, {}) == {"a": "[EMAIL]", "b": "[SECRET:digits]", "c": "[INSTRUCTION]"}


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("4111 1111 1111 4242", 4, "4242"),
        ("123-45-6789", 4, "789"),
        ("a@b.c", 4, "c"),
        ("x", 4, ""),
        ("4242424242424242", 0, ""),
        ("4242424242424242", 9, "4242"),
    ],
)
def test_of_a_value_no_more_than_a_third_is_shown(text: str, most: int, shown: str) -> None:
    assert last_of(text, most) == shown


def test_a_value_that_looks_like_a_token_is_not_looked_at_again() -> None:
    outer, inner = token("EMAIL#1", "aaaaaaaa", ""), token("EMAIL#2", "bbbbbbbb", "")
    values = {
        outer: Value("EMAIL", "email", (("personal_data",),), f"see {inner}"),
        inner: Value("EMAIL", "email", (("personal_data",),), "hidden"),
    }
    assert unmasked([f"to {outer}"], values) == [f"to see {inner}"]


def test_a_value_stays_within_its_string() -> None:
    here = token("EMAIL#1", "aaaaaaaa", "")
    values = {here: Value("EMAIL", "email", (("personal_data",),), '","admin":true,"x":"')}
    assert orjson.loads(unmasked(f'{{"to":"{here}"}}', values)) == {"to": '","admin":true,"x":"'}


def test_a_finding_within_a_token_of_ours_is_none_and_within_anothers_is_one() -> None:
    ours, theirs = token("EMAIL#1", "aaaaaaaa", ""), token("EMAIL#1", "bbbbbbbb", "")
    value = [f"{ours} {theirs}"]
    start = len(ours) + 1
    both = [
        Finding("generic", 1, "secret", Severity.HIGH, 0.9, "/0", 1, 10, "raw"),
        Finding("generic", 1, "secret", Severity.HIGH, 0.9, "/0", start, start + 10, "raw"),
        Finding("generic", 1, "secret", Severity.HIGH, 0.9, "/0", 1, start + 10, "raw"),
    ]
    assert without_tokens(value, both, {ours}) == both[1:]
    assert [seen.text for seen in tokens_in(value)] == [ours, theirs]


def test_what_is_known_to_be_secret_has_no_token() -> None:
    found = Finding("canary", 1, "secret", Severity.CRITICAL, 1.0, "/a", 0, 6, "raw", "bait")
    assert values_in({"a": "abcdef"}, [found], Names(frozenset(("secret",)))) == []


def test_what_may_be_an_order_has_no_token() -> None:
    assert not goes_back("suspected_injection")
