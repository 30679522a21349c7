"""The emergency switch: freeze and lift."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet

from governance.facts import Fact, Recorder
from governance.models import Agent, Connector, Freeze, Tool, User

LASTING = {"900": "15 minutes", "3600": "1 hour", "28800": "8 hours", "86400": "1 day", "": "until somebody lifts it"}
"""What people choose among, in seconds."""
EVIDENCE: Final = "system:evidence"
"""Who freezes where this is not the database whose log was signed."""
KEEPS_EVIDENCE: Final = "governance.change_anchor"
NOT_HERS: Final = (
    "Evidence set it: to lift it is to confirm that this database counts, which is for those who change anchors."
)


class NoSuchTarget(Exception):
    """The freeze names nothing we know; the message says what."""


@dataclass(frozen=True, slots=True)
class FreezeTarget:
    """One of the three, or none for everything. `tool` is `connector/tool`."""

    agent: str = ""
    connector: str = ""
    tool: str = ""

    def rows(self) -> dict[str, Agent | Connector | Tool]:
        """Raises NoSuchTarget."""
        try:
            if self.agent:
                return {"agent": Agent.objects.get(name=self.agent)}
            if self.connector:
                return {"connector": Connector.objects.get(name=self.connector)}
            if self.tool:
                connector, _, name = self.tool.partition("/")
                return {"tool": Tool.objects.get(connector__name=connector, name=name)}
        except (Agent.DoesNotExist, Connector.DoesNotExist, Tool.DoesNotExist):
            raise NoSuchTarget(f"There is no such target: {self}.") from None
        return {}

    def __str__(self) -> str:
        named = {"agent": self.agent, "connector": self.connector, "tool": self.tool}
        return next((f"{kind} {name}" for kind, name in named.items() if name), "everything")


def in_force(now: datetime) -> Q:
    """Of rows of Freeze."""
    return Q(lifted_at=None) & (Q(ends_at=None) | Q(ends_at__gt=now))


def holds(connector: Connector, *, now: datetime) -> bool:
    """Whether a freeze of it or of one of its tools is in force: deleting it would lift that freeze."""
    return Freeze.objects.filter(in_force(now), Q(connector=connector) | Q(tool__connector=connector)).exists()


def freeze(
    target: FreezeTarget, *, by: str, record: Recorder, now: datetime, ends_at: datetime | None, reason: str
) -> Freeze:
    """Raises NoSuchTarget."""
    row = Freeze.objects.create(**target.rows(), created_by=by, ends_at=ends_at, reason=reason)
    record(Fact("freeze.set", str(target), {"freeze": str(row.id), "ends_at": ends_at, "reason": reason}))
    return row


def of_target(target: FreezeTarget) -> QuerySet[Freeze]:
    """Not lifted yet, of exactly this target. Raises NoSuchTarget."""
    rows = target.rows()
    wanted = {field: rows.get(field) for field in ("agent", "connector", "tool")}
    return Freeze.objects.filter(**wanted, lifted_at=None)


def may_lift(person: User | AnonymousUser, row: Freeze) -> bool:
    """Beside the permission to lift freezes at all."""
    return row.created_by != EVIDENCE or person.has_perm(KEEPS_EVIDENCE)


def lift(target: FreezeTarget, *, by: str, record: Recorder, now: datetime) -> int:
    """Lifts every freeze of exactly this target; returns how many there were. Raises NoSuchTarget."""
    lifted = of_target(target).update(lifted_at=now, lifted_by=by)
    if lifted:
        record(Fact("freeze.lifted", str(target), {"count": lifted}))
    return lifted


def lift_one(row: Freeze, *, by: str, record: Recorder, now: datetime) -> bool:
    """Only this one; others of the same target stay. False if it was lifted before."""
    if not Freeze.objects.filter(id=row.id, lifted_at=None).update(lifted_at=now, lifted_by=by):
        return False
    record(Fact("freeze.lifted", row.target, {"freeze": str(row.id)}))
    return True
