"""Agent keys: how they look, how they are issued and ended."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q

from governance import key_text
from governance.facts import Fact, Recorder
from governance.models import Agent, AgentCredential, User

PREFIX = "gate_ak_"


class NotIssuable(Exception):
    """The agent may not get a key; the message says why."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The only moment at which the key itself exists."""

    credential: AgentCredential
    key: str = field(repr=False)


def new_key() -> str:
    return key_text.new_text(PREFIX)


def looks_like_key(text: str) -> bool:
    """Right prefix, length and checksum; says nothing of whether it was ever issued."""
    return key_text.is_well_formed(text, prefix=PREFIX)


def key_digest(key: str) -> bytes:
    return key_text.digest_of(key)


def live(now: datetime, *, through: str = "") -> Q:
    """Of rows of AgentCredential, or of rows that reach them `through` a relation (`credentials__`)."""
    not_expired = Q(**{f"{through}expires_at": None}) | Q(**{f"{through}expires_at__gt": now})
    return Q(**{f"{through}revoked_at": None}) & not_expired


def issue_key(
    agent: Agent,
    *,
    by: str,
    record: Recorder,
    now: datetime,
    expires_at: datetime | None,
    person: User | None = None,
) -> IssuedKey:
    """Raises NotIssuable for an agent that is not live. With a `person` the key acts on her behalf: it gives what both
    she and the agent may, never what either of them may not.

    She and the agent are locked and looked at again, in the order of an offboarding: no key appears behind that.
    """
    if person is not None and User.objects.select_for_update().filter(id=person.id, is_active=True).first() is None:
        raise NotIssuable(f"{person.email} is not active.")
    agent = Agent.objects.select_for_update().get(id=agent.id)
    if agent.status != Agent.Status.LIVE or not agent.owner.is_active:
        raise NotIssuable(f"Agent {agent.name} is not live ({agent.status}, owner {agent.owner.email}).")
    if expires_at is not None and expires_at <= now:
        raise NotIssuable("The key would expire before it starts.")
    key = new_key()
    credential = AgentCredential.objects.create(
        agent=agent,
        person=person,
        digest=key_digest(key),
        hint=key_text.hint_of(key, prefix=PREFIX),
        created_by=by,
        expires_at=expires_at,
    )
    told = {"key_id": str(credential.id), "expires_at": expires_at, "on_behalf_of": person.email if person else ""}
    record(Fact("key.issued", f"agent:{agent.name}", told))
    return IssuedKey(credential, key)


def revoke_key(credential: AgentCredential, *, by: str, record: Recorder, now: datetime) -> bool:
    """False if it was revoked before."""
    live = AgentCredential.objects.filter(id=credential.id, revoked_at=None)
    if not live.update(revoked_at=now, revoked_by=by):
        return False
    record(Fact("key.revoked", f"agent:{credential.agent.name}", {"key_id": str(credential.id)}))
    return True


def revoke_all_keys(agent: Agent, *, by: str, record: Recorder, now: datetime) -> int:
    live = agent.credentials.filter(revoked_at=None)
    key_ids = [str(key_id) for key_id in live.values_list("id", flat=True)]
    if key_ids:
        live.update(revoked_at=now, revoked_by=by)
        record(Fact("keys.revoked", f"agent:{agent.name}", {"key_ids": key_ids}))
    return len(key_ids)


def retire_agent(agent: Agent, *, by: str, record: Recorder, now: datetime) -> int:
    """Ends an agent for good; returns how many keys ended with it."""
    Agent.objects.filter(id=agent.id).update(status=Agent.Status.RETIRED)
    record(Fact("agent.retired", f"agent:{agent.name}", {"by": by}))
    return revoke_all_keys(agent, by=by, record=record, now=now)
