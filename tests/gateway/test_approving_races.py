"""Humans who act at the same moment: of two who must agree nobody is overlooked, and nobody's yes outlives her."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import Barrier

import pytest
from django.db import connection

from gateway import approving
from gateway.offboardings import begin_offboarding
from governance.approval_rows import CannotDecide, State
from governance.models import ApprovalRequest, User
from governance.offboarding import Plan
from tests.fresh_database import fresh_database
from tests.governance.asking import LEADS, Office

__all__ = ("fresh_database",)

pytestmark = [pytest.mark.usefixtures("fresh_database"), pytest.mark.database]

ROUNDS = 6


@pytest.fixture
def office(fresh_database: None) -> Office:
    office = Office()
    office.now = datetime.now(UTC)
    return office


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Each in a thread and on a connection of its own; what it returned, or why it was refused."""
    start = Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        try:
            start.wait()
            return act()
        except CannotDecide as reason:
            return reason
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def deciding(
    office: Office, request: ApprovalRequest, person: User, *, approves: bool = True
) -> Callable[[], ApprovalRequest]:
    """With a row of her own, looked at before."""
    row = ApprovalRequest.objects.get(number=request.number)
    return partial(approving.decide, row, office.ballot(request, person), approves=approves)


def test_two_who_agree_at_once_are_two(office: Office) -> None:
    for number in range(ROUNDS):
        request = office.ask(replace(LEADS, count=2), what=f"refund {number}")
        at_once(deciding(office, request, office.lee), deciding(office, request, office.kim))

        request.refresh_from_db()
        assert (request.state, request.decisions.count()) == (State.APPROVED, 2)


def test_yes_and_no_at_once_come_to_one_end(office: Office) -> None:
    for number in range(ROUNDS):
        request = office.ask(what=f"refund {number}")
        no = deciding(office, request, office.kim, approves=False)
        said = at_once(deciding(office, request, office.lee), no)

        request.refresh_from_db()
        assert request.state in (State.APPROVED, State.DENIED)
        assert (request.decisions.count(), sum(isinstance(each, CannotDecide) for each in said)) == (1, 1)


def test_a_yes_and_its_giver_who_leaves_at_once(office: Office) -> None:
    for number, person in enumerate((office.lee, office.kim, office.max)):
        request = office.ask(what=f"refund {number}")
        leaving = partial(begin_offboarding, person, plan=Plan(), by="person:bea@example.com")
        at_once(deciding(office, request, person), leaving)

        request.refresh_from_db()
        assert request.state in (State.VOID, State.PENDING)
