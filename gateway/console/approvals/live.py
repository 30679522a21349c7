"""What the open pages of an approver are told: over a WebSocket, or to those who ask for it every few seconds."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string

from gateway.console.approvals.shown import has_outcome, may_look, sentence, shown_to
from gateway.console.approvals.waiting import waiting_for
from gateway.reach.current import current_snapshot
from governance.approval_rows import state_at
from governance.models import ApprovalRequest, User

PARTS = ("status", "standing", "outcome")


def mark_of_request(person: User, key: UUID, now: datetime) -> tuple[Any, ...] | None:
    """Differs as soon as anything but the clock does; None when there is no such request for her (any more)."""
    snapshot = current_snapshot()
    row = ApprovalRequest.objects.filter(key=key).first()
    if row is None or not may_look(person, row, snapshot, now):
        return None
    return row.revision, state_at(row, now), row.call_id, has_outcome(row)


def of_request(person: User, key: UUID, now: datetime) -> dict[str, Any] | None:
    snapshot = current_snapshot()
    row = ApprovalRequest.objects.filter(key=key).first()
    if row is None or not may_look(person, row, snapshot, now):
        return None
    shown = shown_to(person, row, snapshot, now)
    return {
        "revision": row.revision,
        "state": shown.state_now,
        "digest": shown.digest,
        "outcome": shown.outcome.word if shown.outcome else "",
        "may_decide": shown.may_decide,
        "is_settled": shown.is_settled,
        "told": f"{row.name}: {shown.state}.",
        "parts": {name: render_to_string(f"console/approvals/_{name}.html", {"asked": shown}) for name in PARTS},
    }


def of_inbox(person: User, now: datetime) -> dict[str, Any]:
    """A title names agent and tool and no argument: browsers show notices on locked screens, too."""
    snapshot = current_snapshot()
    rows = waiting_for(person, snapshot, now)
    told = [{"key": str(row.key), "title": f"{row.name}: {sentence(row, {}, snapshot)}"} for row in rows]
    return {"keys": " ".join(str(row.key) for row in rows), "waiting": told}
