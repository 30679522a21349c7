"""What sessions add up to, counted with the calls of the home page."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from audit.models import EventRow

WENT_WELL = ("ok", "input_required")

ADD = """
    INSERT INTO audit_session (id, began, agent, person, last_at, calls, refused, failed)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET
        began = CASE WHEN excluded.began < audit_session.began THEN excluded.began ELSE audit_session.began END,
        last_at = CASE WHEN excluded.last_at > audit_session.last_at
            THEN excluded.last_at ELSE audit_session.last_at END,
        calls = audit_session.calls + excluded.calls,
        refused = audit_session.refused + excluded.refused,
        failed = audit_session.failed + excluded.failed
"""


@dataclass(slots=True)
class SessionSum:
    agent: str
    person: str
    began: UUID
    last_at: datetime
    calls: int = 0
    refused: int = 0
    failed: int = 0

    def add(self, end: EventRow) -> None:
        self.began, self.last_at = min(self.began, _began(end)), max(self.last_at, end.at)
        self.calls += 1
        self.refused += end.outcome == "refused"
        self.failed += end.outcome not in ("refused", *WENT_WELL)


def _began(end: EventRow) -> UUID:
    """A call's id is of the moment it was asked in; one that was refused at once has only its event's."""
    return end.call_id or end.pk


def session_sums(ends: Iterable[EventRow]) -> dict[UUID, SessionSum]:
    sums: dict[UUID, SessionSum] = {}
    for end in ends:
        if end.session is not None:
            fresh = SessionSum(end.agent, end.person, _began(end), end.at)
            sums.setdefault(end.session, fresh).add(end)
    return sums


def add_sessions(sums: dict[UUID, SessionSum]) -> None:
    """Inside the transaction that moves the cursor."""
    as_uuid, moment = EventRow._meta.pk.get_db_prep_value, connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(
            ADD,
            [
                (
                    as_uuid(key, connection), as_uuid(total.began, connection), total.agent, total.person,
                    moment(total.last_at), total.calls, total.refused, total.failed,
                )
                for key, total in sorted(sums.items())
            ],
        )  # fmt: skip
