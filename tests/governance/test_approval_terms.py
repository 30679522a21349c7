"""The `approvers` of a rule: read strictly, written back the same, and a ticket's pattern that takes no time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.approval_terms import Terms, TermsError, parse_terms, terms_as_json

NAMES = st.lists(st.sampled_from(["leads", "support", "finance"]), unique=True, max_size=3).map(tuple)
SECONDS = st.integers(30, 86_400)


@st.composite
def all_terms(draw: st.DrawFn) -> Terms:
    to = draw(NAMES)
    return Terms(
        count=draw(st.integers(1, 5)),
        denials=draw(st.integers(1, 5)),
        teams=draw(NAMES),
        people=draw(st.sampled_from([(), ("lee@example.com",)])),
        on_call=draw(NAMES),
        duties=draw(st.sampled_from([(), ("security",), ("approver", "it-admin")])),
        manager=draw(st.booleans()),
        resource_owner=draw(st.booleans()),
        needs_reason=draw(st.booleans()),
        ticket=draw(st.sampled_from(["", "INC[0-9]+"])),
        pending=draw(SECONDS),
        use_within=draw(SECONDS),
        longest_grant=draw(st.just(0) | SECONDS),
        step_up=draw(st.just(0) | SECONDS),
        escalate_after=draw(st.integers(1, 29)) if to else 0,
        escalate_to=to,
        in_chat=draw(st.booleans()),
    )


@given(all_terms())
def test_terms_are_written_as_they_are_read(terms: Terms) -> None:
    assert parse_terms(terms_as_json(terms)) == terms


def test_the_example_of_the_manifest() -> None:
    assert parse_terms({"team": "support-leads", "count": 1}) == Terms(teams=("support-leads",))
    assert terms_as_json(Terms(teams=("support-leads",))) == {"team": "support-leads"}
    assert parse_terms({}).named_duties == ("approver",)
    assert parse_terms({"manager": True}).named_duties == ()


@pytest.mark.parametrize(
    ("approvers", "field"),
    [
        ({"teem": "leads"}, "teem"),
        ({"team": []}, "team"),
        ({"team": 7}, "team"),
        ({"people": [""]}, "people"),
        ({"count": 0}, "count"),
        ({"count": 6}, "count"),
        ({"count": True}, "count"),
        ({"manager": "yes"}, "manager"),
        ({"duties": ["king"]}, "duties"),
        ({"reason": True}, "reason"),
        ({"ticket": "(["}, "ticket"),
        ({"ticket": "a)|(b"}, "ticket"),
        ({"ticket": "(?=x)"}, "ticket"),
        ({"ticket": "x" * 201}, "ticket"),
        ({"pending": "soon"}, "pending"),
        ({"pending": "8d"}, "pending"),
        ({"pending": 5}, "pending"),
        ({"pending": -60}, "pending"),
        ({"longest_grant": "25h"}, "longest_grant"),
        ({"escalate": "5m"}, "escalate"),
        ({"escalate": {"after": "5m"}}, "escalate"),
        ({"escalate": {"after": "5m", "to": ["leads"], "then": 1}}, "escalate.then"),
        ({"escalate": {"after": "15m", "to": ["leads"]}}, "escalate"),
    ],
)
def test_what_will_not_do_is_named(approvers: dict[str, Any], field: str) -> None:
    with pytest.raises(TermsError) as caught:
        parse_terms(approvers)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("ticket", "number", "fits"),
    [
        ("", "", True),
        ("INC[0-9]+", "INC42", True),
        ("INC[0-9]+", "INC42\n", False),
        ("INC[0-9]+", "see INC42", False),
        ("INC|REQ", "INCX", False),
        ("(a+)+b", "a" * 100, False),
        ("x*", "x" * 101, False),
    ],
)
def test_a_ticket_matches_in_full_and_at_once(ticket: str, number: str, fits: bool) -> None:
    assert Terms(ticket=ticket).takes_ticket(number) is fits
