"""Why a call would be permitted or denied, and what would change it: the pipeline's own decision, told whole.

No call is made.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.conditions import Condition
from governance.decision import AccessRequest, Decision, best, decide
from governance.models import Role as RoleRow
from governance.models import Tool as ToolRow
from governance.snapshot import Agent, Bundle, Freeze, Role, Rule, Snapshot, Tool
from governance.snapshot_builder import build_snapshot


class NotExplainable(Exception):
    """The agent or tool does not exist at all; the message says which."""


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule that can bind the tool. `outcome` says what became of it: see OUTCOMES."""

    policy: str
    version: int
    position: int
    effect: str
    origin: str
    condition: str
    reason: str
    outcome: str

    def as_json(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "version": self.version,
            "rule": self.position,
            "effect": self.effect,
            "from": self.origin,
            "when": self.condition,
            "reason": self.reason,
            "outcome": self.outcome,
        }


OUTCOMES = {
    "always": "applies to every such call",
    "true": "its condition holds",
    "undecided": "its condition cannot be worked out, so it counts at its strictest",
    "false": "its condition does not hold",
    "needs_arguments": "looks at the arguments, which are not given here",
    "not_asked": "not asked, because the call fails before the rules",
    "later": "looks at what the call carries, so it takes part while the call runs",
}


@dataclass(frozen=True, slots=True)
class Path:
    """One bundle that holds the tool, and how far the agent gets through it. `rules` are those that matched."""

    bundle: str
    connector: str
    roles: tuple[str, ...]
    effect: str
    code: str
    reason: str
    rules: tuple[dict[str, Any], ...]
    considered: tuple[Considered, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "bundle": self.bundle,
            "connector": self.connector,
            "roles": list(self.roles),
            "effect": self.effect,
            "code": self.code,
            "rules": list(self.rules),
            "considered": [rule.as_json() for rule in self.considered],
        }


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would change a "no". It names rows that only those with the permission `needs` may know of."""

    text: str
    needs: str

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "needs": self.needs}


@dataclass(frozen=True, slots=True)
class Explanation:
    agent: str
    tool: str
    at: datetime
    epoch: int
    decision: str
    code: str
    reason: str
    paths: tuple[Path, ...]
    remedies: tuple[Remedy, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "tool": self.tool,
            "at": self.at.isoformat(),
            "epoch": self.epoch,
            "decision": self.decision,
            "code": self.code,
            "reason": self.reason,
            "paths": [path.as_json() for path in self.paths],
            "remedies": [remedy.as_json() for remedy in self.remedies],
        }


BY_RULES = ("permitted", "approval_required", "denied_by_rule")
MOST_REMEDIES = 10
WHY = {
    "agent_not_live": "the agent is not live, or its owner is not active",
    "tool_unknown": "no role of the agent gives a published bundle that holds this tool",
    "role_not_in_time": "the role that gives it is not in its time",
}


def explain(agent_name: str, tool_name: str, arguments: Mapping[str, Any] | None, *, at: datetime) -> Explanation:
    """As everything is now. `arguments` is None where they are not known. Raises NotExplainable."""
    return explain_in(build_snapshot(), agent_name, tool_name, arguments, at=at)


def explain_in(
    snapshot: Snapshot, agent_name: str, tool_name: str, arguments: Mapping[str, Any] | None, *, at: datetime
) -> Explanation:
    """Raises NotExplainable."""
    agent = next((agent for agent in snapshot.agents.values() if agent.name == agent_name), None)
    if agent is None:
        raise NotExplainable(f"There is no agent '{agent_name}'.")
    tools = _named(tool_name, snapshot)
    if not tools:
        raise NotExplainable(_why_no_tool(tool_name))
    question = _Question(snapshot, agent, arguments, at)
    found = [
        question.path(bundle, tool)
        for tool in tools
        for bundle in sorted(snapshot.bundles.values(), key=lambda bundle: bundle.name)
        if bundle.holds(tool)
    ]
    decision = best(decision for decision, _ in found)
    code = decision.code if decision else "tool_unknown"
    is_denied = decision is None or decision.effect == "deny"
    return Explanation(
        agent=agent_name,
        tool=tool_name,
        at=at,
        epoch=snapshot.epoch,
        decision=decision.effect.value if decision else "deny",
        code=code,
        reason=_reason(decision),
        paths=tuple(path for _, path in found),
        remedies=tuple(question.remedies(tools, code)) if is_denied else (),
    )


def _named(name: str, snapshot: Snapshot) -> list[Tool]:
    """A tool's name, `resource:<uri>` or `prompt:<name>`; the latter two of every system that is not named before
    them, as nobody has a list."""
    if wanted := TARGET.fullmatch(name):
        connectors = [each for each in snapshot.connectors.values() if wanted[1] in (None, each.name)]
        targets = (snapshot.target(connector, wanted[2], wanted[3]) for connector in connectors)
        return [target for target in targets if target is not None]
    exposed = {bundle.tools[name].id for bundle in snapshot.bundles.values() if name in bundle.tools}
    return [
        tool
        for tool in snapshot.tools.values()
        if tool.id in exposed
        or name in (tool.name, f"{tool.connector.name}/{tool.name}", f"{tool.connector.name}__{tool.name}")
    ]


def _why_no_tool(name: str) -> str:
    """A tool that is known but not served has its reason in its own row."""
    if TARGET.fullmatch(name):
        return f"'{name}' is no name that could be used."
    connector, _, tool = name.replace("__", "/", 1).rpartition("/")
    rows = ToolRow.objects.filter(name=tool, **({"connector__name": connector} if connector else {}))
    row = rows.select_related("connector").first()
    if row is None:
        return f"There is no tool '{name}'."
    if row.quarantined_at:
        return f"The tool '{name}' is in quarantine: {row.quarantine_reason or 'no reason was given'}."
    return f"The tool '{name}' has no pinned definition yet: it waits for review."


@dataclass(frozen=True, slots=True)
class _Question:
    snapshot: Snapshot
    agent: Agent
    arguments: Mapping[str, Any] | None
    at: datetime

    def path(self, bundle: Bundle, tool: Tool) -> tuple[Decision, Path]:
        agent, snapshot = self.agent, self.snapshot
        request = AccessRequest(
            agent_id=agent.id,
            credential_id="",
            tool_id=tool.id,
            bundle_id=bundle.id,
            arguments={"uri": tool.upstream_name} if tool.kind == "resource" else self.arguments,
            target=tool if tool.kind != "tool" else None,
        )
        decision = decide(request, snapshot, self.at)
        holding = snapshot.holding(agent, bundle, tool)
        rules = holding.rules if holding else ()
        return decision, Path(
            bundle=f"{bundle.name} v{bundle.number}",
            connector=tool.connector.name,
            roles=tuple(role.name for role in self._roles(bundle) if role.is_in_time(self.at, snapshot.timezone)),
            effect=decision.effect.value,
            code=decision.code,
            reason=_reason(decision),
            rules=tuple(rule.as_json() for rule in decision.rules),
            considered=considered(rules, decision, knows_arguments=self.arguments is not None),
        )

    def _roles(self, bundle: Bundle) -> Iterator[Role]:
        return (role for role in self.agent.roles if bundle.id in role.bundle_ids)

    def remedies(self, tools: list[Tool], code: str) -> Iterator[Remedy]:
        holders = [b for b in self.snapshot.bundles.values() if any(b.holds(tool) for tool in tools)]
        if code == "agent_not_live":
            yield from _revived(self.agent)
        elif code == "tool_unknown":
            yield from _missing_roles(holders) if holders else (NO_BUNDLE,)
        elif code == "role_not_in_time":
            roles = {role.id: role for bundle in holders for role in self._roles(bundle)}
            yield from (Remedy(f"Role {r.name} gives it {when(r)}.", "governance.view_role") for r in roles.values())
        elif code == "frozen":
            yield from (_thawed(freeze) for freeze in self._freezes(tools))
        elif code in SIMPLE_REMEDIES:
            yield SIMPLE_REMEDIES[code]

    def _freezes(self, tools: list[Tool]) -> list[Freeze]:
        found = (self.snapshot.freeze_of(self.agent, tool, self.at) for tool in tools)
        return list({id(freeze): freeze for freeze in found if freeze is not None}.values())


def considered(rules: tuple[Rule, ...], decision: Decision, *, knows_arguments: bool) -> tuple[Considered, ...]:
    """All rules that can bind the tool, each with what became of it in the decision."""
    matched = {(rule.origin, rule.policy, rule.position): rule.outcome for rule in decision.rules}

    def outcome(rule: Rule) -> str:
        if decision.code not in BY_RULES:
            return "not_asked"
        if rule.reads_content:
            return "later"
        if rule.reads_arguments and not knows_arguments:
            return "needs_arguments"
        return matched.get((rule.origin, rule.policy, rule.position), "false")

    return tuple(
        Considered(
            policy=rule.policy,
            version=rule.version,
            position=rule.position,
            effect=rule.effect,
            origin=rule.origin,
            condition=rule.condition.source if isinstance(rule.condition, Condition) else "",
            reason=rule.reason,
            outcome=outcome(rule),
        )
        for rule in rules
    )


def _reason(decision: Decision | None) -> str:
    if decision is None:
        return WHY["tool_unknown"]
    if decision.code in WHY:
        return WHY[decision.code]
    return decision.reason or "the agent holds the tool and no rule objects"


TARGET = re.compile(r"(?:([a-z0-9][a-z0-9-]*)/)?(resource|prompt):(.*)", re.DOTALL)
"""A resource or prompt, perhaps behind its connector's name."""
NO_BUNDLE = Remedy("No published bundle holds this tool. Add it to one and publish.", "governance.view_bundle")
SIMPLE_REMEDIES = {
    "connector_disabled": Remedy("The connector is switched off. Enable it.", "governance.view_connector"),
    "secret_missing": Remedy("The connector's secret has no value. Enter one.", "governance.view_connector"),
    "denied_by_rule": Remedy("Change the rule that says no, or the arguments it looks at.", "governance.view_policy"),
}


def _revived(agent: Agent) -> Iterator[Remedy]:
    if agent.status == "retired":
        yield Remedy("It is retired for good. Make another agent.", "governance.view_agent")
    elif agent.status != "live":
        yield Remedy("It is suspended. Resume it.", "governance.view_agent")
    if not agent.owner.is_active:
        yield Remedy(f"Its owner {agent.owner.email} is not active. Transfer it.", "governance.view_agent")


def _missing_roles(holders: list[Bundle]) -> Iterator[Remedy]:
    rows = RoleRow.objects.filter(bundles__name__in=[bundle.name for bundle in holders]).order_by("name")
    found = list(rows.values_list("bundles__name", "name"))
    for bundle in sorted(holders, key=lambda bundle: bundle.name)[:MOST_REMEDIES]:
        names = [role for holder, role in found if holder == bundle.name][:MOST_REMEDIES]
        text = f"Give the agent a role that brings the bundle {bundle.name}: {', '.join(names)}."
        without = f"The bundle {bundle.name} holds it, but no role gives that bundle. Make one."
        yield Remedy(text if names else without, "governance.view_role")


def when(role: Role) -> str:
    """The times of a role in words."""
    schedule = role.schedule
    days = ", ".join(schedule.get("days") or ["every day"])
    parts = [
        f"from {role.starts_at:%Y-%m-%d %H:%M} UTC" if role.starts_at else "",
        f"until {role.ends_at:%Y-%m-%d %H:%M} UTC" if role.ends_at else "",
        f"{days} {schedule['from']}–{schedule['to']}" if schedule else "",
    ]
    return ", ".join(part for part in parts if part) or "at all times"


def _thawed(freeze: Freeze) -> Remedy:
    targets = (("the agent", freeze.agent_id), ("the connector", freeze.connector_id), ("the tool", freeze.tool_id))
    target = next((kind for kind, frozen_id in targets if frozen_id is not None), "everything")
    ends = f"ends at {freeze.ends_at:%Y-%m-%d %H:%M} UTC" if freeze.ends_at else "stays until it is lifted"
    return Remedy(f"Wait, or lift the freeze of {target}: it {ends}.", "governance.view_freeze")
