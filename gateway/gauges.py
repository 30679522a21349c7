"""What a gateway process is and has at this moment, for /metrics."""

import os
import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from connectors.breaker import CLOSED
from connectors.resilience import UpstreamState
from gateway import evidence_gauges
from gateway.evidence_gauges import HealthReader
from gateway.exposition import Family, Sample, gauge
from gateway.http_gate import Gate
from gateway.mcp.endpoint import McpEndpoint
from gateway.metrics import METRICS
from gateway.runtime import GatewayRuntime

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
STARTED_AT: Final = time.time()


class Gauges:
    """Implements `metrics_page.Numbers`."""

    def __init__(self, runtime: GatewayRuntime, endpoint: McpEndpoint, gate: Gate, health: HealthReader) -> None:
        self._runtime = runtime
        self._health = health
        self._endpoint = endpoint
        self._gate = gate

    def of_process(self) -> list[Family]:
        states = self._runtime.ports.upstream_states()
        return [*METRICS.families(), *self._at_work(), *self._of_snapshot(), *_of_upstreams(states), *_of_process()]

    async def of_installation(self) -> list[Family]:
        counts = await self._runtime.ports.tasks.count_by_status()
        samples = (({"status": status}, count) for status, count in counts.items())
        tasks = gauge("gatehouse_tasks", "Tasks that are kept, of all processes.", *samples)
        return [tasks, *evidence_gauges.families(await self._health.read())]

    def _at_work(self) -> Iterable[Family]:
        ports, bulkhead = self._runtime.ports, self._gate.bulkhead
        yield gauge("gatehouse_requests_running", "HTTP requests at work.", ({}, bulkhead.running))
        yield gauge("gatehouse_requests_waiting", "HTTP requests that wait for their turn.", ({}, bulkhead.waiting))
        yield gauge("gatehouse_calls_in_flight", "Calls that are at their upstream.", ({}, len(ports.in_flight)))
        yield gauge("gatehouse_calls_open", "Calls with an intent and no outcome yet.", ({}, len(ports.open_intents)))
        text = "Calls that go on without the request they came with: tasks, and those whose client answers a question."
        yield gauge("gatehouse_calls_parked", text, ({}, ports.tasks.places_taken))
        yield gauge("gatehouse_streams_open", "Open streams for news.", ({}, self._endpoint.open_streams))
        text = "Records that wait to be committed."
        yield gauge("gatehouse_records_waiting", text, ({}, self._runtime.committer.waiting))

    def _of_snapshot(self) -> Iterable[Family]:
        keeper = self._runtime.ports.keeper
        yield gauge("gatehouse_snapshot_epoch", "The epoch that is applied.", ({}, keeper.current.epoch))
        text = "Since the database last confirmed that it is the newest."
        yield gauge("gatehouse_snapshot_age_seconds", text, ({}, keeper.unconfirmed_seconds))


def _of_upstreams(states: Iterable[UpstreamState]) -> Iterable[Family]:
    states = list(states)
    yield gauge(
        "gatehouse_upstream_running",
        "Requests at work at an upstream.",
        *(({"connector": state.name}, state.running) for state in states),
    )
    yield gauge(
        "gatehouse_upstream_waiting",
        "Requests that wait for their turn at an upstream.",
        *(({"connector": state.name}, state.waiting) for state in states),
    )
    yield gauge(
        "gatehouse_upstream_replicas_broken",
        "Replicas of an upstream to which no calls pass.",
        *(({"connector": state.name}, sum(each.status != CLOSED for each in state.replicas)) for state in states),
    )
    yield gauge(
        "gatehouse_upstream_replicas",
        "Replicas of an upstream.",
        *(({"connector": state.name}, len(state.replicas)) for state in states),
    )


def _of_process() -> Iterable[Family]:
    """By the names that every dashboard knows."""
    cpu = [Sample("", {}, time.process_time())]
    yield Family("process_cpu_seconds_total", "counter", "Processor time, user and system.", cpu)
    yield gauge("process_start_time_seconds", "Since 1970.", ({}, STARTED_AT))
    yield gauge("process_resident_memory_bytes", "Memory in use.", ({}, resident_bytes()))


def resident_bytes() -> int:
    """Where the system does not tell the present, the most there ever was."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
