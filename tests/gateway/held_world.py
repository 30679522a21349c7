"""Questions to humans as the call path writes them, for tests of the pages that decide them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from gateway.held_rows import call_digest, sealed
from governance import canonical
from governance.fence.actor import governed_change
from governance.models import Agent, ApprovalRequest, Connector, Team, Tool, ToolDefinition, User

REFUND = {"order_id": "O-881", "amount": 240.0, "reason": "Arrived broken."}
LEADS = {"rule": "refunds-need-a-human v1#1", "reason": "Refunds over 100 need a lead.", "approvers": {"team": "leads"}}


def a_world() -> dict[str, Any]:
    """Ana owns triage-bot; Lee and Kim are leads; Mallory is nobody."""
    with governed_change(by="test"):
        leads = Team.objects.create(name="leads")
        people = {name: User.objects.create_user(f"{name}@example.com", name=name.title()) for name in NAMES}
        leads.members.add(people["lee"], people["kim"])
        agent = Agent.objects.create(name="triage-bot", title="Triage bot", owner=people["ana"])
        connector = Connector.objects.create(name="helpdesk", title="Helpdesk")
        tool = Tool.objects.create(
            connector=connector, name="billing_refund", risk="high", undo="Refunds cannot be taken back."
        )
        body = orjson.dumps({"name": "billing_refund", "title": "Refund an order", "inputSchema": {"type": "object"}})
        ToolDefinition.objects.create(tool=tool, digest="d" * 64, body=body, status="pinned")
    return {**people, "agent": agent, "connector": connector, "tool": tool}


NAMES = ("ana", "lee", "kim", "mallory")


def a_question(world: dict[str, Any], arguments: dict[str, Any] | None = None, **columns: Any) -> ApprovalRequest:
    """Of triage-bot, for billing_refund; it waits for a quarter of an hour."""
    now, agent, tool = datetime.now(UTC), world["agent"], world["tool"]
    body = canonical.encode(REFUND if arguments is None else arguments)
    row = ApprovalRequest(
        agent_id=agent.pk,
        agent=agent.name,
        owner_id=agent.owner_id,
        owner=agent.owner.email,
        connector_id=world["connector"].pk,
        connector=world["connector"].name,
        tool_id=tool.pk.hex,
        tool=tool.name,
        definition_digest="d" * 64,
        bundle="support",
        bundle_version=3,
        session="run-1",
        terms=[LEADS],
        created_at=now,
        expires_at=now + timedelta(minutes=15),
    )
    for name, value in columns.items():
        setattr(row, name, value)
    row.arguments = row.asked_arguments = sealed(row.key, body)
    row.call_digest = call_digest(row, body)
    row.asked_digest = row.asked_digest or row.key.bytes * 2
    row.save()
    return row
