"""Who hears of an approval request: those who may decide it, nearest first, and the channels of their teams."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

from django.db.models import Q

from governance.approval_rows import asks_of, subject_of
from governance.approvers import approvers
from governance.lifecycle import is_author
from governance.models import ApprovalRequest, BundleVersion, NotificationChannel, PolicyVersion, User
from governance.snapshot import Person, Snapshot

MOST_PEOPLE: Final = 50
"""Who would write to more writes to nobody."""
OF_NO_TEAM: Final = Q(teams=None)
"""Channels that hear of everything."""


def deciders(request: ApprovalRequest, *, snapshot: Snapshot, now: datetime) -> list[UUID]:
    """Everybody who may decide now; those whom the terms name, or whose team they name, before those with a duty."""
    asks = asks_of(request)
    mails = {mail for ask in asks for mail in ask.terms.people}
    named = _teams_of(request, is_late=True)
    teams = {team.id for team in snapshot.teams.values() if team.name in named}

    def distance(person: Person) -> tuple[bool, str]:
        return person.email.lower() not in mails and teams.isdisjoint(person.team_ids), person.email

    able = sorted(approvers(asks, subject_of(request), snapshot, now), key=distance)
    return [UUID(person.id) for person in able[:MOST_PEOPLE]]


def channels_for(request: ApprovalRequest, *, is_late: bool) -> set[UUID]:
    """Those of the teams that are asked, and those of no team."""
    return channels(OF_NO_TEAM | Q(teams__name__in=_teams_of(request, is_late=is_late)))


def channels(which: Q = OF_NO_TEAM) -> set[UUID]:
    return set(NotificationChannel.objects.filter(which, is_enabled=True).values_list("id", flat=True))


def with_duty(*duties: str) -> list[UUID]:
    """Owners, and who has one of the duties."""
    return [person.id for person in islice(_watching(*duties), MOST_PEOPLE)]


def reviewers(version: BundleVersion | PolicyVersion) -> list[UUID]:
    """Who may agree to a draft: nobody who wrote a part of it."""
    others = (person.id for person in _watching(User.Duty.SECURITY) if not is_author(version, person))
    return list(islice(others, MOST_PEOPLE))


def _watching(*duties: str) -> Iterator[User]:
    staff = User.objects.filter(is_active=True, is_staff=True).order_by("email")
    return (person for person in staff if person.is_superuser or not set(duties).isdisjoint(person.duties))


def _teams_of(request: ApprovalRequest, *, is_late: bool) -> set[str]:
    """`is_late`: also those that may decide once it has escalated."""
    terms = [ask.terms for ask in asks_of(request)]
    return {team for each in terms for team in (*each.teams, *each.on_call, *(each.escalate_to if is_late else ()))}
