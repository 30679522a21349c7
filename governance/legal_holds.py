"""What must be kept, whatever retention or a wish to be forgotten says: set and lifted, with a reason, on record."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from django.db import connection

from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.models import Agent, LegalHold, User
from governance.retention import days_of

HOLDS_LOCK = int.from_bytes(b"gh:holds", "big")


class Held(RuleBroken):
    """A legal hold keeps what was to go; the message names it."""

    def __init__(self, hold: "Hold") -> None:
        super().__init__("", f"{hold} keeps this. Whoever may do so can lift it, with the reason on record.")


@dataclass(frozen=True, slots=True)
class Hold:
    """One in force, as its readers need it. What is empty does not narrow it."""

    id: UUID
    person_id: UUID | None
    person: str
    agent: str
    first_day: date | None
    last_day: date | None
    reason: str
    set_by: str

    def __str__(self) -> str:
        return f"The legal hold {str(self.id)[:8]} (“{self.reason}”, set by {self.set_by})"

    @property
    def is_timeless(self) -> bool:
        return self.first_day is None and self.last_day is None

    def overlaps(self, period: str) -> bool:
        first, last = days_of(period)
        return (self.first_day is None or self.first_day <= last) and (self.last_day is None or first <= self.last_day)

    def covers(self, at: datetime, *, person: str, agent: str) -> bool:
        """An event of that moment, by the names that it bears."""
        day = at.astimezone(UTC).date()
        if (self.first_day and day < self.first_day) or (self.last_day and day > self.last_day):
            return False
        return (not self.person or self.person.lower() == person.lower()) and (not self.agent or self.agent == agent)


def holds_in_force() -> list[Hold]:
    rows = LegalHold.objects.filter(lifted_at=None).select_related("person", "agent").order_by("set_at", "id")
    return [
        Hold(
            id=row.id,
            person_id=row.person_id,
            person=row.person.email if row.person else "",
            agent=row.agent.name if row.agent else "",
            first_day=row.first_day,
            last_day=row.last_day,
            reason=row.reason,
            set_by=row.set_by,
        )
        for row in rows
    ]


def one_at_a_time() -> None:
    """Setting a hold and destroying what it would keep exclude each other until the transaction ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [HOLDS_LOCK])


def set_hold(
    *,
    person: User | None,
    agent: Agent | None,
    first_day: date | None,
    last_day: date | None,
    reason: str,
    by: str,
    record: Recorder,
    now: datetime,
) -> LegalHold:
    """Raises RuleBroken. What was destroyed before cannot be held any more."""
    if not any((person, agent, first_day, last_day)):
        raise RuleBroken("", "Name a person, an agent or a time.")
    if not reason.strip():
        raise RuleBroken("reason", "A hold needs a reason.")
    if first_day and last_day and first_day > last_day:
        raise RuleBroken("last_day", "It ends before it begins.")
    one_at_a_time()
    row = LegalHold.objects.create(
        person=person, agent=agent, first_day=first_day, last_day=last_day, reason=reason.strip(), set_by=by, set_at=now
    )
    record(Fact("hold.set", row.subject, {"hold": str(row.id), "target": row.target, "reason": row.reason}))
    return row


def lift_hold(row: LegalHold, *, reason: str, by: str, record: Recorder, now: datetime) -> bool:
    """False if it was lifted before. Raises RuleBroken without a reason."""
    if not reason.strip():
        raise RuleBroken("reason", "Say why it is lifted.")
    if not LegalHold.objects.filter(id=row.id, lifted_at=None).update(lifted_at=now, lifted_by=by):
        return False
    details = {"hold": str(row.id), "target": row.target, "held_for": row.reason, "reason": reason.strip()}
    record(Fact("hold.lifted", row.subject, details))
    return True


def first_that(holds: Iterable[Hold], *, person_id: UUID | None, periods: Iterable[str]) -> Hold | None:
    """The first hold that keeps keys of this person; those that name an agent are asked with the evidence at hand."""
    known = list(periods)
    for hold in holds:
        is_hers = hold.person_id is None or hold.person_id == person_id
        if is_hers and not hold.agent and (hold.is_timeless or any(map(hold.overlaps, known))):
            return hold
    return None
