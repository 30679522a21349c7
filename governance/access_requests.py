"""Asking for a bundle, or one tool of it, for hours: who may agree, and what is asked."""

from dataclasses import dataclass
from datetime import datetime

from governance.approval_terms import Terms
from governance.approvals import ask
from governance.canonical import digest
from governance.decision import Ask
from governance.facts import Recorder
from governance.grants import CannotGrant, tool_name
from governance.models import Agent, ApprovalRequest, Bundle, Grant, Tool, User
from governance.snapshot import Snapshot

LONGEST_MINUTES = 24 * 60
PENDING_SECONDS = 24 * 3600
RULE = "access"


@dataclass(frozen=True, slots=True)
class AccessWish:
    """For an agent, or without one for the person herself. `asked_by` is the human at the keyboard, None if the agent
    asks; then `acting_for` is on whose behalf it acts, if anybody's. `renews` is the grant that is to go on."""

    agent: Agent | None
    person: User | None
    bundle: Bundle
    tool: Tool | None
    minutes: int
    reason: str
    asked_by: User | None
    ticket: str = ""
    renews: Grant | None = None
    acting_for: User | None = None

    def as_json(self) -> dict[str, str | int]:
        renews = {"renews": str(self.renews.pk)} if self.renews else {}
        return {"bundle": self.bundle.name, "tool": tool_name(self.tool), "minutes": self.minutes, **renews}


def access_terms() -> Ask:
    """Anybody with the duty approver or security, or the manager of who answers for the subject."""
    terms = Terms(duties=("approver", "security"), manager=True, pending=PENDING_SECONDS)
    return Ask(RULE, "Access beyond what its roles give needs a human.", terms)


def ask_for_access(
    wish: AccessWish, *, snapshot: Snapshot, record: Recorder, now: datetime
) -> tuple[ApprovalRequest, bool]:
    """The request, and whether it is new: the same bundle or tool is asked for once at a time.

    Raises CannotGrant or TooManyQuestions.
    """
    _check(wish, snapshot)
    owner = wish.agent.owner if wish.agent else None
    person = wish.person or wish.acting_for
    asked_digest = _digest(wish)
    draft = ApprovalRequest(
        kind=ApprovalRequest.Kind.ACCESS,
        agent_id=wish.agent.pk if wish.agent else None,
        agent=wish.agent.name if wish.agent else "",
        owner_id=owner.pk if owner else None,
        owner=owner.email if owner else "",
        person_id=person.pk if person else None,
        person=person.email if person else "",
        asked_by_id=wish.asked_by.pk if wish.asked_by else None,
        connector_id=wish.tool.connector_id if wish.tool else None,
        connector=wish.tool.connector.name if wish.tool else "",
        tool_id=wish.tool.pk.hex if wish.tool else "",
        tool=wish.tool.name if wish.tool else "",
        method="",
        bundle_id=wish.bundle.pk,
        bundle=wish.bundle.name,
        bundle_version=snapshot.bundles[wish.bundle.pk.hex].number,
        asked_digest=asked_digest,
        call_digest=digest(b"gatehouse/access-for/v1", asked_digest, str(wish.minutes).encode()),
        wanted=wish.as_json(),
        reason=wish.reason[:500] if wish.asked_by else "",
        stated_reason="" if wish.asked_by else wish.reason[:2000],
        ticket=wish.ticket[:100],
    )
    return ask(draft, [access_terms()], record=record, now=now)


def renewal_of(grant: Grant, *, minutes: int, reason: str, asked_by: User) -> AccessWish:
    """Raises CannotGrant: consents are given anew, call by call, and break-glass does not go on."""
    if grant.kind != Grant.Kind.ELEVATION or grant.bundle is None:
        raise CannotGrant("grant", "Only access for a time is renewed. Ask for access instead.")
    return AccessWish(
        agent=grant.agent,
        person=grant.person,
        bundle=grant.bundle,
        tool=grant.tool,
        minutes=minutes,
        reason=reason,
        asked_by=asked_by,
        renews=grant,
    )


def _check(wish: AccessWish, snapshot: Snapshot) -> None:
    if (wish.agent is None) == (wish.person is None):
        raise CannotGrant("agent", "Name the agent or the person who is to get it: one of them.")
    if not 0 < wish.minutes <= LONGEST_MINUTES:
        raise CannotGrant("minutes", f"Ask for 1 to {LONGEST_MINUTES} minutes. What is needed for longer is a role.")
    if not wish.reason.strip():
        raise CannotGrant("reason", "Say what it is needed for: a human will read it.")
    if wish.agent is not None and (wish.agent.status != Agent.Status.LIVE or not wish.agent.owner.is_active):
        raise CannotGrant("agent", f"{wish.agent.name} is not live. Resume it first.")
    if wish.person is not None and not wish.person.is_active:
        raise CannotGrant("person", f"{wish.person.email} is not active.")
    bundle = snapshot.bundles.get(wish.bundle.pk.hex)
    if bundle is None:
        raise CannotGrant("bundle", f"{wish.bundle.name} is not published.")
    if wish.tool is not None and wish.tool.pk.hex not in bundle.tool_ids:
        raise CannotGrant("tool", f"{wish.bundle.name} does not hold {tool_name(wish.tool)}.")


def _digest(wish: AccessWish) -> bytes:
    """One question at a time for each subject and what it wants, however long."""
    subject = wish.agent or wish.person
    assert subject is not None
    tool = wish.tool.pk.bytes if wish.tool else b""
    return digest(b"gatehouse/access/v1", subject.pk.bytes, wish.bundle.pk.bytes, tool)
