"""Fields masked in results by path: what is replaced, what is withheld, what is told of it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from governance.inspection.field_masks import MASKED, WITHHELD, WITHHELD_PATH, mask_fields

SECRET = "DE89 3704 0044 0532 0130 00"
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
NAMES = st.sampled_from(["iban", "name", "accounts", "a.b"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)


def masked(result: dict[str, Any], *globs: str) -> tuple[Any, dict[str, int]]:
    shown, places = mask_fields(result, [("pii v1#0", globs)])
    assert all(place.rule == "pii v1#0" for place in places)
    return shown, {place.path: place.count for place in places}


def text(value: Any) -> dict[str, Any]:
    return {"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}


def test_a_path_goes_through_lists_and_the_value_goes_as_a_whole() -> None:
    content = {"customer": {"accounts": [{"iban": SECRET}, {"iban": [SECRET]}], "name": "Ana"}}
    shown, places = masked({"structuredContent": content}, "customer.accounts.iban")
    assert shown["structuredContent"] == {"customer": {"accounts": [{"iban": MASKED}, {"iban": MASKED}], "name": "Ana"}}
    assert places == {"customer.accounts.iban": 2}


def test_a_star_stands_for_any_depth_even_none() -> None:
    shown, places = masked({"structuredContent": {"iban": 1, "a": {"b": {"iban": 2}}, "ibans": 3}}, "*.iban")
    assert shown["structuredContent"] == {"iban": MASKED, "a": {"b": {"iban": MASKED}}, "ibans": 3}
    assert places == {"iban": 1, "a.b.iban": 1}


def test_text_that_is_json_is_masked_inside_and_the_rest_of_the_block_stays() -> None:
    blocks = [text({"iban": SECRET}), {**text([{"name": "Ana"}]), "annotations": {"priority": 1}}]
    shown, _ = masked({"content": blocks, "isError": False}, "iban")
    assert json.loads(shown["content"][0]["text"]) == {"iban": MASKED}
    assert shown["content"][1] == blocks[1]
    assert shown["isError"] is False


def test_what_is_no_json_could_repeat_the_field_in_words() -> None:
    blocks = [
        text(f"The IBAN is {SECRET}"),
        text('{"iban": "x", "iban": "y"}'),
        {"type": "image", "data": SECRET, "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "file:///a", "blob": SECRET}},
        {"type": "resource", "resource": {"uri": "file:///a", "text": SECRET}},
        {"type": "new-kind", "words": SECRET},
    ]
    shown, places = masked({"content": blocks}, "iban")
    assert SECRET not in json.dumps(shown)
    assert '"y"' not in json.dumps(shown)
    assert json.dumps(shown).count(WITHHELD) == len(blocks)
    assert places == {WITHHELD_PATH: len(blocks)}


def test_resources_and_prompts_are_masked_alike() -> None:
    shown, _ = masked({"contents": [{"uri": "file:///a", "text": json.dumps({"iban": SECRET})}]}, "iban")
    assert SECRET not in json.dumps(shown)
    shown, _ = masked({"messages": [{"role": "user", "content": text({"iban": SECRET})}]}, "iban")
    assert SECRET not in json.dumps(shown)


def test_a_link_is_no_content() -> None:
    link = {"type": "resource_link", "uri": "file:///a", "name": "a"}
    assert masked({"content": [link]}, "iban") == ({"content": [link]}, {})


@given(VALUES)
def test_nothing_that_is_named_is_left_and_all_else_is(value: Any) -> None:
    result = {"structuredContent": value, "content": [text(value)]}
    shown, _ = masked(result, "*.iban")
    expected = without(value)
    assert shown["structuredContent"] == expected
    if isinstance(value, dict | list):
        assert json.loads(shown["content"][0]["text"]) == expected


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: MASKED if name == "iban" else without(member) for name, member in value.items()}
    return [without(member) for member in value] if isinstance(value, list) else value
