"""From a proven account to a person who is signed in: whom it is bound to, what its groups give, her session.

The same for every protocol. What the provider proved is settled before, without a transaction; here is one short one.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest

from gateway.actions import act
from gateway.console.acting import person_named
from gateway.console.step_up import STAMP
from gateway.departures import Braked, brake
from gateway.offboardings import offboard_once_within
from gateway.sessions import CAME_BY, end_all_sessions
from governance.facts import Fact, Recorder
from governance.models import StaffIdentity, User
from governance.offboarding import CannotOffboard
from governance.staff_identities import (
    SINGLE_SIGN_ON,
    Account,
    NotBound,
    bind_by_confirmation,
    bind_by_email,
    has_lost_last_group,
    held_live,
    person_of,
    settle_groups,
)

BACKEND: Final = "governance.duties.DutyBackend"
"""Sessions belong to it, so that whoever is switched off is out with her next request, however she came in."""


@dataclass(frozen=True, slots=True)
class Arrival:
    person: User
    identity: str
    has_lost_rights: bool
    has_left: bool = False
    """She was in a mapped group and is in none, and that ends a person here."""


def arrive(account: Account) -> Arrival:
    """Raises NotBound. Who lost rights since the last time loses her sessions, too; who lost her last group may lose
    everything."""

    def work(record: Recorder, now: datetime) -> Arrival:
        person = person_of(account) or bind_by_email(account, record=record)
        return _follow(person, account, record=record, now=now)

    return _still_here(act(work, by=SINGLE_SIGN_ON))


def connect(person: User, account: Account) -> Arrival:
    """By her own word, from a session of hers. Raises NotBound."""

    def work(record: Recorder, now: datetime) -> Arrival:
        bind_by_confirmation(person, account, by=person_named(person), record=record)
        return _follow(person, account, record=record, now=now)

    return _still_here(act(work, by=person_named(person)))


def _still_here(arrival: Arrival) -> Arrival:
    """After the commit: what was ended stays ended. Raises NotBound."""
    if arrival.has_left:
        raise NotBound("no_group_left", "You are in none of the groups any more that may come in here. Ask IT.")
    return arrival


def _follow(person: User, account: Account, *, record: Recorder, now: datetime) -> Arrival:
    row = held_live(account)
    if settings.SINGLE_SIGN_ON_ENDS_WITHOUT_GROUPS and has_lost_last_group(row, account.groups):
        _end(person, record=record, now=now)
        return Arrival(person, str(row.pk), has_lost_rights=True, has_left=True)
    settled = settle_groups(row, groups=account.groups, record=record)
    StaffIdentity.objects.filter(pk=row.pk).update(last_used_at=now)
    if settled.has_lost_rights:
        end_all_sessions(person)
    return Arrival(User.objects.get(pk=person.pk), str(row.pk), settled.has_lost_rights)


def _end(person: User, *, record: Recorder, now: datetime) -> None:
    """Where it cannot be done, because she is the last owner or too many left just now, her sessions end, the refusal
    is on record, and her groups are looked at again the next time she comes."""
    try:
        brake(SINGLE_SIGN_ON, now)
        offboard_once_within(
            person, by=SINGLE_SIGN_ON, reason="is in none of the mapped groups any more", record=record, now=now
        )
    except (Braked, CannotOffboard) as problem:
        end_all_sessions(person)
        record(Fact("offboarding.failed", f"person:{person.email}", {"problem": str(problem)[:300]}))


def sign_in(request: HttpRequest, arrival: Arrival, *, proven_at: float) -> None:
    """`proven_at`: when she last proved to the provider who she is; 0 if it does not say. A session of the provider's
    that is hours old makes no fresh sign-in here."""
    request.came_by = "single sign-on"  # type: ignore[attr-defined]
    login(request, arrival.person, backend=BACKEND)
    request.session[STAMP] = min(proven_at, time.time())


def mark(request: HttpRequest, arrival: Arrival, *, protocol: str, hint: str) -> None:
    """The provider has just said that she is who she is."""
    request.session[CAME_BY] = {
        "identity": arrival.identity,
        "protocol": protocol,
        "checked_at": time.time(),
        "hint": hint,
    }
