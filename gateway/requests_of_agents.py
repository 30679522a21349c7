"""What agents ask humans for of themselves, and how it stands: their own requests, and nobody else's."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from django.conf import settings

from gateway.actions import act
from gateway.approving import Acting, asked_for_access
from gateway.commit.entry import EvidenceUnavailable
from gateway.database import DatabaseThread
from governance.access_requests import AccessWish
from governance.approval_rows import state_at
from governance.approvals import TooManyQuestions
from governance.grants import CannotGrant
from governance.models import Agent, ApprovalRequest, Bundle, Tool, User
from governance.snapshot import Snapshot

LATEST = 20


class CannotAsk(Exception):
    """Says why, for the agent."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Ids as the snapshot has them; `tool_id` is empty for a whole bundle, `person_id` if the agent acts for nobody but
    its owner."""

    agent_id: str
    bundle_id: str
    tool_id: str
    minutes: int
    reason: str = field(repr=False)
    person_id: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """One request of an agent, as the agent may know it."""

    key: UUID
    name: str
    about: str
    state: str
    because: str
    url: str
    expires_at: datetime


class AgentRequests:
    """All methods run on the event loop, and raise EvidenceUnavailable."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def ask(self, wish: Wish, snapshot: Snapshot) -> Standing:
        """Durable when this returns. Raises CannotAsk."""
        return await self._thread.run(partial(_ask, wish, snapshot))

    async def latest(self, agent_id: str) -> list[Standing]:
        return await self._thread.run(partial(_latest, agent_id))


def _ask(wish: Wish, snapshot: Snapshot) -> Standing:
    try:
        agent = Agent.objects.select_related("owner").get(pk=UUID(wish.agent_id))
        bundle = Bundle.objects.get(pk=UUID(wish.bundle_id))
        tool = Tool.objects.select_related("connector").get(pk=UUID(wish.tool_id)) if wish.tool_id else None
        person = User.objects.get(pk=UUID(wish.person_id)) if wish.person_id else None
    except (Agent.DoesNotExist, Bundle.DoesNotExist, Tool.DoesNotExist, User.DoesNotExist) as error:
        raise EvidenceUnavailable("what is wanted was deleted a moment ago") from error
    wanted = AccessWish(agent, None, bundle, tool, wish.minutes, wish.reason, asked_by=None, acting_for=person)
    try:
        row, _ = act(
            lambda record, now: asked_for_access(wanted, Acting(snapshot, record, now)), by=f"agent:{agent.name}"
        )
    except (CannotGrant, TooManyQuestions) as refusal:
        raise CannotAsk(str(refusal)) from refusal
    return _standing(row, datetime.now(UTC))


def _latest(agent_id: str) -> list[Standing]:
    now = datetime.now(UTC)
    rows = ApprovalRequest.objects.filter(agent_id=UUID(agent_id)).order_by("-number")[:LATEST]
    return [_standing(row, now) for row in rows]


def _standing(row: ApprovalRequest, now: datetime) -> Standing:
    wanted = row.wanted.get("tool") or row.wanted.get("bundle", "")
    about = f"access to {wanted}" if row.kind == ApprovalRequest.Kind.ACCESS else f"{row.connector} {row.tool}"
    return Standing(
        key=row.key,
        name=row.name,
        about=about.replace("\n", " ")[:200],
        state=state_at(row, now),
        because=row.ended_because,
        url=f"{settings.PUBLIC_URL}/approvals/{row.key}/",
        expires_at=row.use_before or row.expires_at,
    )
