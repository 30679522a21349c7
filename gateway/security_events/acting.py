"""What follows when an issuer says that somebody's session, credential or account is over: the same acts as a person's
in the admin, in one transaction with the evidence, and at most once for each statement.

An issuer ends only those whom it knows: who signed in by it, or is listed by the directory that goes with it. And no
stream of events ends a whole organisation: beyond a share, the rest waits for somebody to look.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gateway.actions import act
from gateway.departures import Braked, brake
from gateway.oauth.assertions import NotBelieved, Statement
from gateway.oauth.spent import spend
from gateway.oauth.trusted import still_trusted
from gateway.offboardings import offboard_once_within
from gateway.security_events.reading import Effect, Event, Subject
from gateway.sessions import end_all_sessions
from governance import authorizations
from governance.facts import Fact, Recorder
from governance.issuers import knows, person_of
from governance.models import TrustedIssuer, User
from governance.offboarding import CannotOffboard


@dataclass(frozen=True, slots=True)
class Done:
    """How many of the people that the events were about are known here."""

    found: int
    missing: int


def carry_out(statement: Statement, issuer: TrustedIssuer, events: Iterable[Event]) -> Done:
    """When this returns, it is in force. Raises NotBelieved for a statement that was shown before, and Braked."""
    by = f"issuer:{issuer.name}"

    def work(record: Recorder, now: datetime) -> Done:
        spend(statement)
        if not still_trusted(issuer):
            raise NotBelieved("issuer", "Its issuer is trusted no more.")
        found = [_carried_out(event, issuer, by=by, record=record, now=now) for event in events]
        return Done(sum(found), len(found) - sum(found))

    try:
        return act(work, by=by)
    except Braked:
        _tell(issuer, by=by)
        raise


def _carried_out(event: Event, issuer: TrustedIssuer, *, by: str, record: Recorder, now: datetime) -> bool:
    person = _whom(event.subjects, issuer)
    told: dict[str, object] = {"event": event.name, "effect": str(event.effect), "issuer": issuer.name}
    if person is None:
        is_noted = event.effect == Effect.NOTED
        record(Fact("security_event.received", f"issuer:{issuer.name}", {**told, "is_about": "nobody known here"}))
        return is_noted
    told |= _ended(event, person, by, record, now)
    record(Fact("security_event.received", f"person:{person.email}", told))
    return True


def _ended(event: Event, person: User, by: str, record: Recorder, now: datetime) -> dict[str, object]:
    if event.effect == Effect.LEFT:
        return _left(event, person, by=by, record=record, now=now)
    if event.effect == Effect.ACCESS:
        clients = authorizations.end_of_person(person, by=by, record=record, now=now)
        return {"sessions": end_all_sessions(person), "clients": clients}
    return {"sessions": end_all_sessions(person)} if event.effect == Effect.SESSIONS else {}


def _left(event: Event, person: User, *, by: str, record: Recorder, now: datetime) -> dict[str, object]:
    """Where it cannot be done (she is the last owner), her sessions end, and the refusal is on record."""
    if person.is_active:
        brake(by, now)
    try:
        offboard_once_within(person, by=by, reason=f"{by} says: {event.name}", record=record, now=now)
    except CannotOffboard as reason:
        return {"sessions": end_all_sessions(person), "problem": str(reason)[:300]}
    return {}


def _tell(issuer: TrustedIssuer, *, by: str) -> None:
    act(lambda record, _: record(Fact("security_events.braked", f"issuer:{issuer.name}", {})), by=by)


def _whom(subjects: Iterable[Subject], issuer: TrustedIssuer) -> User | None:
    """The one person that all ways of naming her lead to; contradictions are about nobody."""
    found = {person.pk: person for subject in subjects if (person := _named(subject, issuer)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _named(subject: Subject, issuer: TrustedIssuer) -> User | None:
    if subject.email:
        person = User.objects.filter(email__iexact=subject.email).first()
        return person if person is not None and knows(issuer, person) else None
    if subject.issuer not in ("", issuer.issuer):
        return None
    return person_of(issuer, subject.subject, is_active=False)
