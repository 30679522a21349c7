"""Offboardings from the click to the receipt, across rooms.

`begin_offboarding` withdraws everything in one transaction. After that nothing of hers can start a call; what is left
is to see every live gateway say so, and running calls end. `follow` looks once and notes what it sees; whoever waits
calls it again: the command, a screen, or the worker, which also goes on where one of them died. The last step writes
the receipt and its evidence; only one of all who follow gets to do it.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from audit.event import AuditEvent, first_id_at
from audit.models import Checkpoint, EventRow, Leaf
from audit.record import record
from gateway.actions import act
from gateway.approving import tell_all
from gateway.held_sign_ins import ENDERS
from gateway.models import GatewayProcess
from gateway.recovery import DEAD_AFTER, recover
from governance import offboarding as verbs
from governance.facts import Fact, Recorder
from governance.models import ApprovalRequest, Epoch, Offboarding, User
from governance.offboarding import CannotOffboard, Item, Plan
from governance.snapshot_builder import build_snapshot

ENFORCE_SECONDS = 15.0
CALLS_SECONDS = 10.0
RECENT = timedelta(minutes=15)
RETRY_FOR = timedelta(days=7)
"""How long an unconfirmed offboarding is looked at again."""
POLL_SECONDS = 0.02
FIRST_CALLS = 50
OPEN = "open"

State = Offboarding.State


@dataclass(frozen=True, slots=True)
class Gateway:
    """A live gateway process; `milliseconds` from the withdrawal to its word, None while it has not confirmed."""

    id: str
    name: str
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class CutCall:
    """A call that was running when permission was withdrawn, and what became of it."""

    call_id: str
    agent: str
    tool: str
    fate: str = OPEN


@dataclass(frozen=True, slots=True)
class Enforcement:
    """`is_complete` only when every live gateway process confirmed the epoch and no call is left open."""

    epoch: int = 0
    gateways: tuple[Gateway, ...] = ()
    calls: tuple[CutCall, ...] = ()
    milliseconds: int = 0

    @property
    def confirmed(self) -> int:
        return sum(gateway.milliseconds is not None for gateway in self.gateways)

    @property
    def is_confirmed(self) -> bool:
        return self.epoch > 0 and self.confirmed == len(self.gateways)

    @property
    def is_complete(self) -> bool:
        return self.is_confirmed and all(call.fate != OPEN for call in self.calls)

    @property
    def fates(self) -> dict[str, int]:
        return dict(Counter(call.fate for call in self.calls))

    def as_json(self) -> dict[str, Any]:
        confirmations = [{"id": g.id, "name": g.name, "milliseconds": g.milliseconds} for g in self.gateways]
        return {
            "epoch": self.epoch,
            "gateways": {"live": len(confirmations), "confirmed": self.confirmed},
            "confirmations": confirmations,
            "milliseconds": self.milliseconds,
            "calls": [{"call_id": c.call_id, "agent": c.agent, "tool": c.tool, "fate": c.fate} for c in self.calls],
            "complete": self.is_complete,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Enforcement":
        if not kept:
            return cls()
        gateways = tuple(Gateway(**each) for each in kept["confirmations"])
        calls = tuple(CutCall(**call) for call in kept["calls"])
        return cls(kept["epoch"], gateways, calls, kept["milliseconds"])


@dataclass(frozen=True, slots=True)
class Check:
    """A try of every dead credential; `live` must be empty. `tried` counts keys and tokens."""

    at: datetime
    by: str
    tried: int
    live: tuple[str, ...] = field(default=())
    is_active: bool = False

    @property
    def is_clean(self) -> bool:
        return not self.live and not self.is_active

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "by": self.by,
            "tried": self.tried,
            "live": list(self.live),
            "active": self.is_active,
            "clean": self.is_clean,
        }


# -- beginning


def preview(person: User, *, plan: Plan) -> list[Item]:
    """Raises CannotOffboard."""
    return verbs.preview(person, plan=plan, enders=ENDERS)


def findings(person: User, *, plan: Plan) -> list[Item]:
    """As preview, also for somebody who cannot be offboarded as things are."""
    return verbs.findings(person, plan=plan, enders=ENDERS)


def begin_offboarding(person: User, *, plan: Plan, by: str, expected: str = "") -> Offboarding:
    """When this returns, nothing of hers can start a call. `expected` is the digest of the findings that were seen.

    Raises CannotOffboard.
    """

    def work(tell: Recorder, now: datetime) -> Offboarding:
        begun = verbs.begin(person, plan=plan, by=by, record=tell, now=now, enders=ENDERS, expected=expected)
        voided = ApprovalRequest.objects.filter(state=ApprovalRequest.State.VOID, ended_at=now)
        tell_all(voided, now=now)
        return begun

    return act(work, by=by)


def schedule_offboarding(person: User, *, plan: Plan, due_at: datetime, by: str) -> Offboarding:
    """Raises CannotOffboard."""
    return act(lambda tell, now: verbs.schedule(person, plan=plan, due_at=due_at, by=by, record=tell, now=now), by=by)


def cancel_offboarding(offboarding: Offboarding, *, by: str) -> bool:
    """False if it was not waiting any more."""
    return act(lambda tell, now: verbs.cancel(offboarding, record=tell, now=now), by=by)


def begin_due() -> int:
    """Starts what is scheduled for now, in the name of who planned it; returns how many began."""
    due = Offboarding.objects.filter(state=State.SCHEDULED, due_at__lte=Now()).select_related("person")
    return sum(_begin_scheduled(offboarding) for offboarding in list(due))


def _begin_scheduled(offboarding: Offboarding) -> bool:
    problem = "" if verbs.scheduler_may(offboarding) else f"{offboarding.created_by} may not offboard her any more."
    if not problem:
        try:
            plan = verbs.plan_as_of_now(offboarding)
            begin_offboarding(offboarding.person, plan=plan, by=offboarding.created_by)
        except verbs.UnderWay:
            return False
        except CannotOffboard as error:
            problem = str(error)
    if problem:
        act(lambda tell, now: verbs.fail(offboarding, problem, record=tell, now=now), by="system:offboarding")
    return not problem


# -- following


def follow(offboarding_id: UUID) -> Offboarding:
    """One look at who has confirmed and what became of running calls; finishes when there is nothing to wait for.

    Waits for nothing and holds no transaction. Safe from anywhere, at once, and again after a crash.
    """
    offboarding = Offboarding.objects.select_related("person").get(id=offboarding_id)
    if offboarding.state not in (State.ENFORCING, State.INCOMPLETE) or offboarding.withdrawn_at is None:
        return offboarding
    before = Enforcement.from_json(offboarding.enforcement)
    now = _looked(before, offboarding)
    if _is_over(now, offboarding) and (offboarding.state == State.ENFORCING or now.is_complete):
        _finish(offboarding, now)
    elif offboarding.state == State.ENFORCING and now.as_json() != {
        **before.as_json(),
        "milliseconds": now.milliseconds,
    }:
        Offboarding.objects.filter(id=offboarding.id, state=State.ENFORCING).update(enforcement=now.as_json())
    else:
        return offboarding
    offboarding.refresh_from_db()
    return offboarding


def follow_for(offboarding_id: UUID, seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> Offboarding:
    """Looks again and again in this thread, until it is finished or the time is over."""
    ends_at = time.monotonic() + seconds
    while (offboarding := follow(offboarding_id)).state == State.ENFORCING and time.monotonic() < ends_at:
        sleep(POLL_SECONDS)
    return offboarding


def follow_unfinished() -> int:
    """For the worker: what nobody looks at any more goes on. Returns how many it looked at."""
    since = datetime.now(UTC) - RETRY_FOR
    waiting = Q(state=State.ENFORCING) | Q(state=State.INCOMPLETE, withdrawn_at__gte=since)
    ids = list(Offboarding.objects.filter(waiting).values_list("id", flat=True))
    for offboarding_id in ids:
        follow_for(offboarding_id, CALLS_SECONDS / 10)
    return len(ids)


def offboard(person: User, *, plan: Plan, by: str) -> Offboarding:
    """Ends a person and waits until every live gateway has confirmed it. Raises CannotOffboard."""
    begun = begin_offboarding(person, plan=plan, by=by)
    return follow_for(begun.id, ENFORCE_SECONDS + CALLS_SECONDS)


def waited_seconds(offboarding: Offboarding) -> float:
    assert offboarding.withdrawn_at is not None
    return max(0.0, (datetime.now(UTC) - offboarding.withdrawn_at).total_seconds())


def _looked(before: Enforcement, offboarding: Offboarding) -> Enforcement:
    """What can be seen now, added to what was seen before: who confirmed once stays confirmed."""
    milliseconds = int(waited_seconds(offboarding) * 1000)
    epoch = before.epoch or Epoch.objects.values_list("number", flat=True).get(id=1)
    calls = _with_fates(before.calls if before.epoch else _running_calls(offboarding))
    if before.epoch and not before.is_complete and milliseconds > 1000:
        recover()
    told = {gateway.id: gateway.milliseconds for gateway in before.gateways}
    gateways = tuple(
        Gateway(key.hex, f"{host}:{pid}", _confirmed_after(told.get(key.hex), applied >= epoch, milliseconds))
        for key, host, pid, applied in _live_processes().values_list("id", "host", "pid", "applied_epoch")
    )
    return Enforcement(epoch, gateways, calls, milliseconds)


def _confirmed_after(before: int | None, is_confirmed: bool, milliseconds: int) -> int | None:
    return before if before is not None else milliseconds if is_confirmed else None


def _is_over(seen: Enforcement, offboarding: Offboarding) -> bool:
    waited = waited_seconds(offboarding)
    return seen.is_complete or waited > ENFORCE_SECONDS or (seen.is_confirmed and waited > CALLS_SECONDS)


def _live_processes() -> QuerySet[GatewayProcess]:
    live = GatewayProcess.objects.filter(ended_at=None, beat_at__gte=Now() - DEAD_AFTER)
    return live.order_by("started_at", "id")


def _running_calls(offboarding: Offboarding) -> tuple[CutCall, ...]:
    """Those of her agents that were open at the withdrawal, also when they have ended by now."""
    assert offboarding.withdrawn_at is not None
    agents = [item["name"] for item in offboarding.items if item["kind"] == "agent"]
    outcome = EventRow.objects.filter(call_id=OuterRef("call_id"), kind="call.outcome").values("at")
    intents = EventRow.objects.filter(
        agent__in=agents,
        id__gte=first_id_at(offboarding.withdrawn_at - RECENT),
        kind="call.intent",
        call_id__isnull=False,
    )
    ended = intents.annotate(ended_at=Subquery(outcome[:1]))
    running = ended.filter(Q(ended_at=None) | Q(ended_at__gte=offboarding.withdrawn_at)).order_by("id")
    return tuple(
        CutCall(str(call), agent, tool) for call, agent, tool in running.values_list("call_id", "agent", "tool")
    )


def _with_fates(calls: tuple[CutCall, ...]) -> tuple[CutCall, ...]:
    waiting = [call.call_id for call in calls if call.fate == OPEN]
    if not waiting:
        return calls
    outcomes = EventRow.objects.filter(call_id__in=waiting, kind="call.outcome").values_list("call_id", "outcome")
    fates = {str(call_id): outcome for call_id, outcome in outcomes}
    return tuple(CutCall(c.call_id, c.agent, c.tool, fates.get(c.call_id, c.fate)) for c in calls)


# -- finishing


def _finish(offboarding: Offboarding, seen: Enforcement) -> None:
    """The receipt and its evidence, once for each verdict: an incomplete one may become complete later."""
    verdict = State.ENFORCED if seen.is_complete else State.INCOMPLETE
    check = probe(offboarding, by="system:offboarding")
    receipt = receipt_of(offboarding, seen, check)
    text = orjson.dumps(receipt, option=orjson.OPT_SORT_KEYS).decode()
    digest = hashlib.sha256(text.encode()).hexdigest()

    def settle(_: Any, now: datetime) -> None:
        event = _completed(offboarding, receipt, digest, now=now)
        moved = Offboarding.objects.filter(id=offboarding.id, state=offboarding.state).update(
            state=verdict,
            enforcement=seen.as_json(),
            finished_at=now,
            checked=check.as_json(),
            receipt=text,
            receipt_digest=digest,
            receipt_event=event.id,
        )
        if moved:
            record(event)

    act(settle, by=offboarding.created_by)


def receipt_of(offboarding: Offboarding, seen: Enforcement, check: Check) -> dict[str, Any]:
    assert offboarding.withdrawn_at is not None
    plan = Plan.from_json(offboarding.plan)
    return {
        "offboarding": str(offboarding.id),
        "person": offboarding.person.email,
        "name": offboarding.person.name,
        "by": offboarding.created_by,
        "at": offboarding.withdrawn_at.isoformat(),
        "successor": plan.otherwise or None,
        "plan": offboarding.plan,
        "counts": dict(Counter(item["kind"] for item in offboarding.items)),
        "items": offboarding.items,
        "enforcement": seen.as_json(),
        "check": check.as_json(),
    }


def _completed(offboarding: Offboarding, receipt: dict[str, Any], digest: str, *, now: datetime) -> AuditEvent:
    """Bounded, whatever she owned: the digest binds the whole receipt, which the offboarding's row keeps."""
    enforcement = receipt["enforcement"]
    calls = enforcement["calls"]
    details = {
        "subject": f"person:{receipt['person']}",
        "receipt_sha256": digest,
        **{key: receipt[key] for key in ("offboarding", "at", "successor", "counts", "check")},
        "items": receipt["items"][: verbs.FIRST_ITEMS],
        "enforcement": {**enforcement, "calls": calls[:FIRST_CALLS], "calls_in_all": len(calls)},
    }
    kind = "offboarding.completed" if enforcement["complete"] else "offboarding.incomplete"
    return AuditEvent(kind=kind, at=now, actor=offboarding.created_by, person=receipt["person"], details=details)


# -- proving


def probe(offboarding: Offboarding, *, by: str) -> Check:
    """Looks up every key and token that was ended, in the snapshot that gateways compile and in the tables."""
    snapshot = build_snapshot()
    person = snapshot.people.get(offboarding.person_id.hex)
    is_active = person.is_active if person else User.objects.get(id=offboarding.person_id).is_active
    live = verbs.still_live(offboarding.items, live_key_ids=[c.id for c in snapshot.credentials.values()])
    tried = sum(item["kind"] in (verbs.KEY, verbs.TOKEN) for item in offboarding.items)
    return Check(datetime.now(UTC), by, tried, tuple(live), is_active)


def check_again(offboarding: Offboarding, *, by: str) -> Check:
    """Probes once more, and keeps the result as evidence beside the receipt, which stays as it was."""
    check = probe(offboarding, by=by)

    act(lambda tell, _: keep_check(offboarding, check, record=tell), by=by)
    return check


def keep_check(offboarding: Offboarding, check: Check, *, record: Recorder) -> None:
    Offboarding.objects.filter(id=offboarding.id).update(checked=check.as_json())
    details = {"offboarding": str(offboarding.id), **check.as_json()}
    record(Fact("offboarding.checked", f"person:{offboarding.person.email}", details))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the receipt's evidence stands in the signed log; None where the log has not got to it yet."""

    event_id: UUID
    leaf: int | None
    checkpoint: int | None


def place_in_log(offboarding: Offboarding) -> Place | None:
    if offboarding.receipt_event is None:
        return None
    leaf = Leaf.objects.filter(event_id=offboarding.receipt_event).values_list("index", flat=True).first()
    signed = None
    if leaf is not None:
        signed = Checkpoint.objects.filter(size__gt=leaf).order_by("size").values_list("size", flat=True).first()
    return Place(offboarding.receipt_event, leaf, signed)
