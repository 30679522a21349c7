"""What humans do, across rooms: each act is one transaction with its evidence, whichever door it comes through."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.db.utils import OperationalError

from audit.models import EventRow
from gateway.models import GatewayProcess
from gateway.recorder import recorder
from gateway.recovery import DEAD_AFTER, first_id_at, recover
from governance import agent_keys, freezes, offboarding
from governance.agent_keys import IssuedKey
from governance.facts import Fact, Recorder
from governance.fence.actor import governed_change
from governance.fence.lockfile import WriteLockTimeout
from governance.freezes import FreezeTarget
from governance.models import Agent, AgentCredential, Epoch, Freeze, User
from governance.payload_keys import rewrap_payload_keys
from governance.vault import keyring, rewrap_all

ATTEMPTS = 3
ENFORCE_SECONDS = 15.0
CALLS_SECONDS = 10.0
RECENT = timedelta(minutes=15)
NOT_COMMITTED = ("55P03", "40P01", "40001")
"""PostgreSQL: lock_not_available, deadlock_detected, serialization_failure."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class CutCall:
    """A call that was running when permission was withdrawn, and what became of it."""

    call_id: UUID
    agent: str
    tool: str
    fate: str


@dataclass(frozen=True, slots=True)
class Enforcement:
    """`is_complete` only when every live gateway process confirmed the epoch and no call is left open."""

    epoch: int
    processes: int
    confirmed: int
    milliseconds: int
    calls: tuple[CutCall, ...]

    @property
    def is_complete(self) -> bool:
        return self.confirmed == self.processes and all(call.fate != "open" for call in self.calls)

    def as_json(self) -> dict[str, Any]:
        calls = [{"call_id": str(c.call_id), "agent": c.agent, "tool": c.tool, "fate": c.fate} for c in self.calls]
        return {
            "epoch": self.epoch,
            "gateways": {"live": self.processes, "confirmed": self.confirmed},
            "milliseconds": self.milliseconds,
            "calls": calls,
            "complete": self.is_complete,
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    person: str
    by: str
    at: datetime
    successor: str
    items: list[offboarding.Item]
    enforcement: Enforcement

    def as_json(self) -> dict[str, Any]:
        return {
            "person": self.person,
            "by": self.by,
            "at": self.at.isoformat(),
            "successor": self.successor or None,
            "items": [item.as_json() for item in self.items],
            "enforcement": self.enforcement.as_json(),
        }


def act(work: Callable[[Recorder, datetime], Result], *, by: str) -> Result:
    """Runs `work` as one governed transaction; once more, whole, when the fence or the write lock was busy."""
    for attempt in range(ATTEMPTS):
        now = datetime.now(UTC)
        try:
            with governed_change(by=by):
                return work(recorder(by=by, now=now), now)
        except OperationalError as error:
            if attempt == ATTEMPTS - 1 or not _was_rolled_back(error):
                raise
    raise AssertionError("unreachable")


def _was_rolled_back(error: OperationalError) -> bool:
    """Only what surely did not commit may be done again: a connection lost at COMMIT may have issued a key."""
    cause = error.__cause__
    return isinstance(cause, WriteLockTimeout) or getattr(cause, "sqlstate", None) in NOT_COMMITTED


def issue_key(agent: Agent, *, by: str, expires_in: timedelta | None) -> IssuedKey:
    """Raises NotIssuable."""
    return act(
        lambda record, now: agent_keys.issue_key(
            agent, by=by, record=record, now=now, expires_at=now + expires_in if expires_in else None
        ),
        by=by,
    )


def revoke_key(credential: AgentCredential, *, by: str) -> bool:
    """When this returns, no process can start a call with the key. False if it was revoked before."""
    return act(lambda record, now: agent_keys.revoke_key(credential, by=by, record=record, now=now), by=by)


def retire_agent(agent: Agent, *, by: str) -> int:
    return act(lambda record, now: agent_keys.retire_agent(agent, by=by, record=record, now=now), by=by)


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
    return rewrap_all(keyring=keys, record=record) + rewrap_payload_keys(keyring=keys, record=record)


def offboard(person: User, *, successor: User | None, by: str) -> Receipt:
    """Ends a person and waits until every live gateway has confirmed it. Raises CannotOffboard."""
    agents = list(Agent.objects.filter(owner=person).values_list("name", flat=True))
    at = datetime.now(UTC)
    items = act(
        lambda record, now: offboarding.offboard(person, successor=successor, by=by, record=record, now=now),
        by=by,
    )
    enforcement = await_enforcement(agents)
    receipt = Receipt(person.email, by, at, successor.email if successor else "", items, enforcement)
    act(lambda record, now: record(_completed(receipt)), by=by)
    return receipt


def await_enforcement(agents: list[str]) -> Enforcement:
    """The fence enforces at once; this waits for every live process to say so, and for running calls to end."""
    started = time.monotonic()
    epoch = Epoch.objects.values_list("number", flat=True).get(id=1)
    running = _open_calls(agents)
    while True:
        recover()
        live = list(_live_processes().values_list("applied_epoch", flat=True))
        confirmed = sum(applied >= epoch for applied in live)
        waited = time.monotonic() - started
        fates = _fates(running)
        is_settled = confirmed == len(live) and (len(fates) == len(running) or waited > CALLS_SECONDS)
        if is_settled or waited > ENFORCE_SECONDS:
            break
        time.sleep(0.02)
    calls = tuple(CutCall(c.call_id, c.agent, c.tool, fates.get(c.call_id, "open")) for c in running if c.call_id)
    return Enforcement(epoch, len(live), confirmed, int(waited * 1000), calls)


def _completed(receipt: Receipt) -> Fact:
    return Fact("offboarding.completed", f"person:{receipt.person}", receipt.as_json())


def _live_processes() -> Any:
    return GatewayProcess.objects.filter(ended_at=None, beat_at__gte=Now() - DEAD_AFTER)


def _open_calls(agents: list[str]) -> list[EventRow]:
    outcome = EventRow.objects.filter(call_id=OuterRef("call_id"), kind="call.outcome")
    recent = EventRow.objects.filter(agent__in=agents, id__gte=first_id_at(datetime.now(UTC) - RECENT))
    return list(recent.filter(~Exists(outcome), kind="call.intent", call_id__isnull=False))


def _fates(calls: list[EventRow]) -> dict[UUID, str]:
    """Call -> its outcome, for those that have one."""
    outcomes = EventRow.objects.filter(call_id__in=[call.call_id for call in calls], kind="call.outcome")
    return {call_id: outcome for call_id, outcome in outcomes.values_list("call_id", "outcome") if call_id}


def make_owner(email: str, *, by: str) -> User:
    """Creates the person if need be. She signs in by one-time link and chooses a password then."""

    def work(record: Recorder, now: datetime) -> User:
        person = User.objects.filter(email__iexact=email).first() or User.objects.create_user(email)
        person.is_active = person.is_staff = person.is_superuser = True
        person.save()
        record(Fact("owner.created", f"person:{person.email}"))
        return person

    return act(work, by=by)
