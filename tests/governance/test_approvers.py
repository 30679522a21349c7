"""Whose yes counts, over every office one can think of: nobody's own, and nobody's twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from governance.approval_terms import Terms
from governance.approvers import Subject, Vote, approvers, eligible, human_of, interested, standing
from governance.decision import Ask
from governance.snapshot import Person, Snapshot
from tests import factories

NOW = datetime(2031, 1, 31, 18, 0, tzinfo=UTC)
NAMES = "abcdef"
MAYBE = st.sampled_from(["", *NAMES])


@st.composite
def offices(draw: st.DrawFn) -> Snapshot:
    """Accounts are linked in any way, circles included."""

    def person(name: str) -> Person:
        return replace(
            factories.person(f"{name}@example.com", is_active=draw(st.booleans())),
            id=name,
            human_id=draw(st.sampled_from([name, name, *NAMES])),
            is_staff=draw(st.booleans()),
            is_owner=draw(st.booleans()),
            duties=frozenset(draw(st.sets(st.sampled_from(["approver", "security"])))),
            manager_id=draw(MAYBE),
        )

    people = [person(name) for name in NAMES]
    agent = replace(factories.agent(owner=people[0]), id="bot")
    return factories.snapshot(agents=(agent,), people=tuple(people))


SUBJECTS = st.builds(Subject, st.just(NOW), st.sampled_from(["", "bot"]), MAYBE, MAYBE, MAYBE)
TERMS = st.builds(
    Terms,
    count=st.integers(1, 3),
    denials=st.integers(1, 2),
    people=st.sampled_from([(), tuple(f"{name}@example.com" for name in NAMES)]),
    duties=st.sampled_from([(), ("security",)]),
    manager=st.booleans(),
)
VOTES = st.lists(
    st.builds(
        Vote,
        st.sampled_from(NAMES),
        st.booleans(),
        st.sampled_from([b"now", b"before"]),
        st.integers(0, 9).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    ),
    max_size=8,
)


@given(offices(), SUBJECTS, TERMS)
def test_nobody_decides_her_own_through_any_account(office: Snapshot, subject: Subject, terms: Terms) -> None:
    wanting = {subject.owner_id, subject.person_id, subject.asked_by_id} - {""}
    for name in NAMES:
        if eligible(terms, subject, name, office, NOW):
            assert office.people[name].is_active
            assert name not in wanting
            assert human_of(name, office) not in interested(subject, office)
            assert not subject.agent_id or name != "a"


@given(offices(), SUBJECTS, TERMS, VOTES)
def test_a_human_counts_once_for_each_rule_and_only_on_what_is_asked_now(
    office: Snapshot, subject: Subject, terms: Terms, votes: list[Vote]
) -> None:
    found = standing([Ask("one", "", terms), Ask("two", "", terms)], votes, subject, office, b"now")
    for agreement in found.agreements:
        counted = [*agreement.approved_by, *agreement.denied_by]
        assert len({human_of(name, office) for name in counted}) == len(counted)
        assert all(eligible(terms, subject, name, office, NOW) for name in counted)
        for name in agreement.approved_by:
            assert Vote(name, True, b"now", NOW) in [replace(vote, at=NOW) for vote in votes]
    assert not (found.is_approved and found.is_denied)
    assert not found.is_approved or all(len(each.approved_by) >= terms.count for each in found.agreements)


@given(offices(), SUBJECTS, TERMS)
def test_who_is_told_is_who_may_decide(office: Snapshot, subject: Subject, terms: Terms) -> None:
    told = {person.id for person in approvers([Ask("rule", "", terms)], subject, office, NOW)}
    assert told == {name for name in NAMES if eligible(terms, subject, name, office, NOW)}


@given(offices())
def test_linked_accounts_are_one_human(office: Snapshot) -> None:
    for person in office.people.values():
        assert human_of(person.id, office) == human_of(person.human_id, office)


def test_nothing_asked_is_nothing_agreed() -> None:
    assert not standing([], [], Subject(NOW), factories.snapshot(), b"now").is_approved
