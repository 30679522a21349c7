"""Turns governance's facts into evidence, in the transaction they are told in."""

from datetime import datetime

from audit.event import AuditEvent
from audit.record import record
from governance.facts import Fact, Recorder


def recorder(*, by: str, now: datetime) -> Recorder:
    """A recorder for one act of `by`."""

    def keep(fact: Fact) -> None:
        details = {"subject": fact.subject, **fact.details}
        kind, _, name = fact.subject.partition(":")
        record(
            AuditEvent(
                kind=fact.kind,
                at=now,
                actor=by,
                agent=name if kind == "agent" else "",
                person=name if kind == "person" else fact.person,
                session=fact.session,
                details=details,
            )
        )

    return keep
