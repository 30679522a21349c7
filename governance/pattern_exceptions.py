"""Exceptions of inspection: which findings count for no rule for a time, and who may say so. Known values of the vault
and canaries always count."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q

from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.lifecycle import review_is_required
from governance.models import PatternException, User

LONGEST: Final = timedelta(days=366)
NEVER: Final = ("known_value", "canary", "limit")
"""Beginnings of the names of detection rules whose findings always count."""


def in_force(now: datetime) -> Q:
    """Of rows of PatternException."""
    return Q(ended_at=None, awaits_second=False, ends_at__gt=now)


def is_exceptable(rule: str) -> bool:
    return not rule.startswith(NEVER)


def check(row: PatternException, *, now: datetime) -> None:
    """Before it is set. Raises RuleBroken."""
    if not is_exceptable(row.rule):
        raise RuleBroken("rule", "Values of the vault, canaries and what was not looked at always count.")
    if not row.fingerprint and not row.path:
        raise RuleBroken("path", "Name a value by its fingerprint, a place, or both.")
    if sum(target is not None for target in (row.tool_id, row.connector_id, row.bundle_id)) != 1:
        raise RuleBroken("", "Choose exactly one: a tool, a connector, or a bundle.")
    if not row.reason.strip():
        raise RuleBroken("reason", "Say why.")
    if not now < row.ends_at <= now + LONGEST:
        raise RuleBroken("ends_at", f"It ends in the future, at most {LONGEST.days} days from now.")
    if PatternException.objects.filter(name=row.name).exists():
        raise RuleBroken("name", "There is one of this name. Evidence names it, so names are not used again.")


def set_exception(row: PatternException, *, acting: User, by: str, record: Recorder, now: datetime) -> None:
    """In force at once, or, where changes of rules need a second person, once another one agrees. Raises RuleBroken."""
    check(row, now=now)
    row.created_at, row.created_by, row.proposed_by = now, by, acting
    row.awaits_second = review_is_required()
    row.save(force_insert=True)
    record(Fact("exception.set", row.subject, {**told(row), "awaits_second": row.awaits_second}))


def why_not_approvable(row: PatternException, acting: User, *, now: datetime) -> str:
    """Empty if `acting` may agree to it."""
    if not row.awaits_second or row.ended_at is not None:
        return "It does not wait for anybody."
    if row.ends_at <= now:
        return "Its time is over."
    if row.proposed_by is None or row.proposed_by.human_id == acting.human_id:
        return "Somebody else than who asked for it has to agree."
    return ""


def approve(row: PatternException, *, acting: User, by: str, record: Recorder, now: datetime) -> None:
    """In force at once. Raises RuleBroken."""
    row = PatternException.objects.select_for_update(of=("self",)).get(pk=row.pk)
    if why := why_not_approvable(row, acting, now=now):
        raise RuleBroken("", why)
    row.awaits_second, row.approved_at, row.approved_by = False, now, by
    row.save(update_fields=["awaits_second", "approved_at", "approved_by"])
    record(Fact("exception.approved", row.subject, told(row)))


def end(row: PatternException, *, by: str, record: Recorder, now: datetime) -> bool:
    """Its findings count again from now on. False if it was over before."""
    rows = PatternException.objects.filter(pk=row.pk, ended_at=None, ends_at__gt=now)
    if not rows.update(ended_at=now, ended_by=by):
        return False
    record(Fact("exception.ended", row.subject, told(row)))
    return True


def told(row: PatternException) -> dict[str, Any]:
    return {
        "rule": row.rule,
        "fingerprint": row.fingerprint,
        "path": row.path,
        "target": row.target,
        "ends_at": row.ends_at,
        "reason": row.reason,
    }
