"""What humans do, across rooms: each act is one transaction with its evidence, whichever door it comes through."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.utils import OperationalError

from gateway.recorder import recorder
from gateway.second_factors import rewrap_second_factors
from governance import agent_keys, agents, freezes, personal_tokens, rotation
from governance.account_tokens import rewrap_accounts
from governance.agent_keys import IssuedKey
from governance.facts import Recorder
from governance.fence.actor import governed_change
from governance.fence.lockfile import WriteLockTimeout
from governance.freezes import FreezeTarget
from governance.models import Agent, AgentCredential, Freeze, PersonalToken, TrustedIssuer, User
from governance.payload_keys import rewrap_payload_keys
from governance.personal_tokens import IssuedToken
from governance.public_keys import PublicKey
from governance.vault import keyring, rewrap_all

ATTEMPTS = 3
NOT_COMMITTED = ("55P03", "40P01", "40001")
"""PostgreSQL: lock_not_available, deadlock_detected, serialization_failure."""

Result = TypeVar("Result")


def act(work: Callable[[Recorder, datetime], Result], *, by: str) -> Result:
    """Runs `work` as one governed transaction; once more, whole, when the fence or the write lock was busy."""
    for attempt in range(ATTEMPTS):
        now = datetime.now(UTC)
        try:
            with governed_change(by=by):
                return work(recorder(by=by, now=now), now)
        except OperationalError as error:
            if attempt == ATTEMPTS - 1 or not was_rolled_back(error):
                raise
    raise AssertionError("unreachable")


def was_rolled_back(error: OperationalError) -> bool:
    """Only what surely did not commit may be done again: a connection lost at COMMIT may have issued a key."""
    cause = error.__cause__
    return isinstance(cause, WriteLockTimeout) or getattr(cause, "sqlstate", None) in NOT_COMMITTED


def issue_key(agent: Agent, *, by: str, expires_in: timedelta | None, on_behalf_of: User | None = None) -> IssuedKey:
    """Raises NotIssuable."""
    return act(
        lambda record, now: agent_keys.issue_key(
            agent,
            by=by,
            record=record,
            now=now,
            expires_at=now + expires_in if expires_in else None,
            person=on_behalf_of,
        ),
        by=by,
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of a new credential. With `rotates`, the id of a live one, it takes that one's place."""

    kind: str = AgentCredential.Kind.KEY
    expires_in: timedelta | None = None
    label: str = ""
    on_behalf_of: User | None = None
    rotates: str | UUID | None = None

    def terms(self, agent: Agent, *, now: datetime) -> dict[str, Any]:
        """As the verbs want to know them. Raises NotIssuable."""
        ends = now + self.expires_in if self.expires_in else None
        return {"expires_at": ends, "label": self.label, "follows": self._follows(agent)}

    def _follows(self, agent: Agent) -> agent_keys.Successor | None:
        if not self.rotates:
            return None
        try:
            old = agent.credentials.filter(pk=self.rotates).first()
        except ValidationError:
            old = None
        if old is None:
            raise agent_keys.NotIssuable(f"{agent.name} has no credential {self.rotates}.")
        return agent_keys.Successor(old, rotation.terms().overlap)


def issue(agent: Agent, wish: Wish, *, by: str) -> IssuedKey:
    """A key or a client secret. Raises NotIssuable."""

    def work(record: Recorder, now: datetime) -> IssuedKey:
        acts: dict[str, Any] = {"by": by, "record": record, "now": now, **wish.terms(agent, now=now)}
        return agent_keys.issue_key(agent, kind=wish.kind, person=wish.on_behalf_of, **acts)

    return act(work, by=by)


def register_public_key(agent: Agent, key: PublicKey, wish: Wish, *, by: str) -> AgentCredential:
    """Raises NotIssuable."""

    def work(record: Recorder, now: datetime) -> AgentCredential:
        acts: dict[str, Any] = {"by": by, "record": record, "now": now, **wish.terms(agent, now=now)}
        return agent_keys.register_public_key(agent, key, **acts)

    return act(work, by=by)


def register_workload(
    agent: Agent, issuer: TrustedIssuer, claims: Mapping[str, str], *, by: str, expires_in: timedelta | None, label: str
) -> AgentCredential:
    """Raises NotIssuable."""
    return act(
        lambda record, now: agent_keys.register_workload(
            agent,
            issuer=issuer.issuer,
            claims=claims,
            hint=issuer.name,
            label=label,
            by=by,
            record=record,
            now=now,
            expires_at=now + expires_in if expires_in else None,
        ),
        by=by,
    )


def revoke_key(credential: AgentCredential, *, by: str) -> bool:
    """When this returns, no process can start a call with the key. False if it was revoked before."""
    return act(lambda record, now: agent_keys.revoke_key(credential, by=by, record=record, now=now), by=by)


def issue_token(person: User, *, name: str, scopes: Collection[str], by: str, lifetime: timedelta) -> IssuedToken:
    """Raises personal_tokens.NotIssuable."""
    return act(
        lambda record, now: personal_tokens.issue_token(
            person, name=name, scopes=scopes, by=by, record=record, now=now, lifetime=lifetime
        ),
        by=by,
    )


def revoke_token(row: PersonalToken, *, by: str) -> bool:
    """False if it was revoked before."""
    return act(lambda record, now: personal_tokens.revoke_token(row, by=by, record=record, now=now), by=by)


def retire_agent(agent: Agent, *, by: str) -> int:
    return act(lambda record, now: agent_keys.retire_agent(agent, by=by, record=record, now=now), by=by)


def suspend_agent(agent: Agent, *, by: str) -> bool:
    return act(lambda record, _: agents.suspend_agent(agent, record=record), by=by)


def resume_agent(agent: Agent, *, by: str) -> bool:
    return act(lambda record, _: agents.resume_agent(agent, record=record), by=by)


def transfer_agent(agent: Agent, *, to: User, ends_keys: bool, by: str) -> int:
    """Raises CannotTransfer."""
    return act(
        lambda record, now: agents.transfer_agent(agent, to=to, ends_keys=ends_keys, by=by, record=record, now=now),
        by=by,
    )


def revoke_keys(credentials: Iterable[AgentCredential], *, by: str) -> int:
    """All or none; returns how many were live until now."""
    chosen = list(credentials)
    return act(
        lambda record, now: sum(agent_keys.revoke_key(key, by=by, record=record, now=now) for key in chosen), by=by
    )


def freeze(target: FreezeTarget, *, by: str, lasting: timedelta | None, reason: str) -> Freeze:
    """Raises NoSuchTarget."""
    return act(
        lambda record, now: freezes.freeze(
            target, by=by, record=record, now=now, ends_at=now + lasting if lasting else None, reason=reason
        ),
        by=by,
    )


def unfreeze(target: FreezeTarget, *, by: str) -> int:
    """Raises NoSuchTarget."""
    return act(lambda record, now: freezes.lift(target, by=by, record=record, now=now), by=by)


def rewrap_vault(*, by: str) -> int:
    """Brings every sealed value under the current key-encryption key, while the gateway serves."""
    now = datetime.now(UTC)
    record, keys = recorder(by=by, now=now), keyring()
    rewrapped = rewrap_all(keyring=keys, record=record) + rewrap_payload_keys(keyring=keys, record=record)
    rewrapped += rewrap_accounts(keyring=keys, record=record)
    return rewrapped + rewrap_second_factors(keyring=keys, record=record)
