"""Forgetting a person: the keys of her payloads are destroyed, on record. The log's tree does not change."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit.event import AuditEvent
from audit.models import EventRow
from audit.record import record as write
from audit.retention import delete_shared, forget_words, let_payloads_go, payloads_of
from audit.sightings import forget_person
from gateway.actions import act
from gateway.keeping import keeps, shared_keys
from gateway.mask_vault import forget_masked_of
from gateway.sent_pieces import forget_pieces_of
from governance.approval_endings import empty_of_person
from governance.facts import Recorder
from governance.house_rules import RuleBroken
from governance.legal_holds import Held, Hold, first_that, holds_in_force, one_at_a_time
from governance.models import Erasure, SubjectKey, User
from governance.payload_keys import destroy_keys, subject_of

REASON_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure would do now. `payloads` are those recorded under her present address; `shared` of them lie under
    keys of before each person had her own, so these rows are deleted instead."""

    email: str
    keys: int
    payloads: int
    shared: int
    records: int
    """Records of calls that stay, with her address in them."""
    held_by: str = ""
    """The text that refuses it, while a legal hold keeps something of hers."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What it came to."""

    email: str
    keys: int
    payloads: int
    shared: int
    at: datetime

    def as_details(self) -> dict[str, Any]:
        return {"keys": self.keys, "payloads": self.payloads, "deleted": self.shared}


@dataclass(slots=True)
class _Hers:
    """What is hers and live."""

    person: User
    keys: Sequence[SubjectKey] = field(default=())

    def __post_init__(self) -> None:
        self.keys = list(SubjectKey.objects.filter(subject=subject_of(self.person.pk), destroyed_at=None))

    def hold(self) -> Hold | None:
        """The first that keeps something of hers."""
        holds = [hold for hold in holds_in_force() if hold.person_id in (None, self.person.pk)]
        found = first_that(holds, person_id=self.person.pk, periods={key.period for key in self.keys})
        return found or next((hold for hold in holds if self._is_kept_by(hold)), None)

    def _is_kept_by(self, hold: Hold) -> bool:
        """What only the evidence tells: which agent it was, and when, under keys that others share."""
        own = [str(key.pk) for key in self.keys if hold.overlaps(key.period)] if hold.agent else []
        shared = shared_keys()
        return bool(own and keeps(hold, own)) or bool(shared and keeps(hold, shared, person=self.person.email))


def plan_erasure(person: User) -> Plan:
    hers = _Hers(person)
    hold = hers.hold()
    return Plan(
        email=person.email,
        keys=len(hers.keys),
        payloads=payloads_of(person.email).count(),
        shared=payloads_of(person.email).filter(key_id__in=shared_keys()).count(),
        records=EventRow.objects.filter(person=person.email).exclude(kind="call.intent").count(),
        held_by=str(Held(hold)) if hold else "",
    )


def erase_person(person: User, *, reason: str, by: str) -> Erased:
    """When this returns, nothing recorded of what agents did for her can be opened. Raises RuleBroken, Held while a
    legal hold is in force."""
    plan = plan_erasure(person)
    row = act(lambda record, now: erase_within(person, plan, reason=reason, by=by, record=record, now=now), by=by)
    return Erased(row.email, row.keys, row.payloads, plan.shared, row.at)


def erase_within(
    person: User, plan: Plan, *, reason: str, by: str, record: Recorder, now: datetime, token: str = ""
) -> Erasure:
    """As `erase_person`, in the caller's transaction. Counting takes a while, so it was done before. `token` is the
    personal one by which it was asked for, if by one."""
    reason = reason.strip()
    if not reason:
        raise RuleBroken("reason", "An erasure needs a reason, e.g. the request it answers.")
    if len(reason) > REASON_LIMIT:
        raise RuleBroken("reason", f"At most {REASON_LIMIT} characters.")
    one_at_a_time()
    hers = _Hers(person)
    if hold := hers.hold():
        raise Held(hold)
    done = Erased(person.email, len(hers.keys), plan.payloads, plan.shared, now)
    details = {
        "subject": subject_of(person.pk),
        "reason": reason,
        **done.as_details(),
        **({"token": token} if token else {}),
    }
    told = AuditEvent(kind="audit.subject_erased", at=now, actor=by, person=person.email, details=details)
    write(told)
    ids = [str(key.pk) for key in hers.keys]
    let_payloads_go(ids, event_id=told.id)
    forget_words(ids)
    forget_person(person.email)
    empty_of_person(person, record=record, now=now)
    forget_masked_of(person.pk)
    forget_pieces_of(person.pk)
    destroy_keys(hers.keys, cause=SubjectKey.Cause.ERASED, now=now)
    if shared := shared_keys():
        delete_shared(person.email, shared, event_id=told.id)
    return Erasure.objects.create(
        subject=subject_of(person.pk),
        email=person.email,
        reason=reason,
        keys=done.keys,
        payloads=done.payloads,
        by=by,
        at=now,
    )
