"""Every string of a JSON value is visited, within bounds."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.inspection.findings import Budget
from governance.inspection.walk import Leaf, TooMuch, leaves

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def test_leaves_come_with_path_and_key() -> None:
    value = {"user": {"mails": ["a", "b"], "a/b~c": 7}, "ok": True}
    assert list(leaves(value, Budget())) == [
        Leaf("/user", "", "user", is_key=True),
        Leaf("/user/mails", "", "mails", is_key=True),
        Leaf("/user/mails/0", "mails", "a"),
        Leaf("/user/mails/1", "mails", "b"),
        Leaf("/user/a~1b~0c", "", "a/b~c", is_key=True),
        Leaf("/user/a~1b~0c", "a/b~c", "7"),
        Leaf("/ok", "", "ok", is_key=True),
    ]


@given(JSON)
def test_no_string_is_left_out(value: Any) -> None:
    seen = {leaf.text for leaf in leaves(value, Budget())}
    expected: set[str] = set()
    json.loads(json.dumps(value), object_hook=lambda members: expected.update(members) or members)
    assert {text for text in expected if text} <= seen


@pytest.mark.parametrize("budget", [replace(Budget(), depth=5), replace(Budget(), leaves=5)])
def test_depth_and_number_are_bounded(budget: Budget) -> None:
    nested: Any = "end"
    for _ in range(10):
        nested = [nested, "beside"]
    with pytest.raises(TooMuch):
        list(leaves(nested, budget))
