"""What stands between the gateway and an upstream that is slow, overloaded or partly down.

Around any connector kind: a bulkhead for each upstream, a circuit breaker for each of its replicas, failover between
them, and retries, which happen only where they surely cause nothing twice. The kind itself sees one address at a time.

Ours, because the libraries (aiobreaker, purgatory, tenacity, stamina) decide by exception type; here it takes
`reached`, `is_repeatable` and the moment until which a question may be sent, and that is most of this file.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from connectors.base import (
    SILENCE,
    Catalog,
    Connector,
    Discovery,
    Heard,
    Hosting,
    Interest,
    ProgramState,
    Question,
    RawResult,
    Relay,
    Stands,
    UpstreamAuth,
    UpstreamFailure,
    UpstreamSpec,
    unheeded,
)
from connectors.breaker import CLOSED, Breaker
from connectors.bulkhead import Bulkhead, NoRoom, NoTurn
from connectors.egress import NOT_SENT_IN_TIME, SEND_CLOCK

logger = logging.getLogger(__name__)

T = TypeVar("T")
Act = Callable[[UpstreamSpec], Awaitable[T]]

TRIES: Final = 3
FIRST_PAUSE_SECONDS: Final = 0.05
CHECK_SECONDS: Final = 5.0
BUDGET: Final = 10.0
BUDGET_PER_REQUEST: Final = 0.1
"""Retries are at most a tenth of the requests, after a first few: they must not finish an overloaded upstream off."""

BROKEN: Final = frozenset(("connect_failed", "timeout", "reset", "upstream_status"))
"""Failures that speak against a replica. Any other answer shows that it lives, whatever it says."""
UNTRIED: Final = frozenset(("bad_url", "bad_request", "address_refused", "crowded", NOT_SENT_IN_TIME))
"""Failures that say nothing about it."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """`status` is closed (calls pass), open or checking; `due_in_seconds` is when an open one may be checked next."""

    url: str
    status: str
    failures: int
    running: int
    due_in_seconds: float


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """One upstream as this process sees it."""

    connector_id: str
    name: str
    running: int
    waiting: int
    max_running: int
    max_waiting: int
    replicas: tuple[ReplicaState, ...]
    programs: tuple[ProgramState, ...] = ()

    @property
    def is_unusual(self) -> bool:
        """Whether somebody should see it: a replica is out of order, requests wait, or a program has something to
        say."""
        has_words = any(program.said or program.failures for program in self.programs)
        return self.waiting > 0 or has_words or any(replica.status != CLOSED for replica in self.replicas)


class Replica:
    """One address of an upstream. `broken` is set while no calls may pass."""

    __slots__ = ("breaker", "broken", "check", "running", "spec")

    def __init__(self, spec: UpstreamSpec, breaker: Breaker) -> None:
        self.spec = spec
        self.breaker = breaker
        self.broken = asyncio.Event()
        self.check: asyncio.Task[bool] | None = None
        self.running = 0

    def learn(self, failure: UpstreamFailure) -> None:
        if failure.code in BROKEN:
            self.breaker.note_failure()
        elif failure.code not in UNTRIED:
            self.breaker.note_success()
        if not self.breaker.is_closed:
            self.broken.set()

    def state(self) -> ReplicaState:
        breaker = self.breaker
        url = self.spec.urls[0]
        return ReplicaState(url, breaker.status, breaker.failures, self.running, breaker.due_in_seconds)


class Upstream:
    """What this process remembers of one upstream. Without addresses, as a local program, it has no replicas."""

    __slots__ = ("budget", "bulkhead", "only", "replicas", "spec")

    def __init__(self, spec: UpstreamSpec, make_breaker: Callable[[], Breaker]) -> None:
        self.bulkhead = Bulkhead(max_running=spec.max_running, max_waiting=spec.max_waiting)
        self.budget = BUDGET
        self.adopt(spec, make_breaker)

    def adopt(self, spec: UpstreamSpec, make_breaker: Callable[[], Breaker]) -> None:
        """The connector was changed: what was learnt of its addresses may not hold any more."""
        self.spec = spec
        self.replicas = tuple(Replica(replace(spec, urls=(url,)), make_breaker()) for url in spec.urls)
        self.only = self.replicas[0] if len(self.replicas) == 1 else None
        self.bulkhead.resize(max_running=spec.max_running, max_waiting=spec.max_waiting)

    def may_spend_retry(self) -> bool:
        if self.budget < 1:
            return False
        self.budget -= 1
        return True

    def earn(self) -> None:
        if self.budget < BUDGET:
            self.budget = min(self.budget + BUDGET_PER_REQUEST, BUDGET)

    def state(self) -> UpstreamState:
        return UpstreamState(
            connector_id=self.spec.connector_id,
            name=self.spec.name,
            running=self.bulkhead.running,
            waiting=self.bulkhead.waiting,
            max_running=self.bulkhead.max_running,
            max_waiting=self.bulkhead.max_waiting,
            replicas=tuple(replica.state() for replica in self.replicas),
        )


@dataclass(slots=True)
class Trip:
    """The tries of one request. `send_before_ns` binds the last of them like the first."""

    is_repeatable: bool
    send_before_ns: int | None = None
    tried: tuple[Replica, ...] = ()
    failure: UpstreamFailure | None = None

    def note(self, replica: Replica, failure: UpstreamFailure) -> None:
        """What is told in the end is the failure that matters most: one that may have reached the upstream, or else
        the first."""
        self.tried = (*self.tried, replica)
        if self.failure is None or (failure.reached and not self.failure.reached):
            self.failure = failure

    def may_go_on(self, failure: UpstreamFailure, *, after_seconds: float) -> bool:
        if failure.code not in BROKEN or len(self.tried) >= TRIES or (failure.reached and not self.is_repeatable):
            return False
        return seconds_until(self.send_before_ns) > after_seconds


class Guarded:
    """A connector kind with all of this around it; itself a `Connector`. Belongs to one event loop."""

    def __init__(
        self,
        connector: Connector,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connector = connector
        self._clock = clock
        self._chance = chance
        self._pause = pause
        self._upstreams: dict[str, Upstream] = {}

    # -- the Connector protocol

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        def act(one: UpstreamSpec) -> Awaitable[Discovery]:
            return self._connector.discover(one, auth)

        return await self._somewhere(self._upstream(spec), auth, act, Trip(is_repeatable=True))

    async def request(
        self, spec: UpstreamSpec, auth: UpstreamAuth, question: Question, relay: Relay = SILENCE
    ) -> RawResult:
        def act(one: UpstreamSpec) -> Awaitable[RawResult]:
            return self._connector.request(one, auth, question, relay)

        upstream = self._upstream(spec)
        if not upstream.bulkhead.enters_at_once():
            await _enter(upstream.bulkhead, question, spec)
        try:
            return await self._somewhere(upstream, auth, act, Trip(question.is_repeatable, question.send_before_ns))
        finally:
            upstream.bulkhead.leave()

    async def catalog(self, spec: UpstreamSpec, auth: UpstreamAuth, method: str) -> Catalog:
        def act(one: UpstreamSpec) -> Awaitable[Catalog]:
            return self._connector.catalog(one, auth, method)

        return await self._somewhere(self._upstream(spec), auth, act, Trip(is_repeatable=True))

    async def listen(
        self, spec: UpstreamSpec, auth: UpstreamAuth, interest: Interest, heard: Heard, stands: Stands = unheeded
    ) -> None:
        """At one replica; at another one as soon as calls find that it is broken."""
        upstream = self._upstream(spec)
        if len(upstream.replicas) < 2:
            await self._connector.listen(spec, auth, interest, heard, stands)
            return
        while True:
            replica = await self._healthy(upstream, auth, Trip(is_repeatable=True))
            listening = asyncio.ensure_future(self._connector.listen(replica.spec, auth, interest, heard, stands))
            if await _ends_before(listening, replica.broken):
                return

    async def forget(self, connector_ids: Sequence[str]) -> None:
        for connector_id in connector_ids:
            if upstream := self._upstreams.pop(connector_id, None):
                _stop_checks(upstream)
        await self._connector.forget(connector_ids)

    async def close(self) -> None:
        for upstream in self._upstreams.values():
            _stop_checks(upstream)
        self._upstreams.clear()
        await self._connector.close()

    # -- what others may see of it

    def is_full(self, spec: UpstreamSpec) -> bool:
        """Whether one more request would be turned away as `crowded`."""
        return self._upstream(spec).bulkhead.is_full

    def states(self) -> tuple[UpstreamState, ...]:
        """For metrics and for the connector's page."""
        return tuple(
            replace(upstream.state(), programs=self._programs(connector_id))
            for connector_id, upstream in self._upstreams.items()
        )

    def _programs(self, connector_id: str) -> tuple[ProgramState, ...]:
        return self._connector.programs(connector_id) if isinstance(self._connector, Hosting) else ()

    # -- choosing a replica, and another one

    def _upstream(self, spec: UpstreamSpec) -> Upstream:
        upstream = self._upstreams.get(spec.connector_id)
        if upstream is None:
            upstream = self._upstreams[spec.connector_id] = Upstream(spec, self._make_breaker)
        elif upstream.spec is not spec and upstream.spec != spec:
            _stop_checks(upstream)
            upstream.adopt(spec, self._make_breaker)
        return upstream

    def _make_breaker(self) -> Breaker:
        return Breaker(clock=self._clock, chance=self._chance)

    async def _somewhere(self, upstream: Upstream, auth: UpstreamAuth, act: Act[T], trip: Trip) -> T:
        """Does it at the best replica, and once more there or elsewhere where that is safe. What was cancelled teaches
        nothing about a replica. Raises UpstreamFailure."""
        if not upstream.replicas:
            return await act(upstream.spec)
        upstream.earn()
        while True:
            replica = upstream.only
            if replica is None or not replica.breaker.is_closed:
                replica = await self._healthy(upstream, auth, trip)
            replica.running += 1
            try:
                outcome = await act(replica.spec)
            except UpstreamFailure as failure:
                last = failure
            else:
                replica.breaker.note_success()
                return outcome
            finally:
                replica.running -= 1
            replica.learn(last)
            trip.note(replica, last)
            if not await self._goes_on(upstream, trip, last):
                raise trip.failure or last

    async def _goes_on(self, upstream: Upstream, trip: Trip, failure: UpstreamFailure) -> bool:
        """Whether to try again, after the pause that it takes. Going elsewhere with what never arrived is free."""
        is_elsewhere = any(each.breaker.is_closed and each not in trip.tried for each in upstream.replicas)
        pause = 0.0 if is_elsewhere else FIRST_PAUSE_SECONDS * 2.0 ** len(trip.tried) * self._chance()
        if not trip.may_go_on(failure, after_seconds=pause):
            return False
        if (failure.reached or not is_elsewhere) and not upstream.may_spend_retry():
            return False
        if pause:
            await self._pause(pause)
        return True

    async def _healthy(self, upstream: Upstream, auth: UpstreamAuth, trip: Trip) -> Replica:
        """Of the replicas that work the one with least to do, in their order; one that was not tried if possible.

        One that is due for a check is checked beside the calls; only when no other is left do they wait for it.
        Raises the trip's failure, or else `broken_off`.
        """
        checks = [self._check(each, auth) for each in upstream.replicas if each.breaker.is_due or each.check]
        closed = [each for each in upstream.replicas if each.breaker.is_closed]
        if not closed and checks:
            await asyncio.wait(checks, return_when=asyncio.FIRST_COMPLETED)
            closed = [each for each in upstream.replicas if each.breaker.is_closed]
        if not closed:
            seconds = min(each.breaker.due_in_seconds for each in upstream.replicas)
            text = f"The upstream is out of order; it is checked again in {seconds:.0f} s."
            raise trip.failure or UpstreamFailure("broken_off", text, reached=False)
        return min(closed, key=lambda each: (each in trip.tried, each.running))

    # -- health checks

    def _check(self, replica: Replica, auth: UpstreamAuth) -> asyncio.Task[bool]:
        """One at a time for each replica, shared by all who wait for it."""
        if replica.check is None:
            replica.breaker.begin_check()
            replica.check = asyncio.create_task(self._passes(replica, auth), name=f"check of {replica.spec.name}")
            replica.check.add_done_callback(lambda done: _end_check(replica, done))
        return replica.check

    async def _passes(self, replica: Replica, auth: UpstreamAuth) -> bool:
        """Asks what it offers: harmless, and it takes all that a call takes."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._connector.discover(replica.spec, auth)
        except UpstreamFailure as failure:
            return failure.code not in BROKEN | UNTRIED
        except TimeoutError:
            return False
        except Exception:
            logger.exception("unforeseen failure in the check of %s", replica.spec.name)
            return False
        return True


def seconds_until(send_before_ns: int | None) -> float:
    """Without such a moment there is all the time."""
    if send_before_ns is None:
        return float("inf")
    return max(0.0, (send_before_ns - time.clock_gettime_ns(SEND_CLOCK)) / 1e9)


async def _enter(bulkhead: Bulkhead, question: Question, spec: UpstreamSpec) -> None:
    wait_seconds = min(seconds_until(question.send_before_ns), question.timeout_seconds or spec.timeout_seconds)
    try:
        await bulkhead.enter(wait_seconds=wait_seconds)
    except NoRoom:
        raise UpstreamFailure("crowded", "Too many requests wait for the upstream already.", reached=False) from None
    except NoTurn:
        raise UpstreamFailure(NOT_SENT_IN_TIME, "Nothing was sent: no turn came in time.", reached=False) from None


def _end_check(replica: Replica, done: "asyncio.Task[bool]") -> None:
    replica.check = None
    passed = not done.cancelled() and done.result()
    replica.breaker.end_check(passed=passed)
    if passed:
        replica.broken.clear()
        logger.info("%s works again", replica.spec.name)


def _stop_checks(upstream: Upstream) -> None:
    for replica in upstream.replicas:
        if replica.check is not None:
            replica.check.cancel()


async def _ends_before(work: "asyncio.Future[None]", event: asyncio.Event) -> bool:
    """Whether the work came to its end before the event happened, which cancels it. Raises what the work raises."""
    happening = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((work, happening), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
            return True
        return False
    finally:
        for each in (work, happening):
            each.cancel()
        await asyncio.gather(work, happening, return_exceptions=True)
