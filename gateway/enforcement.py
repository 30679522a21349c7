"""Who has confirmed that a withdrawal is in force, and what became of the calls that ran."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from audit.event import first_id_at
from audit.models import EventRow
from gateway.models import GatewayProcess
from gateway.recovery import DEAD_AFTER, recover
from governance.models import Epoch, Offboarding

RECENT = timedelta(minutes=15)
OPEN = "open"


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


def waited_seconds(offboarding: Offboarding) -> float:
    assert offboarding.withdrawn_at is not None
    return max(0.0, (datetime.now(UTC) - offboarding.withdrawn_at).total_seconds())


def looked(before: Enforcement, offboarding: Offboarding) -> Enforcement:
    """What can be seen now, added to what was seen before: who confirmed once stays confirmed."""
    milliseconds = int(waited_seconds(offboarding) * 1000)
    epoch = before.epoch or Epoch.objects.values_list("number", flat=True).get(id=1)
    calls = _with_fates(before.calls if before.epoch else _running_calls(offboarding))
    if before.epoch and not before.is_complete and milliseconds > 1000:
        recover()
    told = {gateway.id: gateway.milliseconds for gateway in before.gateways}
    gateways = tuple(
        Gateway(key.hex, f"{host}:{pid}", _confirmed_after(told.get(key.hex), applied >= epoch, milliseconds))
        for key, host, pid, applied in live_processes().values_list("id", "host", "pid", "applied_epoch")
    )
    return Enforcement(epoch, gateways, calls, milliseconds)


def _confirmed_after(before: int | None, is_confirmed: bool, milliseconds: int) -> int | None:
    return before if before is not None else milliseconds if is_confirmed else None


def live_processes() -> QuerySet[GatewayProcess]:
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
