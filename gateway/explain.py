"""Why a call would be permitted or denied: the pipeline's own decision, told whole. No call is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.decision import AccessRequest, Decision, best, decide
from governance.snapshot import Agent, Bundle, Snapshot, Tool
from governance.snapshot_builder import build_snapshot


class NotExplainable(Exception):
    """The agent or tool does not exist at all; the message says which."""


@dataclass(frozen=True, slots=True)
class Path:
    """One bundle through which the agent reaches, or would reach, the tool."""

    bundle: str
    roles: tuple[str, ...]
    effect: str
    code: str
    rules: tuple[dict[str, Any], ...]


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

    def as_json(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "tool": self.tool,
            "at": self.at.isoformat(),
            "epoch": self.epoch,
            "decision": self.decision,
            "code": self.code,
            "reason": self.reason,
            "paths": [
                {
                    "bundle": p.bundle,
                    "roles": list(p.roles),
                    "effect": p.effect,
                    "code": p.code,
                    "rules": list(p.rules),
                }
                for p in self.paths
            ],
        }


WHY = {
    "agent_not_live": "the agent is not live, or its owner is not active",
    "tool_unknown": "no role of the agent gives a published bundle that holds this tool",
    "role_not_in_time": "the role that gives it is not in its time",
}


def explain(agent_name: str, tool_name: str, arguments: Mapping[str, Any], *, at: datetime) -> Explanation:
    """Raises NotExplainable."""
    snapshot = build_snapshot()
    agent = next((agent for agent in snapshot.agents.values() if agent.name == agent_name), None)
    if agent is None:
        raise NotExplainable(f"There is no agent '{agent_name}'.")
    tools = _named(tool_name, snapshot)
    if not tools:
        raise NotExplainable(f"There is no pinned, unquarantined tool '{tool_name}'.")
    found = [
        (bundle, tool, decide(_request(agent, bundle, tool, arguments), snapshot, at))
        for tool in tools
        for bundle in sorted(snapshot.bundles.values(), key=lambda bundle: bundle.name)
        if any(held is tool for held in bundle.tools.values())
    ]
    decision = best(decision for _, _, decision in found)
    return Explanation(
        agent=agent_name,
        tool=tool_name,
        at=at,
        epoch=snapshot.epoch,
        decision=decision.effect.value if decision else "deny",
        code=decision.code if decision else "tool_unknown",
        reason=_reason(decision),
        paths=tuple(_path(agent, bundle, decision, snapshot, at) for bundle, _, decision in found),
    )


def _named(name: str, snapshot: Snapshot) -> list[Tool]:
    return [
        tool
        for tool in snapshot.tools.values()
        if name in (tool.name, f"{tool.connector.name}/{tool.name}", f"{tool.connector.name}__{tool.name}")
        or any(bundle.tools.get(name) is tool for bundle in snapshot.bundles.values())
    ]


def _request(agent: Agent, bundle: Bundle, tool: Tool, arguments: Mapping[str, Any]) -> AccessRequest:
    return AccessRequest(agent_id=agent.id, credential_id="", tool_id=tool.id, bundle_id=bundle.id, arguments=arguments)


def _path(agent: Agent, bundle: Bundle, decision: Decision, snapshot: Snapshot, at: datetime) -> Path:
    roles = tuple(
        role.name for role in agent.roles if bundle.id in role.bundle_ids and role.is_in_time(at, snapshot.timezone)
    )
    rules = tuple(rule.as_json() for rule in decision.rules)
    return Path(f"{bundle.name} v{bundle.number}", roles, decision.effect.value, decision.code, rules)


def _reason(decision: Decision | None) -> str:
    if decision is None:
        return WHY["tool_unknown"]
    return decision.reason or WHY.get(decision.code, "the agent holds the tool and no rule objects")
