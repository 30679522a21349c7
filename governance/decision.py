"""May this agent run this tool now? Pure: no database, no clock, no network."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from governance.conditions import Verdict
from governance.snapshot import Agent, Bundle, Holding, Role, Rule, Snapshot, Tool
from governance.time_of_day import local_time, time_variables


class Effect(StrEnum):
    PERMIT = "permit"
    ASK = "ask"
    DENY = "deny"


RANK = {Effect.PERMIT: 0, Effect.ASK: 1, Effect.DENY: 2}


class AccessRequest(NamedTuple):
    """`arguments` is None while listing: then rules that look at arguments do not take part.

    `target` is the resource or prompt that is asked for, made by the same snapshot; of a tool the id is enough.
    """

    agent_id: str
    credential_id: str
    tool_id: str
    bundle_id: str
    arguments: Mapping[str, Any] | None
    session_id: str = ""
    source_ip: str = ""
    target: Tool | None = None


class RuleTrace(NamedTuple):
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


class Decision(NamedTuple):
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
    tool = request.target or snapshot.tools.get(request.tool_id)
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
        read_set=snapshot.read_set(holding, request.credential_id),
    )


def _strongest(matched: list[tuple[Rule, RuleTrace]]) -> tuple[Effect, str, str, bool]:
    """Deny beats ask beats permit. A tool that is always denied does not exist for the agent."""
    if not matched:
        return Effect.PERMIT, "permitted", "", True
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
    variables = {
        "agent": holding.agent.variables,
        "person": holding.agent.owner.variables,
        "tool": holding.tool.variables,
        "args": request.arguments or {},
        "session": {"id": request.session_id, "labels": []},
        "network": {"source_ip": request.source_ip},
        "findings": [],
    }
    if holding.reads_time:
        variables["time"] = time_variables(local_time(now, snapshot.timezone))
    return variables


def _valid_until(
    request: AccessRequest, snapshot: Snapshot, now: datetime, holding: Holding, roles: list[Role]
) -> datetime | None:
    """When the clock alone could make this decision wrong: the key or the last role in time ends, a rule reads time."""
    limits = [snapshot.credential_ends.get(request.credential_id), _last_end(roles, snapshot, now)]
    if holding.reads_time:
        limits.append(now + timedelta(seconds=1))
    return min([limit for limit in limits if limit is not None], default=None)


def _last_end(roles: list[Role], snapshot: Snapshot, now: datetime) -> datetime | None:
    """When the last of these roles, all in their time, ends; None if one never does."""
    ends = []
    for role in roles:
        if (end := role.ends_in_time(now, snapshot.timezone)) is None:
            return None
        ends.append(end)
    return max(ends)


def best(decisions: Iterable[Decision]) -> Decision | None:
    """Of a tool held through several bundles: the first that permits, else asks, else exists, else any."""
    return min(decisions, key=_rank, default=None)


def _rank(decision: Decision) -> tuple[int, bool]:
    return RANK[decision.effect], not decision.exists


__all__ = ("AccessRequest", "Agent", "Bundle", "Decision", "Effect", "RuleTrace", "Tool", "best", "decide")
