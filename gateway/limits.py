"""Rate limits in force: counted in memory, kept across processes in the database.

**Requests.** A process takes a share of a window's requests (an eighth of what is left, at least one) and spends it in
memory. All processes together never spend more than the limit. A share that lies idle is given back within two beats;
until then others may be refused that much too early.
**Calls at once.** The same with places; who finds none waits for up to a second. Never more than the limit, except
for calls of a process that was declared dead and still lives.
**Bytes.** Known only when a call is over, so they are counted afterwards and told to all each beat, at once when they
are more than an eighth of what is left. The overshoot is at most that eighth in each process and what runs meanwhile.

**Labels.** A limit may be for runs only that have met something. Their labels are read with the decision, where such a
limit covers the tool, and compared once more in the commit of the intent.

Without the database nobody knows what is left, and the call is refused as it is without evidence.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from connectors.base import RawResult, UpstreamFailure
from gateway import refusals
from gateway.call import Call
from gateway.commit.entry import EvidenceUnavailable
from gateway.limit_meters import Meter, Run, Taken
from gateway.limit_table import Table
from gateway.refusals import Refusal
from governance.snapshot import Connector, RateLimit, Snapshot, Tool

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 1.0
FORGET_EVERY_BEATS: Final = 600
LOWER: Final = (
    "This limit is for runs that have met: {met}. A new run is free of it about half an hour after its agent last met"
    " such content."
)


class Limits:
    """All meters of this process. `run` does database work; `clock` tells the seconds since 1970."""

    def __init__(self, table: Table, run: Run, *, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._run = run
        self._clock = clock
        self._meters: dict[tuple[str, str], Meter] = {}
        self._limits: tuple[RateLimit, ...] = ()
        self._by_tool: dict[str, tuple[RateLimit, ...]] = {}
        self._beating: asyncio.Task[None] | None = None
        self._beats = 0

    def start(self) -> None:
        self._beating = asyncio.create_task(self._beat_forever(), name="limits")

    async def stop(self) -> None:
        """Gives everything back that it can."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        for _ in range(2):
            await self.beat()

    def meters(self, call: Call, labels: frozenset[str] | None = None) -> list[Meter]:
        return [
            self._meter(limit, subject)
            for limit in self._covering(call.caller.snapshot, call.tool)
            if limit.binds(labels)
            for subject in dict.fromkeys(_subjects(limit, call))
        ]

    async def beat(self) -> None:
        """What lies idle is given back, what was used is told. A beat that fails is made good by the next."""
        self._beats += 1
        try:
            for key, meter in list(self._meters.items()):
                await meter.beat()
                if meter.is_idle:
                    del self._meters[key]
            if self._beats % FORGET_EVERY_BEATS == 0:
                await self._run(partial(self._table.forget, self._clock()))
        except EvidenceUnavailable as error:
            logger.warning("a limit was not told to the database: %s", error)

    def _meter(self, limit: RateLimit, subject: str) -> Meter:
        key = (limit.id, subject)
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(limit, subject, self._table, self._run, self._clock)
        meter.limit = limit
        return meter

    def _covering(self, snapshot: Snapshot, tool: Tool) -> tuple[RateLimit, ...]:
        """Worked out once for each tool and set of limits. Resources and prompts have no end, so they are not kept."""
        if not snapshot.limits:
            return ()
        if self._limits is not snapshot.limits:
            self._limits, self._by_tool = snapshot.limits, {}
        found = self._by_tool.get(tool.id)
        if found is None:
            found = tuple(limit for limit in snapshot.limits if limit.covers(tool))
            if tool.kind == "tool":
                self._by_tool[tool.id] = found
        return found

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.beat()
            except EvidenceUnavailable as error:
                logger.warning("limits were not tidied: %s", error)
            except Exception:
                logger.exception("unforeseen failure of the limits")


class Allowance:
    """What one governed request takes of the limits, before its intent, and gives back when it is over:

        with Allowance(...) as allowance:
            await allowance.take(call, labels)

    A request that is decided again takes only what it has not taken yet.
    """

    __slots__ = ("_is_full", "_limits", "_taken")

    def __init__(self, limits: Limits, is_full: Callable[[Connector], bool]) -> None:
        self._limits = limits
        self._is_full = is_full
        self._taken: dict[Meter, Taken] = {}

    def __enter__(self) -> "Allowance":
        return self

    def __exit__(self, *_: object) -> None:
        for taken in self._taken.values():
            taken.leave()

    async def take(self, call: Call, labels: frozenset[str] | None = None) -> None:
        """`labels` are those of the run, None where nobody looked: then limits that read them hold.

        Raises Refusal where a limit is reached or its upstream has no room, EvidenceUnavailable.
        """
        if self._is_full(call.tool.connector):
            raise Refusal(refusals.CROWDED, facts=_facts(call))
        fresh: list[Taken] = []
        for meter in self._limits.meters(call, labels):
            if meter not in self._taken:
                taken = await meter.take()
                if isinstance(taken, str):
                    self._undo(fresh)
                    raise _refusal(call, meter, taken, labels)
                self._taken[meter] = taken
                fresh.append(taken)

    def spend(self, call: Call, outcome: RawResult | UpstreamFailure) -> None:
        """Counts the bytes of arguments and result."""
        size = len(call.recorded_arguments) + (outcome.size_bytes if isinstance(outcome, RawResult) else 0)
        for meter in self._taken:
            meter.spend(size)

    def _undo(self, fresh: list[Taken]) -> None:
        """One limit said no: the others are not charged for a call that is not made."""
        for taken in fresh:
            del self._taken[taken.meter]
            taken.undo()


def reads_labels(call: Call) -> bool:
    """Whether a limit that the call comes under is only for runs that have met something."""
    return any(limit.labels and limit.covers(call.tool) for limit in call.caller.snapshot.limits)


def _subjects(limit: RateLimit, call: Call) -> Iterator[str]:
    """For whom it counts. All resources or prompts of one connector count as one tool: agents choose their names."""
    match limit.per:
        case "agent":
            yield call.caller.agent.id
        case "team":
            yield from call.caller.agent.owner.team_ids
        case "tool" if call.tool.kind == "tool":
            yield call.tool.id
        case "tool":
            yield f"{call.tool.kind}:{call.tool.connector.id}"
        case _:
            yield ""


def _refusal(call: Call, meter: Meter, used_up: str, labels: frozenset[str] | None) -> Refusal:
    limit, seconds = meter.limit, meter.seconds_to_wait(used_up)
    facts = _facts(call) | {"limit": limit.name, "used_up": used_up, "retry_after": seconds}
    text = f"Over the limit '{limit.name}' ({used_up}); the call was not made."
    if limit.labels:
        met = sorted(limit.labels if labels is None else limit.labels & labels)
        facts["labels"] = met
        text = f"{text} {LOWER.format(met=', '.join(met))}"
    return Refusal(refusals.RATE_LIMITED, text, facts)


def _facts(call: Call) -> dict[str, object]:
    caller = call.caller
    return {
        "agent": caller.agent.name,
        "person": caller.agent.owner.email,
        "credential": caller.credential.id,
        "epoch": caller.snapshot.epoch,
        "connector": call.tool.connector.name,
        "tool": call.tool.name,
    }
