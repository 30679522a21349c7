"""May this agent run this tool now? Pure: no database, no clock, no network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from governance.conditions import Verdict
from governance.snapshot import Agent, Bundle, Holding, Role, Rule, Snapshot, Tool
from governance.time_of_day import local_time, time_variables


class Effect(StrEnum):
    PERMIT = "permit"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """`arguments` is None while listing: then rules that look at arguments do not take part."""

    agent_id: str
    credential_id: str
    tool_id: str
    bundle_id: str
    arguments: Mapping[str, Any] | None
    session_id: str = ""
    source_ip: str = ""


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """A rule that matched: where it came from (e.g. `organization`, `bundle support v3`) and what it wants."""

    policy: str
    version: int
    position: int
    effect: str
    origin: str
    reason: str
    outcome: str

    def as_json(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "version": self.version,
            "rule": self.position,
            "effect": self.effect,
            "from": self.origin,
            "reason": self.reason,
            "condition": self.outcome,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """`read_set` names all that the decision rests on: a change of anything in it asks for a new decision."""

    effect: Effect
    code: str
    reason: str
    exists: bool
    epoch: int
    bundle: str = ""
    bundle_version: int = 0
    records_payload: bool = True
    rules: tuple[RuleTrace, ...] = ()
    valid_until: datetime | None = None
    read_set: frozenset[str] = frozenset()


def decide(request: AccessRequest, snapshot: Snapshot, now: datetime) -> Decision:
    """Default deny: only a live agent, holding the tool through a role in its time, reaches the rules."""
    agent = snapshot.agents.get(request.agent_id)
    tool = snapshot.tools.get(request.tool_id)
    bundle = snapshot.bundles.get(request.bundle_id)
    if agent is None or not agent.is_live:
        return _unknown(snapshot, "agent_not_live")
    holding = snapshot.holding(agent, bundle, tool) if bundle and tool else None
    if holding is None or bundle is None or tool is None:
        return _unknown(snapshot, "tool_unknown")
    roles = [role for role in holding.roles if role.is_in_time(now, snapshot.timezone)]
    if not roles:
        return _unknown(snapshot, "role_not_in_time")
    return _stopped(holding, snapshot, now) or _by_rules(request, snapshot, now, holding, roles)


def _unknown(snapshot: Snapshot, code: str) -> Decision:
    return Decision(Effect.DENY, code, "No such tool is in reach.", False, snapshot.epoch)


def _stopped(holding: Holding, snapshot: Snapshot, now: datetime) -> Decision | None:
    """The agent holds the tool, but nobody may use it now."""
    connector = holding.tool.connector
    freeze = snapshot.freeze_of(holding.agent, holding.tool, now)
    if freeze is not None:
        because = f": {freeze.reason}" if freeze.reason else ""
        return _stop("frozen", f"Frozen by an administrator{because}.", holding, snapshot)
    if not connector.is_enabled:
        return _stop("connector_disabled", "This system is switched off.", holding, snapshot)
    if connector.secret_missing:
        return _stop("secret_missing", "The gateway has no secret for this system yet.", holding, snapshot)
    return None


def _stop(code: str, reason: str, holding: Holding, snapshot: Snapshot) -> Decision:
    return Decision(
        Effect.DENY,
        code,
        reason,
        True,
        snapshot.epoch,
        bundle=holding.bundle.name,
        bundle_version=holding.bundle.number,
        records_payload=holding.bundle.records_payload,
    )


def _by_rules(
    request: AccessRequest, snapshot: Snapshot, now: datetime, holding: Holding, roles: list[Role]
) -> Decision:
    matched: list[tuple[Rule, RuleTrace]] = []
    variables: dict[str, Any] | None = None
    for rule in holding.rules:
        if rule.reads_content or (request.arguments is None and rule.reads_arguments):
            continue
        verdict = Verdict.TRUE
        if rule.condition is not None:
            variables = variables or _variables(request, holding, snapshot, now)
            verdict = rule.condition.evaluate(variables)
        if rule.takes_part(verdict):
            matched.append((rule, _trace(rule, verdict)))
    effect, code, reason, exists = _strongest(matched)
    bundle = holding.bundle
    return Decision(
        effect,
        code,
        reason,
        exists,
        snapshot.epoch,
        bundle=bundle.name,
        bundle_version=bundle.number,
        records_payload=bundle.records_payload,
        rules=tuple(trace for _, trace in matched),
        valid_until=_valid_until(request, snapshot, now, holding, roles),
        read_set=holding.read_set | {f"credential:{request.credential_id}"},
    )


def _strongest(matched: list[tuple[Rule, RuleTrace]]) -> tuple[Effect, str, str, bool]:
    """Deny beats ask beats permit. A tool that is always denied does not exist for the agent."""
    denies = [rule for rule, _ in matched if rule.effect == Effect.DENY]
    if denies:
        exists = all(rule.condition is not None for rule in denies)
        return Effect.DENY, "denied_by_rule", denies[0].reason or "A rule forbids this call.", exists
    for rule, _ in matched:
        if rule.effect == Effect.ASK:
            return Effect.ASK, "approval_required", rule.reason or "This call needs a human's approval.", True
    return Effect.PERMIT, "permitted", "", True


def _trace(rule: Rule, verdict: Verdict) -> RuleTrace:
    outcome = "always" if rule.condition is None else verdict.name.lower()
    return RuleTrace(rule.policy, rule.version, rule.position, rule.effect, rule.origin, rule.reason, outcome)


def _variables(request: AccessRequest, holding: Holding, snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    return {
        "agent": holding.agent.variables,
        "person": holding.agent.owner.variables,
        "tool": holding.tool.variables,
        "args": request.arguments or {},
        "session": {"id": request.session_id, "labels": []},
        "time": time_variables(local_time(now, snapshot.timezone)),
        "network": {"source_ip": request.source_ip},
        "findings": [],
    }


def _valid_until(
    request: AccessRequest, snapshot: Snapshot, now: datetime, holding: Holding, roles: list[Role]
) -> datetime | None:
    """When the clock alone could make this decision wrong: the key or the last role in time ends, a rule reads time."""
    ends = [role.ends_in_time(now, snapshot.timezone) for role in roles]
    limits = [max((end for end in ends if end is not None), default=None)] if None not in ends else []
    limits.append(snapshot.credential_ends.get(request.credential_id))
    if any(rule.reads_time for rule in holding.rules):
        limits.append(now + timedelta(seconds=1))
    return min((limit for limit in limits if limit is not None), default=None)


def best(decisions: Iterable[Decision]) -> Decision | None:
    """Of a tool held through several bundles: the first that permits, else asks, else exists, else any."""
    rank = {Effect.PERMIT: 0, Effect.ASK: 1, Effect.DENY: 2}
    return min(decisions, key=lambda decision: (rank[decision.effect], not decision.exists), default=None)


__all__ = ("AccessRequest", "Agent", "Bundle", "Decision", "Effect", "RuleTrace", "Tool", "best", "decide")
