"""Rows to work with, some of them with hostile text."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from audit.event import AuditEvent
from audit.models import (
    AgentSession,
    AnchorReceipt,
    Checkpoint,
    DeadLetter,
    EventRow,
    FindingGroup,
    Leaf,
    Sighting,
)
from audit.record import record
from gateway.models import GatewayProcess, Notice
from governance.agent_keys import key_digest
from governance.bundles import publish_bundle
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentBaseline,
    AgentCredential,
    Anchor,
    ApprovalRequest,
    Authorization,
    Bundle,
    Canary,
    Change,
    ChatIdentity,
    Connector,
    DataClass,
    Directory,
    DirectoryMessage,
    DirectoryToken,
    DirectoryUser,
    Erasure,
    ExternalDetector,
    Freeze,
    Grant,
    GroupMapping,
    LegalHold,
    NotificationChannel,
    OAuthClient,
    OnCallShift,
    Organization,
    PatternException,
    PersonalToken,
    Policy,
    RateLimit,
    Reaction,
    RetentionClass,
    Role,
    RotationTask,
    Rule,
    Secret,
    Sink,
    StaffIdentity,
    Team,
    Tool,
    ToolDefinition,
    TrustedIssuer,
    UpstreamAuthServer,
    UpstreamClient,
    UpstreamGrant,
    User,
)
from governance.policies import publish_policy
from governance.vault import put_secret_value

SECRET_VALUE = "sk-live-6a1f0c2b9d8e"
HOSTILE = "harmless\u202etext\u200b<script>alert(1)</script>"


def an_agent(name: str = "triage-bot", email: str = "ana@example.com", **fields: Any) -> Agent:
    """Of the person with that address, who may be new."""
    owner, _ = User.objects.get_or_create(email=email)
    return Agent.objects.create(name=name, owner=owner, **fields)


def a_key(agent: Agent, text: str = "gate_ak_abc", **fields: Any) -> AgentCredential:
    return AgentCredential.objects.create(
        agent=agent, digest=key_digest(text), hint=text[:12], created_by="test", **fields
    )


def a_waiting_definition() -> ToolDefinition:
    tool = Tool.objects.create(connector=Connector.objects.create(name="helpdesk"), name="ticket_get")
    body = orjson.dumps({"name": "ticket_get", "description": HOSTILE})
    return ToolDefinition.objects.create(tool=tool, digest="d" * 64, body=body)


SESSION = UUID("4b9c1c3e-7c57-8d3a-9f5e-0123456789ab")


def record_one() -> EventRow:
    event = AuditEvent(
        kind="call.refused",
        at=datetime.now(UTC),
        actor="agent:triage-bot",
        agent="triage-bot",
        tool=HOSTILE,
        decision="deny",
        outcome="refused",
        session=SESSION,
        details={"asked_for": HOSTILE},
    )
    record(event)
    return EventRow.objects.get(pk=event.id)


def _account_of(person: User, connector: Connector, now: datetime) -> UpstreamGrant:
    server = UpstreamAuthServer.objects.create(issuer="https://as.example.com", fetched_at=now)
    made: dict[str, Any] = {"resource": "https://helpdesk.example.com/mcp", "created_at": now, "created_by": "test"}
    client = UpstreamClient.objects.create(connector=connector, server=server, source="secret", **made)
    return UpstreamGrant.objects.create(
        client=client, connector=connector, person=person, problem=HOSTILE, oauth_scopes=[HOSTILE], **made
    )


def one_of_each() -> list[Any]:
    """A row of every model that has a screen."""
    now, definition, event = datetime.now(UTC), a_waiting_definition(), record_one()
    secret = Secret.objects.create(name="helpdesk-token")
    with governed_change(by="test"):
        put_secret_value(secret, value=SECRET_VALUE, by="test", record=[].append, now=now)
    policy, bundle = Policy.objects.create(name="no-refunds"), Bundle.objects.create(name="support")
    rule = Rule(effect="deny", tools=["billing_*"])
    organization, _ = Organization.objects.get_or_create()
    return [
        *(definition, definition.tool, definition.tool.connector, event, secret, secret.versions.get()),
        *(policy, publish_policy(policy, rules=[rule], by="test", record=[].append), bundle, organization),
        a_key(agent := an_agent()),
        agent,
        agent.owner,
        publish_bundle(
            bundle, tools=[], parents=[], policies=[policy], names="", recording="full", by="test", record=[].append
        ),
        Role.objects.create(name="support-agent", schedule={"from": "08:00", "to": "19:00"}),
        Team.objects.create(name="support"),
        PersonalToken.objects.create(person=agent.owner, name="report", digest=bytes(32), hint="gate_pt_a"),
        StaffIdentity.objects.create(
            person=agent.owner, protocol="oidc", issuer="https://idp.example.com", subject=HOSTILE, created_by="test"
        ),
        Freeze.objects.create(agent=agent, created_by="test"),
        ApprovalRequest.objects.create(
            agent=agent.name,
            agent_id=agent.pk,
            owner_id=agent.owner_id,
            asked_digest=bytes(32),
            call_digest=bytes(32),
            stated_reason=HOSTILE,
            terms=[{"rule": "no-refunds v1#1", "reason": "", "approvers": {}}],
            created_at=now,
            expires_at=now + timedelta(hours=1),
        ),
        Grant.objects.create(
            kind="elevation", agent=agent, bundle=bundle, starts_at=now, ends_at=now + timedelta(hours=1)
        ),
        RateLimit.objects.create(name="not-too-many", max_requests=600),
        DataClass.objects.create(name="patients", title=HOSTILE, words=[HOSTILE]),
        ExternalDetector.objects.create(
            name="presidio", title=HOSTILE, kind="presidio", settings={"url": "http://10.0.0.1", "language": HOSTILE}
        ),
        AgentBaseline.objects.create(agent=agent, since=now, learns_until=now, tools=[HOSTILE], hours=[3]),
        Canary.objects.create(
            name="hr-share",
            kind="email",
            place="example.com",
            planted_in=HOSTILE,
            key_id="k",
            wrapped_key=SECRET_VALUE.encode(),
            ciphertext=SECRET_VALUE.encode(),
            created_by="test",
            created_at=now,
        ),
        TrustedIssuer.objects.create(name="okta", kind="directory", issuer="https://idp.example.com"),
        client := OAuthClient.objects.create(
            client_id="https://c.example.com/c", name=HOSTILE, origin="cimd", created_by="test"
        ),
        Authorization.objects.create(
            client=client,
            agent=agent,
            person=agent.owner,
            resource=HOSTILE,
            created_by="test",
            expires_at=now + timedelta(days=90),
        ),
        _account_of(agent.owner, definition.tool.connector, now),
        RetentionClass.objects.create(name="short", payload_days=30),
        LegalHold.objects.create(person=agent.owner, reason=HOSTILE, set_by="test", set_at=now),
        Erasure.objects.create(
            subject="person:1", email="leo@example.com", reason=HOSTILE, keys=1, payloads=2, by="test", at=now
        ),
        PatternException.objects.create(
            name="vendor-cards",
            rule="card_number",
            path="/content/*",
            bundle=bundle,
            reason=HOSTILE,
            created_at=now,
            created_by="test",
            ends_at=now + timedelta(days=1),
        ),
        Reaction.objects.create(name="drift", trigger="drift", action="quarantine_tool"),
        RotationTask.objects.create(
            subject_kind="secret", subject_id=secret.pk, subject_name=HOSTILE, reason="age", created_at=now, due_at=now
        ),
        OnCallShift.objects.create(
            team=Team.objects.create(name="on-call"),
            person=agent.owner,
            starts_at=now,
            ends_at=now + timedelta(hours=8),
        ),
        directory := Directory.objects.create(name="okta"),
        DirectoryToken.objects.create(directory=directory, digest=bytes(32), hint="gate_st_a", created_by="test"),
        GroupMapping.objects.create(directory=directory, group_name=HOSTILE),
        DirectoryUser.objects.create(
            directory=directory, user_name=HOSTILE, user_name_key=HOSTILE, created_at=now, changed_at=now
        ),
        DirectoryMessage.objects.create(
            directory=directory, at=now, request_id="1", method="POST", path="/Users", status=201, body={"x": HOSTILE}
        ),
        Change.objects.latest("id"),
        AgentSession.objects.create(
            id=SESSION, began=event.id, agent=HOSTILE, person=HOSTILE, last_at=now, calls=1, refused=1
        ),
        Leaf.objects.create(index=0, event_id=event.id, hash=bytes(32)),
        finding := FindingGroup.objects.create(
            id=event.id, rule=HOSTILE, kind="secret", tool=HOSTILE, note=HOSTILE, records=1, first_at=now, last_at=now
        ),
        Sighting.objects.create(
            group=finding.id, leaf=0, event_id=event.id, session=SESSION, at=now, in_result=True, path=HOSTILE
        ),
        Checkpoint.objects.create(size=1, root=bytes(32), frontier=b"", at=now, note="signed"),
        Anchor.objects.create(name="tsa", kind="rfc3161", url="https://tsa.example", trust="PEM", error=HOSTILE),
        AnchorReceipt.objects.create(anchor="tsa", size=1, at=now, note="signed", reference=HOSTILE),
        GatewayProcess.objects.create(host="gw1", pid=1, started_at=now, beat_at=now),
        channel := NotificationChannel.objects.create(name="leads", kind="slack", target="C0123456789", secret=secret),
        ChatIdentity.objects.create(channel=channel, workspace="T0EXAMPLE", account="U0ANA", person=agent.owner),
        sink := Sink.objects.create(name="soc", kind="webhook", settings={"url": "https://soc.example.com/"}),
        DeadLetter.objects.create(sink=sink.pk, index=0, event_id=event.id, error=HOSTILE, at=now),
        Notice.objects.create(
            kind="asked", subject=HOSTILE, channel_id=channel.pk, written_at=now, next_try_at=now, given_up_at=now
        ),
    ]
