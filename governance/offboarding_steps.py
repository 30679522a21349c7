"""What is left of an offboarding after the withdrawal, one row each: taken up, done, given to a human, or void."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet

from governance.facts import Fact, Recorder
from governance.models import Offboarding, OffboardingStep, User
from governance.offboarding_findings import PROVE

State = OffboardingStep.State
LEASE = timedelta(minutes=5)
"""Longer than a step may take; a worker that dies holds it up for so long."""
MOST_TRIES = 12
LONGEST_PAUSE = timedelta(hours=6)
LONGEST_TEXT = 300
STANDING = (Offboarding.State.ENFORCING, Offboarding.State.ENFORCED, Offboarding.State.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Progress:
    """What came of one look at a step. While it waits, `next_try_at` is when to look again; `todo` and `owner` say what
    a human can do meanwhile, and who, until `due_at`."""

    state: str
    result: str = ""
    next_try_at: datetime | None = None
    todo: str = ""
    owner: User | None = None
    due_at: datetime | None = None


def done(result: str) -> Progress:
    return Progress(State.DONE, result)


def void(result: str) -> Progress:
    return Progress(State.VOID, result)


def left(todo: str, *, result: str = "", owner: User | None = None, due_at: datetime | None = None) -> Progress:
    return Progress(State.MANUAL, result, todo=todo, owner=owner, due_at=due_at)


def later(at: datetime, *, todo: str = "", owner: User | None = None, due_at: datetime | None = None) -> Progress:
    return Progress(State.WAITING, next_try_at=at, todo=todo, owner=owner, due_at=due_at)


def due_steps(now: datetime) -> QuerySet[OffboardingStep]:
    rows = OffboardingStep.objects.filter(state=State.WAITING, next_try_at__lte=now, offboarding__state__in=STANDING)
    return rows.select_related("offboarding__person").order_by("next_try_at", "id")


def take(step: OffboardingStep, *, now: datetime) -> bool:
    """Whether this worker is to do it; nobody else will until the lease is over."""
    rows = OffboardingStep.objects.filter(id=step.id, state=State.WAITING, next_try_at=step.next_try_at)
    return bool(rows.update(next_try_at=now + LEASE, tries=F("tries") + 1))


def note(step: OffboardingStep, progress: Progress, *, by: str, record: Recorder, now: datetime) -> bool:
    """What came of it; ends are evidence. False if it was over before, for instance because all was undone."""
    columns: dict[str, Any] = {
        "state": progress.state,
        "result": progress.result[:LONGEST_TEXT],
        "todo": progress.todo[:LONGEST_TEXT],
        "owner": progress.owner,
        "due_at": progress.due_at,
        "error": "",
        "tries": 0,
        "next_try_at": progress.next_try_at or now,
    }
    if progress.state in (State.DONE, State.VOID):
        columns |= {"done_at": now, "done_by": by}
    if not OffboardingStep.objects.filter(id=step.id, state=State.WAITING).update(**columns):
        return False
    if progress.state != State.WAITING:
        record(_fact(step, progress.state, progress.result or progress.todo))
    return True


def note_failure(step: OffboardingStep, problem: str, *, by: str, record: Recorder, now: datetime) -> None:
    """It is tried again, later each time; in the end a human gets it."""
    if step.tries + 1 >= MOST_TRIES:
        note(step, left(f"do it by hand: {problem}"), by=by, record=record, now=now)
        return
    pause = min(timedelta(minutes=2**step.tries), LONGEST_PAUSE)
    waiting = OffboardingStep.objects.filter(id=step.id, state=State.WAITING)
    waiting.update(next_try_at=now + pause, error=problem[:LONGEST_TEXT])


def takes_word(step: OffboardingStep) -> bool:
    """A proof that a gateway still owes is not given by somebody's word."""
    return step.kind != PROVE or step.state == State.MANUAL


def settle(step: OffboardingStep, *, words: str, by: str, record: Recorder, now: datetime) -> bool:
    """A human says that it is done, or need not be. False if it was over before."""
    if not takes_word(step):
        return False
    among = OffboardingStep.objects.filter(id=step.id, state__in=(State.WAITING, State.MANUAL))
    ended = {"state": State.DONE, "result": words[:LONGEST_TEXT], "done_at": now, "done_by": by, "todo": ""}
    if not among.update(**ended):
        return False
    record(_fact(step, State.DONE, words))
    return True


def void_all(offboarding: Offboarding, why: str, *, by: str, now: datetime) -> int:
    among = offboarding.steps.filter(state__in=(State.WAITING, State.MANUAL))
    return among.update(state=State.VOID, result=why[:LONGEST_TEXT], done_at=now, done_by=by, todo="")


def unfinished(steps: Iterable[OffboardingStep], now: datetime) -> list[OffboardingStep]:
    """Those that the worker is still busy with: not what waits for a human or for its day."""
    soon = now + timedelta(minutes=30)
    return [step for step in steps if step.state == State.WAITING and not step.todo and step.next_try_at <= soon]


def _fact(step: OffboardingStep, state: str, words: str) -> Fact:
    told = {"offboarding": str(step.offboarding_id), "step": step.kind, "name": step.name, "id": step.subject_id}
    kind = "offboarding.step_left" if state == State.MANUAL else "offboarding.step_done"
    return Fact(kind, f"person:{step.offboarding.person.email}", {**told, "state": state, "result": words})
