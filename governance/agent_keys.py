"""Credentials of agents, of all kinds: how they look, how they are issued, replaced and ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from governance import key_text, rotation
from governance.agent_clients import client_of_agent
from governance.facts import Fact, Recorder
from governance.models import Agent, AgentCredential, RotationTask, User
from governance.public_keys import PublicKey
from governance.workloads import claim_faults

PREFIX = "gate_ak_"
CLIENT_SECRET_PREFIX = "gate_cs_"  # noqa: S105  (a prefix for all of them to see)
PROVES_A_CLIENT = (AgentCredential.Kind.CLIENT_SECRET, AgentCredential.Kind.PUBLIC_KEY)
LONGEST_LABEL = 100
MOST_LIVE = 50
"""Of one agent: enough for every place it runs, and a bound to what anybody can heap up."""


class NotIssuable(Exception):
    """The agent may not get a key; the message says why."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The only moment at which the key or client secret itself exists."""

    credential: AgentCredential
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Successor:
    """That a new credential takes the place of `rotates`, which ends by itself after the overlap."""

    rotates: AgentCredential
    overlap: timedelta


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
    label: str = "",
    follows: Successor | None = None,
    kind: str = AgentCredential.Kind.KEY,
) -> IssuedKey:
    """A key, or with that kind a client secret. Raises NotIssuable for an agent that is not live. With a `person` it
    acts on her behalf: it gives what both she and the agent may, never what either of them may not."""
    prefix = CLIENT_SECRET_PREFIX if kind == AgentCredential.Kind.CLIENT_SECRET else PREFIX
    text = key_text.new_text(prefix)
    row = AgentCredential(
        kind=kind,
        person=person,
        digest=key_digest(text),
        hint=key_text.hint_of(text, prefix=prefix),
        label=label,
        expires_at=expires_at,
    )
    return IssuedKey(_issued(row, agent, by=by, record=record, now=now, follows=follows), text)


def register_public_key(
    agent: Agent,
    key: PublicKey,
    *,
    by: str,
    record: Recorder,
    now: datetime,
    expires_at: datetime | None,
    label: str = "",
    follows: Successor | None = None,
) -> AgentCredential:
    """The agent signs with the private half, which never comes here. Raises NotIssuable, also for a key that any agent
    ever had: what was revoked does not come back."""
    row = AgentCredential(
        kind=AgentCredential.Kind.PUBLIC_KEY,
        public_key=dict(key.jwk),
        thumbprint=key.thumbprint,
        hint=key.hint,
        label=label,
        expires_at=expires_at,
    )
    return _issued(row, agent, by=by, record=record, now=now, follows=follows)


def register_workload(
    agent: Agent,
    *,
    issuer: str,
    claims: Mapping[str, Any],
    hint: str,
    by: str,
    record: Recorder,
    now: datetime,
    expires_at: datetime | None,
    label: str = "",
) -> AgentCredential:
    """The agent has no secret: `issuer`, once it is trusted, vouches for it whenever it says all of `claims`. Raises
    NotIssuable, also for a rule that lets in more than workloads of one place."""
    if not claims:
        raise NotIssuable("Without a claim that must match, any workload of the issuer would be this agent.")
    if fault := next(claim_faults(issuer, claims), ""):
        raise NotIssuable(f"{fault[:1].upper()}{fault[1:]}.")
    row = AgentCredential(
        kind=AgentCredential.Kind.WORKLOAD,
        issuer=issuer,
        claims=dict(claims),
        hint=hint[:24],
        label=label,
        expires_at=expires_at,
    )
    return _issued(row, agent, by=by, record=record, now=now)


def revoke_key(credential: AgentCredential, *, by: str, record: Recorder, now: datetime) -> bool:
    """False if it was revoked before."""
    live = AgentCredential.objects.filter(id=credential.id, revoked_at=None)
    if not live.update(revoked_at=now, revoked_by=by):
        return False
    record(Fact("key.revoked", f"agent:{credential.agent.name}", {"key_id": str(credential.id)}))
    _nothing_left_to_do(credential, {"revoked": str(credential.id)}, by=by, record=record, now=now)
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


def _issued(
    row: AgentCredential,
    agent: Agent,
    *,
    by: str,
    record: Recorder,
    now: datetime,
    follows: Successor | None = None,
) -> AgentCredential:
    row.agent, row.created_by = _locked(agent, row.person, now=now), by
    if len(row.label) > LONGEST_LABEL:
        raise NotIssuable(f"A label has at most {LONGEST_LABEL} characters.")
    if row.expires_at is not None and row.expires_at <= now:
        raise NotIssuable("The key would expire before it starts.")
    if follows is not None:
        _check_follows(row, follows, now=now)
        row.successor_of = follows.rotates
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise NotIssuable("This public key was registered before. Make a new pair.") from None
    told = {
        "key_id": str(row.id),
        "kind": row.kind,
        "expires_at": row.expires_at,
        "on_behalf_of": row.person.email if row.person else "",
    }
    record(Fact("key.issued", f"agent:{row.agent.name}", told))
    issued = {"issued": str(row.id)}
    rotation.done_for(RotationTask.Subject.AGENT, row.agent.pk, by=by, record=record, now=now, evidence=issued)
    if row.kind in PROVES_A_CLIENT:
        client_of_agent(row.agent, by=by, record=record)
    if follows is not None:
        _end_after(follows, successor=row, by=by, record=record, now=now)
    return row


def _locked(agent: Agent, person: User | None, *, now: datetime) -> Agent:
    """She and the agent, locked and looked at again, in the order of an offboarding: no key appears behind that."""
    if person is not None and User.objects.select_for_update().filter(id=person.id, is_active=True).first() is None:
        raise NotIssuable(f"{person.email} is not active.")
    agent = Agent.objects.select_for_update().get(id=agent.id)
    if agent.status != Agent.Status.LIVE or not agent.owner.is_active:
        raise NotIssuable(f"Agent {agent.name} is not live ({agent.status}, owner {agent.owner.email}).")
    if agent.credentials.filter(live(now)).count() >= MOST_LIVE:
        raise NotIssuable(f"Agent {agent.name} has {MOST_LIVE} live credentials already. Revoke some of them first.")
    return agent


def _check_follows(row: AgentCredential, follows: Successor, *, now: datetime) -> None:
    """The predecessor as it is now, under the agent's lock; one that is over has nothing to hand on."""
    old = AgentCredential.objects.filter(live(now), id=follows.rotates.id, agent_id=row.agent_id).first()
    if old is None:
        raise NotIssuable("What it should take the place of is no live credential of this agent.")
    if (old.kind, old.person_id) != (row.kind, row.person_id):
        raise NotIssuable(f"It takes the place of a {old.get_kind_display().lower()} for somebody else or another use.")
    if old.successors.filter(live(now)).exists():
        raise NotIssuable("This one is being replaced already. Revoke its successor, or replace that one.")


def _end_after(follows: Successor, *, successor: AgentCredential, by: str, record: Recorder, now: datetime) -> None:
    """Never later than it would have ended anyway."""
    old = AgentCredential.objects.get(id=follows.rotates.id)
    ends_at = min(filter(None, (old.expires_at, now + follows.overlap)))
    if ends_at <= max(now, old.not_before or now):
        revoke_key(old, by=by, record=record, now=now)
    else:
        AgentCredential.objects.filter(id=old.id, revoked_at=None).update(expires_at=ends_at)
    told = {"key_id": str(old.id), "successor": str(successor.id), "ends_at": ends_at}
    record(Fact("key.rotated", f"agent:{successor.agent.name}", told))
    _nothing_left_to_do(old, {"successor": str(successor.id)}, by=by, record=record, now=now)


def _nothing_left_to_do(
    credential: AgentCredential, evidence: Mapping[str, Any], *, by: str, record: Recorder, now: datetime
) -> None:
    kind = RotationTask.Subject.CREDENTIAL
    rotation.done_for(kind, credential.id, by=by, record=record, now=now, evidence=evidence)
