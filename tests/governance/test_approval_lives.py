"""Every way in which a question may go, told in any order, against a plain account of who agreed to what."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from governance import approval_endings, approvals
from governance.approval_rows import CannotDecide, State, approval_digest, in_time, standing_of
from governance.approval_terms import Terms
from governance.approvals import Narrowed
from governance.canonical import digest
from governance.models import ApprovalRequest, User
from tests.governance.asking import Office

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FINAL = {State.CONSUMED, State.DENIED, State.EXPIRED, State.CANCELLED, State.VOID}
PEOPLE = ("lee", "lex", "kim", "max", "ana", "ann", "bea", "mallory")
LEAD = {"lee": "lee", "lex": "lee", "kim": "kim", "max": "max", "bea": "bea"}
"""Who may decide, by human."""


@dataclass
class Story:
    """What has been said of a request, by whom, on which version of it."""

    number: int
    what: str
    ends_at: datetime
    version: int = 0
    is_approved: bool = False
    votes: list[tuple[str, int, bool]] = field(default_factory=list)
    ended: str = ""

    def humans(self, active: set[str], *, agreeing: bool) -> set[str]:
        return {LEAD[who] for who, on, yes in self.votes if on == self.version and yes is agreeing and who in active}


class Lives(RuleBasedStateMachine):
    """Two calls; two of the leads must agree, two refusals end it."""

    terms = Terms(teams=("support-leads",), count=2, denials=2, pending=600, use_within=120)

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.office = Office()
        self.stories: dict[int, Story] = {}
        self.active = set(LEAD)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    # -- what happens

    @initialize()
    def begin(self) -> None:
        self.ask(what="a")

    @rule(what=st.sampled_from("ab"))
    def ask(self, what: str) -> None:
        number = self.office.ask(self.terms, what=what).number
        live = [each for each in self.stories.values() if each.what == what and not each.ended]
        for story in live:
            if self.is_over(story):
                story.ended = State.EXPIRED
        expected = [each.number for each in live if not each.ended]
        assert [number] == expected or (not expected and number not in self.stories)
        self.stories.setdefault(number, Story(number, what, self.office.now + timedelta(minutes=10)))

    @rule(who=st.sampled_from(PEOPLE), approves=st.booleans(), data=st.data())
    def decide(self, who: str, approves: bool, data: st.DataObject) -> None:
        story, request = self.some(data)
        may = self.may_decide(story, who)
        try:
            self.office.decide(request, getattr(self.office, who), approves=approves)
        except CannotDecide:
            assert not may
            return
        assert may
        story.votes.append((who, story.version, approves))
        self.settle(story)

    @rule(who=st.sampled_from(PEOPLE), data=st.data(), amount=st.integers(0, 99))
    def narrow(self, who: str, data: st.DataObject, amount: int) -> None:
        story, request = self.some(data)
        office, by = self.office, getattr(self.office, who)
        other = Narrowed(
            b"sealed", digest(b"narrowed", story.number.to_bytes(8, "big"), bytes([story.version, amount]))
        )
        may = self.may_decide(story, who)
        try:
            approvals.narrow(
                request,
                office.ballot(request, by),
                other,
                snapshot=office.snapshot,
                record=office.facts.append,
                now=office.now,
            )
        except CannotDecide:
            assert not may
            return
        assert may
        story.version += 1
        story.votes.append((who, story.version, True))
        self.settle(story)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        story, request = self.some(data)
        done = approvals.cancel(request, by="ana", record=self.office.facts.append, now=self.office.now)
        assert done is not bool(story.ended)
        story.ended = story.ended or State.CANCELLED

    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        story, request = self.some(data)
        done = approvals.void(request, "changed", record=self.office.facts.append, now=self.office.now)
        assert done is not bool(story.ended)
        story.ended = story.ended or State.VOID

    @rule(seconds=st.integers(1, 300))
    def wait(self, seconds: int) -> None:
        self.office.wait(seconds=seconds)

    @rule()
    def look_at_clock(self) -> None:
        ended = {
            row.number for row in approval_endings.expire_due(record=self.office.facts.append, now=self.office.now)
        }
        due = {story.number for story in self.stories.values() if not story.ended and self.office.now >= story.ends_at}
        assert ended == due
        for number in due:
            self.stories[number].ended = State.EXPIRED

    @precondition(lambda self: len(self.active) > 2)
    @rule(who=st.sampled_from(sorted(LEAD)))
    def offboard(self, who: str) -> None:
        office, person = self.office, getattr(self.office, who)
        self.active.discard(who)
        User.objects.filter(pk=person.pk).update(is_active=False)
        approval_endings.void_of_person(person, "left", record=office.facts.append, now=office.now)
        for story in self.stories.values():
            if not story.ended and any(name == who and yes for name, _, yes in story.votes):
                story.ended = State.VOID

    @rule(who=st.sampled_from(sorted(LEAD)))
    def leave_the_team(self, who: str) -> None:
        """Nothing is ended by that; it is seen when the call comes."""
        getattr(self.office, who).teams.clear()
        self.active.discard(who)

    @rule(data=st.data())
    def redeem(self, data: st.DataObject) -> None:
        """As the call path does: looks who stands behind it now, then consumes by one conditional UPDATE."""
        story, request = self.some(data)
        stands = standing_of(request, self.office.snapshot).is_approved
        approved = ApprovalRequest.objects.filter(in_time(self.office.now), number=request.number, state=State.APPROVED)
        if not stands or not approved.update(state=State.CONSUMED, ended_at=self.office.now):
            return
        assert not story.ended
        assert self.office.now < story.ends_at
        assert len(story.humans(self.active, agreeing=True)) >= 2
        story.ended = State.CONSUMED

    # -- what must hold

    @invariant()
    def nothing_ends_twice_or_comes_back(self) -> None:
        for request in ApprovalRequest.objects.filter(number__in=self.stories):
            story = self.stories[request.number]
            assert (request.state in FINAL) is bool(story.ended)
            assert not story.ended or request.state == story.ended
        ends = [fact.details["request"] for fact in self.office.facts if fact.kind in self.ends]
        assert len(ends) == len(set(ends))

    @invariant()
    def an_approved_one_had_enough_who_agreed_to_it_as_it_is(self) -> None:
        for request in ApprovalRequest.objects.filter(number__in=self.stories, state=State.APPROVED):
            story = self.stories[request.number]
            assert len(story.humans(set(LEAD), agreeing=True)) >= 2
            on_it = request.decisions.filter(digest=approval_digest(request), verdict="approve")
            assert {row.person.partition("@")[0] for row in on_it} >= {
                who for who, on, yes in story.votes if yes and on == story.version
            }

    ends = ("approval.denied", "approval.expired", "approval.cancelled", "approval.voided")

    # -- the account

    def some(self, data: st.DataObject) -> tuple[Story, ApprovalRequest]:
        story = data.draw(st.sampled_from(list(self.stories.values())))
        return story, ApprovalRequest.objects.get(number=story.number)

    def is_over(self, story: Story) -> bool:
        return bool(story.ended) or self.office.now >= story.ends_at

    def may_decide(self, story: Story, who: str) -> bool:
        said = {LEAD[name] for name, on, _ in story.votes if on == story.version}
        waits = not self.is_over(story) and not story.is_approved
        return waits and who in self.active and LEAD[who] not in said

    def settle(self, story: Story) -> None:
        if len(story.humans(self.active, agreeing=False)) >= 2:
            story.ended = State.DENIED
        elif len(story.humans(self.active, agreeing=True)) >= 2:
            story.is_approved, story.ends_at = True, self.office.now + timedelta(minutes=2)


def test_every_order_of_events() -> None:
    run_state_machine_as_test(Lives, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))
