"""What loosens and bounds for a time or for everybody, as snapshots hold it: grants, freezes, limits, reactions."""

import logging
from uuid import UUID

from django.db.models.functions import Now

from governance import models
from governance.snapshot import (
    Freeze,
    Grant,
    RateLimit,
    Reaction,
)
from governance.snapshot_rows.common import PAST_KEPT, key
from governance.snapshot_rows.ruling import condition_of, terms_of

logger = logging.getLogger(__name__)


def grants() -> dict[str, Grant]:
    rows = models.Grant.objects.filter(revoked_at=None, ends_at__gt=Now() - PAST_KEPT).order_by("starts_at", "id")
    read = (_grant(row) for row in rows)
    return {grant.id: grant for grant in read if grant is not None}


def _grant(row: models.Grant) -> Grant | None:
    """None for one that cannot be read: it gives nothing."""
    try:
        approvers, rules = tuple(UUID(i).hex for i in row.approvers), frozenset(row.rules)
    except (TypeError, ValueError, AttributeError):
        logger.error("grant %s cannot be read: it gives nothing", row.pk)
        return None
    return Grant(
        id=key(row.id),
        kind=row.kind,
        agent_id=key(row.agent_id),
        person_id=key(row.person_id),
        bundle_id=key(row.bundle_id),
        tool_id=key(row.tool_id),
        condition=condition_of(row.condition, f"grant {row.pk}"),
        rules=rules,
        definition_digest=row.definition_digest,
        session=row.session,
        approvers=approvers,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        is_counted=row.max_uses is not None,
    )


def reactions() -> tuple[Reaction, ...]:
    return tuple(_reaction(row) for row in models.Reaction.objects.filter(is_enabled=True).order_by("name"))


def _reaction(row: models.Reaction) -> Reaction:
    return Reaction(
        id=key(row.id),
        name=row.name,
        trigger=row.trigger,
        count=row.count,
        minutes=row.minutes,
        findings=frozenset(row.findings),
        action=row.action,
        lasting_minutes=row.lasting_minutes,
        terms=terms_of(row.approvers, f"reaction {row.name}"),
    )


def freezes() -> tuple[Freeze, ...]:
    return tuple(freeze_of(row) for row in models.Freeze.objects.filter(lifted_at=None).order_by("created_at"))


def freeze_of(row: models.Freeze) -> Freeze:
    return Freeze(
        agent_id=key(row.agent_id) or None,
        connector_id=key(row.connector_id) or None,
        tool_id=key(row.tool_id) or None,
        reason=row.reason,
        ends_at=row.ends_at,
    )


def limits() -> tuple[RateLimit, ...]:
    return tuple(_rate_limit(row) for row in models.RateLimit.objects.filter(is_enabled=True))


def _rate_limit(row: models.RateLimit) -> RateLimit:
    return RateLimit(
        id=key(row.id),
        name=row.name,
        per=row.per,
        tools=tuple(row.tools),
        window_seconds=row.window_seconds,
        max_requests=row.max_requests,
        max_bytes=row.max_bytes,
        max_running=row.max_running,
        labels=frozenset(row.labels),
    )
