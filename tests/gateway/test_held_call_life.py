"""The life of a question to humans, in any order of events: what runs is what was agreed to, and at most once each."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import integers, sampled_from

from gateway.commit.group import GroupCommitter
from gateway.deciding import authenticate, decided, resolve
from gateway.pipeline import run
from gateway.redeeming import asked_of
from governance import canonical
from governance.models import ApprovalDecision, ApprovalRequest
from tests.fresh_database import fresh_database
from tests.gateway.asking import LEE, PEOPLE, AskingPorts, approve, asking, code_of, deny, frame, narrow, person, world
from tests.gateway.test_group_commit import backend

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

ORDERS = integers(1, 2)
WORLDS: dict[str, Any] = {
    "as it was": {},
    "definition": {"definition": "another"},
    "bundle": {"bundle_version": 2},
    "approver left": {"people": (PEOPLE[0], person(LEE, "lee@example.com", is_active=False), PEOPLE[2])},
}


class HeldCallLife(RuleBasedStateMachine):
    """One agent, two calls. `agreed` counts, for each body, how often a human has said yes to it."""

    def __init__(self) -> None:
        super().__init__()
        ApprovalDecision.objects.all().delete()
        ApprovalRequest.objects.all().delete()
        self.agreed: Counter[bytes] = Counter()
        self.loop = asyncio.Runner()
        self.committer = GroupCommitter(backend())
        self.ports = AskingPorts(world(asking()), self.committer)

    def teardown(self) -> None:
        self.loop.run(self.committer.close())
        self.loop.run(self.ports.store.stop())
        self.loop.close()

    @initialize()
    def begin(self) -> None:
        self.call(1)

    @rule(order=ORDERS)
    def call(self, order: int) -> None:
        sent = len(self.ports.sent)
        self.ports.at = max(self.ports.at, datetime.now(UTC))
        told = self.loop.run(run(frame(amount=250, order=order), self.ports))
        if len(self.ports.sent) == sent:
            assert code_of(told) in ("approval_required", "approval_denied", "approval_refused_for_now")

    def pending(self) -> bool:
        now = datetime.now(UTC)
        row = ApprovalRequest.objects.order_by("-number").first()
        return row is not None and row.state == "pending" and row.expires_at > now

    @precondition(pending)
    @rule()
    def agree(self) -> None:
        row = approve()
        self.agreed[canonical.encode({"amount": 250, "order": self.order_of(row)})] += 1

    @precondition(pending)
    @rule()
    def agree_to_less(self) -> None:
        order = self.order_of(ApprovalRequest.objects.order_by("-number")[0])
        narrow(amount=100, order=order)
        self.agreed[canonical.encode({"amount": 100, "order": order})] += 1

    @precondition(pending)
    @rule()
    def refuse(self) -> None:
        deny()

    @rule()
    def time_passes(self) -> None:
        past = datetime.now(UTC) - timedelta(seconds=1)
        ApprovalRequest.objects.filter(state="pending").update(expires_at=past)
        ApprovalRequest.objects.filter(state="approved").update(use_before=past)

    @rule(name=sampled_from(sorted(WORLDS)))
    def something_changes(self, name: str) -> None:
        self.ports.views = [world(asking(), **WORLDS[name])]

    @rule()
    def the_process_ends(self) -> None:
        """Another one goes on; it knows nothing."""
        sent, views = self.ports.sent, self.ports.views
        self.loop.run(self.ports.store.stop())
        self.ports = AskingPorts(views[0], self.committer)
        self.ports.sent = sent

    @invariant()
    def nothing_ran_that_was_not_agreed_to(self) -> None:
        ran = Counter(self.ports.sent)
        assert all(self.agreed[body] >= times for body, times in ran.items())

    @invariant()
    def every_use_is_one_row(self) -> None:
        used = ApprovalRequest.objects.filter(state="consumed")
        assert used.count() == len(self.ports.sent)
        assert used.values("call_id").distinct().count() == len(self.ports.sent)

    def order_of(self, row: ApprovalRequest) -> int:
        digests = {bytes(self.digest(order)): order for order in (1, 2)}
        return digests[bytes(row.asked_digest)]

    def digest(self, order: int) -> bytes:
        view = self.ports.views[0]
        caller = authenticate(frame(), view, self.ports)
        call = resolve(frame(amount=250, order=order), caller, self.ports)
        return asked_of(call, decided(call, self.ports), None).digest


def test_the_life_of_a_held_call(fresh_database: None) -> None:
    """Sized by hypothesis' profile; each step is a real transaction."""
    machine = settings(max_examples=15, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(HeldCallLife, settings=machine)
