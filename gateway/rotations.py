"""Rotation across rooms: the clock's look at what is due, and who is told."""

from collections import defaultdict
from datetime import datetime
from typing import Final

from django.db.models import F, Q

from gateway import notices
from gateway.actions import act
from governance import rotation, rotation_watch
from governance.models import RotationTask, User

CLOCK: Final = "system:rotation"
MOST_LOOKS: Final = 50
TOLD_AT_ONCE: Final = 500


def watch() -> int:
    """Asks for what is due, ends what is to end, tells owners. Each transaction is short; what is left is found by the
    next look."""
    changed = 0
    for _ in range(MOST_LOOKS):
        found = act(lambda record, now: rotation_watch.look(by=CLOCK, record=record, now=now), by=CLOCK)
        changed += found
        if not found:
            break
    act(lambda _, now: _tell(now), by=CLOCK)
    return changed


def _tell(now: datetime) -> None:
    """Once when it is asked for, and once more when it is overdue."""
    overdue = Q(due_at__lte=now, told_at__lt=F("due_at"))
    untold = rotation.open_tasks().filter(Q(told_at=None) | overdue).select_related("owner")
    tasks = list(untold.order_by("due_at", "created_at")[:TOLD_AT_ONCE])
    by_owner: dict[User | None, list[RotationTask]] = defaultdict(list)
    for task in tasks:
        by_owner[task.owner if task.owner and task.owner.is_active else None].append(task)
    for owner, theirs in by_owner.items():
        notices.to_replace(theirs, owner=owner, now=now)
    RotationTask.objects.filter(pk__in=[task.pk for task in tasks]).update(told_at=now)
