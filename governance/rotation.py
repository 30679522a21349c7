"""What is due to be replaced: the organization's terms, and the tasks that stay open until it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from governance.facts import Fact, Recorder
from governance.models import AgentCredential, Organization, RotationTask, Secret, User

LONGEST_NOTE = 500


@dataclass(frozen=True, slots=True)
class Terms:
    """How old credentials may become, and what happens then."""

    rotate_after: timedelta | None
    overlap: timedelta
    warn: timedelta
    ends_overdue: bool
    unused_after: timedelta | None
    ends_unused: bool

    def due_at(self, created_at: datetime, expires_at: datetime | None = None) -> datetime | None:
        """When something made then must have been replaced; None if never."""
        by_age = created_at + self.rotate_after if self.rotate_after else None
        return min((moment for moment in (by_age, expires_at) if moment is not None), default=None)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a task is about; `name` is what humans know it by."""

    kind: str
    id: UUID
    name: str

    @property
    def noun(self) -> str:
        return f"{self.kind}:{self.name}"


def terms() -> Terms:
    row = Organization.objects.first() or Organization()
    return terms_of(row)


def terms_of(row: Organization) -> Terms:
    return Terms(
        rotate_after=_days(row.rotate_after_days),
        overlap=timedelta(hours=row.rotation_overlap_hours),
        warn=timedelta(days=row.rotation_warn_days),
        ends_overdue=row.ends_overdue,
        unused_after=_days(row.unused_after_days),
        ends_unused=row.ends_unused,
    )


def of_secret(secret: Secret) -> Subject:
    return Subject(RotationTask.Subject.SECRET, secret.pk, secret.name)


def of_credential(credential: AgentCredential) -> Subject:
    return Subject(RotationTask.Subject.CREDENTIAL, credential.pk, str(credential))


def ask_for(
    subject: Subject,
    *,
    reason: str,
    by: str,
    record: Recorder,
    now: datetime,
    due_at: datetime | None = None,
    owner: User | None = None,
    note: str = "",
    about: str = "",
) -> RotationTask:
    """The open task of this subject for this reason: a new one, or the one there is, due at the earlier of both times.

    Different reasons have a task each, so that none hides another; a new value answers them all.
    """
    wanted, due = {"subject_kind": subject.kind, "subject_id": subject.id, "reason": reason}, due_at or now
    task = RotationTask(
        **wanted,
        subject_name=subject.name[:300],
        note=note[:LONGEST_NOTE],
        about=about[:100],
        owner=owner,
        created_at=now,
        asked_by=by,
        due_at=due,
    )
    try:
        with transaction.atomic():
            task.save(force_insert=True)
    except IntegrityError:
        open_one = RotationTask.objects.select_for_update().filter(**wanted, state=RotationTask.State.OPEN).get()
        if due < open_one.due_at:
            RotationTask.objects.filter(pk=open_one.pk).update(due_at=due)
        return open_one
    details = {"task": str(task.pk), "reason": reason, "due_at": due, "about": task.about, "note": task.note}
    record(Fact("rotation.asked", subject.noun, details))
    return task


def done_for(
    kind: str,
    subject_id: UUID,
    *,
    by: str,
    record: Recorder,
    now: datetime,
    evidence: Mapping[str, Any],
    only: str | None = None,
) -> int:
    """Closes what was open for a subject that has a new value or has ended, or `only` that of one reason; returns how
    much that was."""
    open_ones = open_tasks().filter(subject_kind=kind, subject_id=subject_id, **({"reason": only} if only else {}))
    found = list(open_ones.values_list("pk", "subject_name", "reason"))
    if not found:
        return 0
    open_ones.filter(pk__in=[pk for pk, _, _ in found]).update(
        state=RotationTask.State.DONE, done_at=now, done_by=by, evidence=dict(evidence)
    )
    tasks = [{"task": str(pk), "reason": reason} for pk, _, reason in found]
    record(Fact("rotation.done", f"{kind}:{found[0][1]}", {"tasks": tasks, **evidence}))
    return len(found)


def drop(task: RotationTask, *, note: str, by: str, record: Recorder, now: datetime) -> bool:
    """Somebody answers for its not being done. False if it was over before."""
    open_one = RotationTask.objects.filter(pk=task.pk, state=RotationTask.State.OPEN)
    evidence = {"dropped_because": note[:LONGEST_NOTE]}
    if not open_one.update(state=RotationTask.State.DROPPED, done_at=now, done_by=by, evidence=evidence):
        return False
    noun = f"{task.subject_kind}:{task.subject_name}"
    record(Fact("rotation.dropped", noun, {"task": str(task.pk), "reason": task.reason, "note": note[:LONGEST_NOTE]}))
    return True


def confirm(task: RotationTask, *, note: str, by: str, record: Recorder, now: datetime) -> bool:
    """Somebody says it was done where we cannot see it, for instance at the upstream. False if it was over before."""
    open_one = RotationTask.objects.filter(pk=task.pk, state=RotationTask.State.OPEN)
    evidence = {"confirmed": note[:LONGEST_NOTE]}
    if not open_one.update(state=RotationTask.State.DONE, done_at=now, done_by=by, evidence=evidence):
        return False
    noun = f"{task.subject_kind}:{task.subject_name}"
    record(Fact("rotation.done", noun, {"tasks": [{"task": str(task.pk), "reason": task.reason}], **evidence}))
    return True


def open_tasks() -> QuerySet[RotationTask]:
    return RotationTask.objects.filter(state=RotationTask.State.OPEN)


def overdue_tasks(now: datetime) -> QuerySet[RotationTask]:
    return open_tasks().filter(due_at__lte=now)


def live_of_person(person: User) -> QuerySet[RotationTask]:
    """What she was to see to and has not."""
    return open_tasks().filter(owner=person)


def end_of_person(person: User, *, by: str, record: Recorder, now: datetime) -> int:
    """Her tasks stay open, for whoever looks after the queue."""
    names = list(live_of_person(person).values_list("subject_name", flat=True))
    if names:
        live_of_person(person).update(owner=None, told_at=None)
        record(Fact("rotation.unassigned", f"person:{person.email}", {"tasks": len(names), "subjects": names[:50]}))
    return len(names)


def _days(count: int | None) -> timedelta | None:
    return timedelta(days=count) if count else None
