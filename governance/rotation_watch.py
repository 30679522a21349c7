"""What the clock makes due: credentials too old or unused, secrets too old. Bounded, and safe to repeat at any time."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest

from governance.agent_keys import live, revoke_key
from governance.facts import Fact, Recorder
from governance.models import (
    Agent,
    AgentCredential,
    Connector,
    DirectoryToken,
    Organization,
    RotationTask,
    Secret,
    SecretVersion,
    User,
)
from governance.rotation import Terms, ask_for, done_for, of_credential, of_secret, open_tasks, terms

AT_ONCE: Final = 200
"""Rows of one transaction: whoever waits for the fence meanwhile waits briefly."""
CREDENTIAL, SECRET = RotationTask.Subject.CREDENTIAL, RotationTask.Subject.SECRET
AGE, UNUSED = RotationTask.Reason.AGE, RotationTask.Reason.UNUSED
UNSET: Final = timedelta(0)


def look(*, by: str, record: Recorder, now: datetime) -> int:
    """One look at everything; returns how many rows changed, so that a caller goes on until nothing does."""
    found = terms()
    acts: dict[str, Any] = {"by": by, "record": record, "now": now}
    return sum(
        [
            _close_what_is_over(**acts),
            _ask_for_old_credentials(found, **acts),
            _end_overdue(found, **acts),
            _flag_unused(found, **acts),
            _end_unused(found, **acts),
            _ask_for_old_secrets(found, **acts),
        ]
    )


def last_used(rows: QuerySet[AgentCredential]) -> Any:
    """With `seen_at`: when each was last used, or could have been seen to be for the first time."""
    kept_since = Subquery(Organization.objects.values("uses_kept_since")[:1])
    begun = Greatest("created_at", Coalesce(kept_since, "created_at"))
    return rows.annotate(seen_at=Coalesce("use__last_used_at", begun))


def unused(rows: QuerySet[AgentCredential], found: Terms, *, now: datetime) -> QuerySet[AgentCredential]:
    if found.unused_after is None:
        return rows.none()
    still: QuerySet[AgentCredential] = last_used(rows).filter(seen_at__lte=now - found.unused_after)
    return still


def _of_live_agents(now: datetime) -> QuerySet[AgentCredential]:
    rows = AgentCredential.objects.filter(live(now), agent__status=Agent.Status.LIVE, agent__owner__is_active=True)
    return rows.select_related("agent__owner").order_by("created_at", "id")


def _asked(reason: str, kind: str, since: timedelta | None, now: datetime) -> Exists:
    """That it is asked for, or somebody dropped it within the term."""
    dropped = Q(state=RotationTask.State.DROPPED, done_at__gt=now - (since or UNSET))
    tasks = RotationTask.objects.filter(subject_kind=kind, subject_id=OuterRef("pk"), reason=reason)
    return Exists(tasks.filter(Q(state=RotationTask.State.OPEN) | dropped))


def _close_what_is_over(*, by: str, record: Recorder, now: datetime) -> int:
    """Tasks about credentials that ended, or that were flagged and then used."""
    about = AgentCredential.objects.filter(pk=OuterRef("subject_id"))
    over = open_tasks().filter(~Exists(about.filter(live(now))), subject_kind=CREDENTIAL)
    again = open_tasks().filter(
        Exists(about.filter(use__last_used_at__gt=OuterRef("created_at"))), subject_kind=CREDENTIAL, reason=UNUSED
    )
    token = DirectoryToken.objects.filter(pk=OuterRef("subject_id"), revoked_at=None)
    revoked = open_tasks().filter(~Exists(token), subject_kind=RotationTask.Subject.SCIM_TOKEN)
    closed = 0
    for tasks, why in ((over, "ended"), (again, "used again"), (revoked, "ended")):
        only, evidence = (UNUSED if tasks is again else None), {"why": why}
        for kind, subject_id in tasks.order_by().values_list("subject_kind", "subject_id").distinct()[:AT_ONCE]:
            closed += done_for(kind, subject_id, only=only, by=by, record=record, now=now, evidence=evidence)
    return closed


def _ask_for_old_credentials(found: Terms, *, by: str, record: Recorder, now: datetime) -> int:
    """Those due by age, and those about to expire; not what is replaced already, and not what was made for a short
    while."""
    ends_soon = Q(expires_at__lte=now + found.warn, expires_at__isnull=False)
    if found.rotate_after:
        ends_soon |= Q(created_at__lte=now - found.rotate_after + found.warn)
    replaced = AgentCredential.objects.filter(live(now), successor_of=OuterRef("pk"))
    due = _of_live_agents(now).filter(ends_soon, ~Exists(replaced), ~_asked(AGE, CREDENTIAL, found.rotate_after, now))
    asked = 0
    for row in due.exclude(kind=AgentCredential.Kind.WORKLOAD)[:AT_ONCE]:
        due_at = found.due_at(row.created_at, row.expires_at)
        if due_at is None or due_at - row.created_at < 2 * found.warn:
            continue
        ask_for(of_credential(row), reason=AGE, owner=row.agent.owner, due_at=due_at, by=by, record=record, now=now)
        asked += 1
    return asked


def _end_overdue(found: Terms, *, by: str, record: Recorder, now: datetime) -> int:
    """The end is fixed in the row itself: it comes at its time, whether or not a worker runs then."""
    if not found.ends_overdue:
        return 0
    latest = now + found.warn
    asked = open_tasks().filter(subject_kind=CREDENTIAL, reason=AGE)
    too_long = AgentCredential.objects.filter(live(now), pk__in=asked.values("subject_id"))
    too_long = too_long.filter(Q(expires_at=None) | Q(expires_at__gt=latest)).select_related("agent")
    ended = 0
    for row in too_long.order_by("created_at", "id")[:AT_ONCE]:
        due_at = found.due_at(row.created_at) or latest
        ends_at = max(due_at, latest)
        if row.expires_at is not None and row.expires_at <= ends_at:
            continue
        still = AgentCredential.objects.filter(live(now), pk=row.pk, expires_at=row.expires_at)
        if still.update(expires_at=ends_at):
            record(Fact("key.end_fixed", f"agent:{row.agent.name}", {"key_id": str(row.pk), "ends_at": ends_at}))
            ended += 1
    return ended


def _flag_unused(found: Terms, *, by: str, record: Recorder, now: datetime) -> int:
    rows = unused(_of_live_agents(now), found, now=now).filter(~_asked(UNUSED, CREDENTIAL, found.unused_after, now))
    chosen = list(rows[:AT_ONCE])
    for row in chosen:
        due_at, owner = now + found.warn, row.agent.owner
        ask_for(of_credential(row), reason=UNUSED, owner=owner, due_at=due_at, by=by, record=record, now=now)
    return len(chosen)


def _end_unused(found: Terms, *, by: str, record: Recorder, now: datetime) -> int:
    if not found.ends_unused:
        return 0
    flagged = open_tasks().filter(subject_kind=CREDENTIAL, reason=UNUSED, due_at__lte=now, told_at__isnull=False)
    rows = unused(_of_live_agents(now), found, now=now).filter(pk__in=flagged.values("subject_id"))
    return sum(revoke_key(row, by=by, record=record, now=now) for row in rows[:AT_ONCE])


def _ask_for_old_secrets(found: Terms, *, by: str, record: Recorder, now: datetime) -> int:
    """Values of connectors' secrets; their connector's owner sees to it."""
    if not found.rotate_after:
        return 0
    old = SecretVersion.objects.filter(
        secret=OuterRef("pk"), retired_at=None, created_at__lte=now - found.rotate_after + found.warn
    )
    presenting = Secret.objects.filter(Exists(old), Exists(Connector.objects.filter(secret=OuterRef("pk"))))
    due = list(presenting.filter(~_asked(AGE, SECRET, found.rotate_after, now)).order_by("name")[:AT_ONCE])
    owners = _owners_of(due)
    for secret in due:
        made_at = secret.versions.get(retired_at=None).created_at
        due_at, owner = made_at + found.rotate_after, owners.get(secret.pk)
        ask_for(of_secret(secret), reason=AGE, owner=owner, due_at=due_at, by=by, record=record, now=now)
    return len(due)


def _owners_of(secrets: Iterable[Secret]) -> dict[UUID | None, User | None]:
    rows = Connector.objects.filter(secret__in=list(secrets), owner__is_active=True).select_related("owner")
    return {row.secret_id: row.owner for row in rows.order_by("-name")}
