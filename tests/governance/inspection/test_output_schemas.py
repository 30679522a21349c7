"""A masked result has the form that was promised, or nobody says that it has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from governance.inspection.masking import VaultIndex
from governance.inspection.output_schemas import DEEPEST, still_valid

SECRET = "s3cr3t-value-of-vault"
VAULT = VaultIndex([("billing", [SECRET.encode()])])

TEXTS = st.sampled_from([SECRET, f"the {SECRET}", "plain", "", "2026-03-02"])
LEAVES = st.one_of(TEXTS, st.integers(0, 3), st.booleans(), st.none())
NAMES = st.sampled_from(["a", "b", SECRET])
VALUES = st.recursive(
    LEAVES,
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(NAMES, inside, max_size=3)),
    max_leaves=8,
)
DEFINED = {
    "one": {"type": "object", "maxProperties": 1},
    "text": {"type": "string"},
    "tree": {"items": {"$ref": "#/$defs/tree"}, "properties": {"a": {"$ref": "#/$defs/tree"}, "b": {"maxLength": 9}}},
}
ASKED: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["string", "object", "array", "integer", ["string", "null"], ["object", "array"]]),
    "title": st.just("a title"),
    "maxLength": st.integers(0, 30),
    "minLength": st.integers(0, 22),
    "pattern": st.just("^[a-z0-9 -]*$"),
    "enum": st.lists(TEXTS, min_size=1, max_size=3),
    "const": TEXTS,
    "uniqueItems": st.just(True),
    "minProperties": st.integers(0, 2),
    "propertyNames": st.just({"maxLength": 21}),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "$ref": st.sampled_from([f"#/$defs/{name}" for name in DEFINED]),
}


def _schemas(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inside, min_size=1, max_size=3)
    nested: dict[str, st.SearchStrategy[Any]] = {
        "properties": st.dictionaries(NAMES, inside, max_size=3),
        "patternProperties": st.dictionaries(st.just("^a"), inside, max_size=1),
        "additionalProperties": inside,
        "items": inside,
        "prefixItems": several,
        "anyOf": several,
        "allOf": several,
        "oneOf": several,
        "not": inside,
        "if": inside,
        "contains": inside,
    }
    return st.one_of(
        st.fixed_dictionaries({}, optional={**ASKED, **nested}),
        st.sampled_from(sorted(nested)).flatmap(lambda name: st.fixed_dictionaries({name: nested[name]})),
    )


SCHEMAS = st.recursive(
    st.one_of(
        st.booleans(),
        st.just({"type": "string"}),
        st.sampled_from(sorted(ASKED)).flatmap(lambda name: st.fixed_dictionaries({name: ASKED[name]})),
    ),
    _schemas,
    max_leaves=6,
)


@given(SCHEMAS, VALUES)
def test_what_is_said_to_be_valid_still_is(schema: Any, value: Any) -> None:
    if isinstance(schema, dict):
        schema = {**schema, "$defs": DEFINED}
    masked, _ = VAULT.mask(value)
    if masked == value or not still_valid(schema, value, masked):
        return
    validator = Draft202012Validator(schema)
    assert not validator.is_valid(value) or validator.is_valid(masked)


PLAIN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPTIONAL = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}}
NESTED = {
    "$defs": {"Line": {"type": "object", "title": "Line", "properties": {"text": {"type": "string"}}}},
    "type": "object",
    "properties": {"result": {"type": "array", "items": {"$ref": "#/$defs/Line"}}},
    "x-wrap-result": True,
}


@pytest.mark.parametrize(
    ("schema", "value", "is_kept"),
    [
        (PLAIN, {"a": SECRET}, True),
        (OPTIONAL, {"a": f"it is {SECRET}"}, True),
        (NESTED, {"result": [{"text": "x"}, {"text": SECRET}]}, True),
        ({"type": "object"}, {"a": SECRET, "b": [SECRET]}, True),
        ({"properties": {"a": {"type": "string", "maxLength": 21}}}, {"a": SECRET}, True),
        ({"properties": {"a": {"type": "string", "maxLength": 10}}}, {"a": SECRET}, False),
        ({"properties": {"a": {"type": "string", "pattern": "^s"}}}, {"a": SECRET}, False),
        ({"properties": {"a": {"enum": [SECRET]}}}, {"a": SECRET}, False),
        ({"properties": {"a": {"type": "string", "format": "uri"}}}, {"a": SECRET}, False),
        ({"properties": {"a": {"pattern": "^s"}}}, {"a": "other", "b": SECRET}, True),
        ({"type": "object", "additionalProperties": False, "properties": {SECRET: {}}}, {SECRET: 1}, False),
        ({"items": {"type": "string"}, "uniqueItems": True}, [SECRET, f"{SECRET}"], False),
        ({"oneOf": [{"type": "string"}]}, SECRET, False),
        ({"$ref": "https://elsewhere.example/schema"}, SECRET, False),
        ({"$ref": "#"}, SECRET, False),
    ],
    ids=str,
)
def test_only_what_surely_holds_is_kept(schema: Any, value: Any, is_kept: bool) -> None:
    assert still_valid(schema, value, VAULT.mask(value)[0]) is is_kept


def test_a_hostile_schema_takes_no_time() -> None:
    nested: Any = {"type": "string"}
    for _ in range(5_000):
        nested = {"anyOf": [nested, nested]}
    assert not still_valid(nested, SECRET, "[SECRET]")
    wide: Any = {"anyOf": [{"$ref": "#"}] * 1_000}
    assert not still_valid(wide, SECRET, "[SECRET]")
    deep: Any = SECRET
    for _ in range(DEEPEST + 1):
        deep = [deep]
    assert not still_valid({"items": {"$ref": "#"}}, deep, VAULT.mask(deep)[0])
