"""Requests for approval as they lie in the database, whom they are about, and the channels that hear of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    ApprovalRequest,
    ChatIdentity,
    Connector,
    NotificationChannel,
    Secret,
    Team,
    User,
)
from governance.vault import put_secret_value
from tests.gateway.fake_slack import TOKEN

SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
WEBHOOK_KEY = "whsec-of-the-tests"
LEADS: dict[str, Any] = {"team": "support-leads"}


def lead(email: str = "lee@example.com") -> User:
    """Somebody who may decide what the support leads are asked."""
    person = User.objects.create_user(email, name=email.partition("@")[0].title())
    team, _ = Team.objects.get_or_create(name="support-leads")
    person.teams.add(team)
    return person


def agent(name: str = "triage-bot", owner: str = "ana@example.com") -> Agent:
    person = User.objects.filter(email=owner).first() or User.objects.create_user(owner)
    return Agent.objects.create(name=name, owner=person)


def request(asker: Agent, approvers: dict[str, Any] | None = None, **fields: Any) -> ApprovalRequest:
    now = datetime.now(UTC)
    connector, _ = Connector.objects.get_or_create(name="helpdesk")
    number = ApprovalRequest.objects.count()
    defaults: dict[str, Any] = {
        "agent_id": asker.pk,
        "agent": asker.name,
        "owner_id": asker.owner_id,
        "owner": asker.owner.email,
        "connector_id": connector.pk,
        "connector": connector.name,
        "tool_id": "t" * 32,
        "tool": "billing_refund",
        "asked_digest": number.to_bytes(32, "big"),
        "call_digest": bytes(31) + b"\x07",
        "terms": [{"rule": "refunds v1#1", "reason": "Refunds over 100 need a lead", "approvers": approvers or LEADS}],
        "created_at": now,
        "expires_at": now + timedelta(minutes=15),
    }
    return ApprovalRequest.objects.create(**(defaults | fields))


def end(row: ApprovalRequest, state: str = "denied", because: str = "denied by lee@example.com") -> ApprovalRequest:
    row.state, row.ended_at, row.ended_because = state, datetime.now(UTC), because
    row.save()
    return row


def slack_channel(url: str, *, token: str = TOKEN, **fields: Any) -> NotificationChannel:
    defaults: dict[str, Any] = {"name": "leads", "kind": "slack", "target": "C0123456789", "url": url}
    made = {"secret": _secret("slack-token", token), "signing_secret": _secret("slack-signing", SIGNING)}
    return NotificationChannel.objects.create(**(defaults | made | fields))


def slack_again(url: str) -> NotificationChannel:
    """Another channel beside that of `slack_channel`, with its token."""
    secret = Secret.objects.get(name="slack-token")
    return NotificationChannel.objects.create(name="others", kind="slack", target="C1", url=url, secret=secret)


def webhook_channel(url: str, **fields: Any) -> NotificationChannel:
    defaults: dict[str, Any] = {"name": "hook", "kind": "webhook", "url": url}
    return NotificationChannel.objects.create(**(defaults | {"secret": _secret("hook", WEBHOOK_KEY)} | fields))


def identity(channel: NotificationChannel, person: User, account: str = "U0LEE") -> ChatIdentity:
    return ChatIdentity.objects.create(channel=channel, workspace="T0EXAMPLE", account=account, person=person)


def _secret(name: str, value: str) -> Secret:
    secret = Secret.objects.create(name=name)
    with governed_change(by="test"):
        put_secret_value(secret, value=value, by="test", record=[].append, now=datetime.now(UTC))
    return secret
