"""A question to humans and everybody around it: who asks, who may decide, who may not."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from governance import approvals
from governance.approval_rows import Authentication, approval_digest
from governance.approval_terms import Terms
from governance.approvals import Ballot
from governance.canonical import digest
from governance.decision import Ask
from governance.facts import Fact
from governance.models import Agent, ApprovalRequest, Bundle, Connector, Team, Tool, User
from governance.snapshot import Snapshot
from governance.snapshot_builder import build_snapshot

NOW = datetime(2031, 1, 31, 18, 0, tzinfo=UTC)
LEADS = Terms(teams=("support-leads",))
FRESH = Authentication("password", NOW, has_second_factor=True)


class Office:
    """Ana owns triage-bot; Lee, Kim and Max lead support; Bea is an owner of Gatehouse, Ann Ana's other account."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.now = NOW
        leads = Team.objects.create(name="support-leads", parent=Team.objects.create(name="support"))
        self.ana = User.objects.create_user("ana@example.com")
        self.ann = User.objects.create_user("ann@example.com", same_as=self.ana)
        self.lee, self.kim, self.max = (
            User.objects.create_user(f"{name}@example.com") for name in ("lee", "kim", "max")
        )
        self.lex = User.objects.create_user("lex@example.com", same_as=self.lee)
        self.bea = User.objects.create_superuser("bea@example.com")
        self.leads = (self.lee, self.kim, self.max, self.lex)
        for person in (self.ana, self.ann, self.bea, *self.leads):
            person.teams.add(leads)
        self.mallory = User.objects.create_user("mallory@example.com")
        self.agent = Agent.objects.create(name="triage-bot", owner=self.ana)
        self.connector = Connector.objects.create(name="helpdesk", urls=["https://helpdesk.example/"])
        self.tool = Tool.objects.create(connector=self.connector, name="billing_refund", risk="low")
        self.bundle = Bundle.objects.create(name="support")

    @property
    def snapshot(self) -> Snapshot:
        return build_snapshot()

    @property
    def kinds(self) -> list[str]:
        return [fact.kind for fact in self.facts]

    def ask(self, terms: Terms | Iterable[Ask] = LEADS, *, what: str = "refund 150", **fields: Any) -> ApprovalRequest:
        asks = [Ask("refunds v1#1", "Refunds need a lead", terms)] if isinstance(terms, Terms) else list(terms)
        draft = self.draft(what, **fields)
        return approvals.ask(draft, asks, record=self.facts.append, now=self.now)[0]

    def draft(self, what: str = "refund 150", **fields: Any) -> ApprovalRequest:
        columns: dict[str, Any] = {
            "agent_id": self.agent.pk,
            "agent": self.agent.name,
            "owner_id": self.ana.pk,
            "owner": self.ana.email,
            "connector_id": self.connector.pk,
            "connector": self.connector.name,
            "tool_id": self.tool.pk.hex,
            "tool": self.tool.name,
            "bundle_id": self.bundle.pk,
            "bundle": self.bundle.name,
            "asked_digest": digest(b"test", what.encode()),
            "call_digest": digest(b"test", what.encode()),
        }
        return ApprovalRequest(**(columns | fields))

    def ballot(self, request: ApprovalRequest, by: User, **fields: Any) -> Ballot:
        """As somebody who looks at the request now."""
        shown = ApprovalRequest.objects.get(number=request.number)
        seen = Ballot(by, approval_digest(shown), shown.revision, "web", replace(FRESH, at=self.now))
        return replace(seen, **fields)

    def decide(self, request: ApprovalRequest, by: User, *, approves: bool = True, **fields: Any) -> ApprovalRequest:
        ballot = self.ballot(request, by, **fields)
        return approvals.decide(
            request, ballot, approves=approves, snapshot=self.snapshot, record=self.facts.append, now=self.now
        )

    def wait(self, **duration: float) -> None:
        self.now += timedelta(**duration)
