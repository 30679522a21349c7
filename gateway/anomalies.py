"""What is unusual for the agent in a call, as findings that rules can name: looks into what the snapshot holds.

Only where a rule names `anomaly`; while a baseline is being learned nothing is unusual.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from gateway import sent_to
from gateway.call import Call
from gateway.run_destinations import RunDestinations
from gateway.values import changed
from governance.inspection.findings import Finding, Findings, Severity
from governance.inspection.redaction import Found
from governance.snapshot_values import Baseline

ANOMALY: Final = "anomaly"
TIMES: Final = 10
"""So much more than in the busiest hour before is unusual."""
FEWEST: Final = 20
"""Calls in an hour that are never too many."""


class HourCounts:
    """Calls of agents in this hour, of those that a rule about anomalies concerns; of one process."""

    def __init__(self) -> None:
        self._hour = 0
        self._calls: dict[str, int] = {}

    def add(self, agent_id: str, now: datetime) -> None:
        hour = int(now.timestamp()) // 3600
        if hour != self._hour:
            self._hour, self._calls = hour, {}
        self._calls[agent_id] = self._calls.get(agent_id, 0) + 1

    def of(self, agent_id: str) -> int:
        return self._calls.get(agent_id, 0)


def with_anomalies(call: Call, counts: HourCounts, now: datetime) -> Call:
    agent = call.caller.agent.id
    baseline = call.caller.snapshot.baselines.get(agent)
    if baseline is None or now < baseline.learns_until:
        return call
    rules = list(_unusual(call, baseline, counts.of(agent), now))
    if not rules:
        return call
    findings = (Finding(rule, 1, ANOMALY, Severity.MEDIUM, 1.0, "", 0, 0, "raw") for rule in rules)
    told = (Found(rule, 1, ANOMALY, "", 1, ()) for rule in rules)
    found = replace(call.findings, found=(*call.findings.found, *findings))
    return changed(call, findings=found, found=(*call.found, *told))


def with_new_destinations(
    call: Call, ways: Findings, found: Findings, destinations: RunDestinations, now: datetime
) -> tuple[Call, Findings]:
    """And with those that the agent never sent anything to."""
    agent, snapshot = call.caller.agent.id, call.caller.snapshot
    named = sent_to.named(agent, ways, destinations, snapshot)
    call = changed(call, sends_to=frozenset(named))
    baseline = snapshot.baselines.get(agent)
    if baseline is None or not _knows_destinations(baseline, now):
        return call, found
    new = [way for digest, way in named.items() if digest not in baseline.destinations]
    findings = (
        replace(way, rule="new_destination", version=1, kind=ANOMALY, severity=Severity.MEDIUM, subject="")
        for way in new
    )
    return call, (replace(found, found=(*found.found, *findings)) if new else found)


def _knows_destinations(baseline: Baseline, now: datetime) -> bool:
    since = baseline.destinations_from
    is_known = since is not None and now >= since and now >= baseline.learns_until
    return is_known and sent_to.ANYWHERE not in baseline.destinations


def _unusual(call: Call, baseline: Baseline, calls: int, now: datetime) -> Iterator[str]:
    connector, tool = call.tool.connector.name, call.tool.name
    if connector not in baseline.connectors:
        yield "new_system"
    if f"{connector}/{tool}" not in baseline.tools:
        yield "new_tool"
    if baseline.hours and now.hour not in baseline.hours:
        yield "unusual_hour"
    if calls > max(FEWEST, TIMES * baseline.busiest_hour):
        yield "high_volume"
