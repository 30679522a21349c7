"""A pattern is true of the call it was made from, and false as soon as something that was kept is not as it was."""

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from governance.conditions import Verdict, compile_condition, holds_nul
from governance.patterns import NotKept, condition_of, offers

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
ARGUMENTS = st.dictionaries(TEXTS, VALUES, min_size=1, max_size=5)


def verdict(condition: str, arguments: dict[str, Any]) -> Verdict:
    return compile_condition(condition).evaluate({"args": arguments, "findings": []})


def same(one: Any, other: Any) -> bool:
    """As JSON numbers are: 1 and 1.0 are one number, and no truth."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(ARGUMENTS)
def test_the_call_it_was_made_from_meets_it(arguments: dict[str, Any]) -> None:
    kept = [constraint.member for constraint in offers(arguments)]
    at_most = [constraint.member for constraint in offers(arguments) if constraint.most]
    try:
        conditions = condition_of(arguments, kept), condition_of(arguments, kept, at_most=at_most)
    except NotKept:
        assume(False)
    assert [verdict(condition, arguments) for condition in conditions] == [Verdict.TRUE, Verdict.TRUE]


@given(ARGUMENTS, VALUES, st.data())
def test_a_kept_member_that_changes_does_not_meet_it(
    arguments: dict[str, Any], other: Any, data: st.DataObject
) -> None:
    constraints = offers(arguments)
    assume(constraints)
    chosen = data.draw(st.sampled_from(constraints))
    is_number = isinstance(other, int | float) and not isinstance(other, bool)
    assume(not same(chosen.value, other))
    assume(not (is_number and abs(other) > 2**53))
    changed = {**arguments, chosen.member: other}
    assert verdict(condition_of(arguments, [chosen.member]), changed) is not Verdict.TRUE
    if chosen.most and not (is_number and 0 <= other <= chosen.value):
        assert verdict(condition_of(arguments, [], at_most=[chosen.member]), changed) is not Verdict.TRUE


@given(ARGUMENTS, TEXTS, VALUES)
def test_a_member_that_the_call_did_not_have_does_not_meet_it(
    arguments: dict[str, Any], member: str, value: Any
) -> None:
    assume(member not in arguments and not holds_nul(arguments))
    assert verdict(condition_of(arguments, []), {**arguments, member: value}) is not Verdict.TRUE


@given(ARGUMENTS, st.data())
def test_a_kept_member_that_is_left_out_does_not_meet_it(arguments: dict[str, Any], data: st.DataObject) -> None:
    constraints = offers(arguments)
    assume(constraints)
    gone = data.draw(st.sampled_from(constraints))
    others = {name: value for name, value in arguments.items() if name != gone.member}
    assert verdict(condition_of(arguments, [gone.member]), others) is not Verdict.TRUE
    if gone.most:
        assert verdict(condition_of(arguments, [], at_most=[gone.member]), others) is not Verdict.TRUE


@given(st.integers(0, 2**53) | st.floats(0, 1e15), st.floats(0, 1), st.floats(0, 1e6))
def test_a_number_may_be_less_and_not_more(amount: float, part: float, by: float) -> None:
    condition = condition_of({"amount": amount}, ["amount"], at_most=["amount"])
    assert condition == condition_of({"amount": amount}, [], at_most=["amount"])
    assert verdict(condition, {"amount": amount * part}) is Verdict.TRUE
    assert verdict(condition, {"amount": math.nextafter(amount + by, math.inf)}) is not Verdict.TRUE


@given(st.integers(-(2**52), 2**53) | st.floats(-1e15, 1e15), st.floats(1, 1e6))
def test_no_number_is_at_most_another_by_being_below_nothing(amount: float, by: float) -> None:
    """Who agrees to refunds of at most 50 does not agree to charges of any height."""
    (constraint,) = offers({"amount": amount})
    at_most = ["amount"] if constraint.most else []
    condition = condition_of({"amount": amount}, ["amount"], at_most=at_most)
    assert verdict(condition, {"amount": min(amount, 0) - by}) is not Verdict.TRUE


def test_the_number_of_an_order_is_kept_as_it_is() -> None:
    condition = condition_of({"order_id": 4411}, ["order_id"])
    assert verdict(condition, {"order_id": 4411}) is Verdict.TRUE
    assert verdict(condition, {"order_id": 4410}) is Verdict.FALSE


@pytest.mark.parametrize("value", [-1, True, "12", None, [3]])
def test_what_is_no_number_from_nothing_up_has_no_most(value: Any) -> None:
    (constraint,) = offers({"member": value})
    assert not constraint.most
    with pytest.raises(NotKept, match="Keep it as it is"):
        condition_of({"member": value}, [], at_most=["member"])


def test_what_is_too_long_to_compare_is_not_offered() -> None:
    arguments = {"note": "x" * 301, "id": 7}
    assert [str(constraint) for constraint in offers(arguments)] == ["id is 7"]
    with pytest.raises(NotKept, match=r"note cannot be kept\. Choose among id"):
        condition_of(arguments, ["note"])
    with pytest.raises(NotKept, match="note cannot be kept"):
        condition_of(arguments, [], at_most=["note"])


def test_too_many_members_make_no_pattern() -> None:
    with pytest.raises(NotKept, match="Approve the call alone"):
        condition_of({f"member-{number}": 1 for number in range(500)}, [])


def test_a_text_with_a_nul_is_not_taken_for_its_beginning() -> None:
    condition = condition_of({"project": "SUP"}, ["project"])
    assert verdict(condition, {"project": "SUP\0-other"}) is not Verdict.TRUE
    assert verdict(condition, {"project\0": "SUP"}) is not Verdict.TRUE
    assert offers({"project": "SUP\0"}) == ()
    with pytest.raises(NotKept, match="Approve the call alone"):
        condition_of({"project": "SUP", "note": "\0"}, ["project"])
