"""What an agent reaches and why, line by line. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from glob import escape
from itertools import islice

from gateway.explain import when
from gateway.reach.verdicts import Verdict, reach_of_tools, verdict_of
from governance.decision import AccessRequest, decide
from governance.snapshot import Agent, Bundle, Role, Rule, Selection, Snapshot, Tool, patterns_of

STOPS = {
    "agent_not_live": "the agent or its owner is not live",
    "role_not_in_time": "not at this hour",
    "frozen": "frozen",
    "connector_disabled": "the system is switched off",
    "secret_missing": "the system's secret has no value",
    "denied_by_rule": "a rule says no",
}


Held = tuple[Bundle, str, Tool]
"""A tool in a bundle, and the name it has there; or a pattern of resources or prompts, which stands for all of them."""


@dataclass(frozen=True, slots=True)
class Through:
    """A role that brings the bundle, with its times."""

    role: str
    role_id: str
    times: str


@dataclass(frozen=True, slots=True)
class Line:
    """One tool, or pattern of resources or prompts, through one bundle. `now` says why it cannot be called at this
    moment, empty if it can."""

    tool: Tool
    bundle: Bundle
    exposed_name: str
    through: tuple[Through, ...]
    verdict: Verdict
    rules: tuple[Rule, ...]
    now: str

    @property
    def full_name(self) -> str:
        return f"{self.tool.connector.name}/{self.tool.name}"

    @property
    def is_pattern(self) -> bool:
        return self.tool.kind != "tool"

    @property
    def risk(self) -> str:
        return str(self.tool.variables["risk"])

    @property
    def writes(self) -> bool:
        return not self.tool.variables["read_only"]


def bundles_of(agent: Agent, snapshot: Snapshot) -> list[Bundle]:
    """That roles of the agent give at any time, by name."""
    held = {bundle_id for role in agent.roles for bundle_id in role.bundle_ids}
    return sorted((snapshot.bundles[i] for i in held if i in snapshot.bundles), key=lambda bundle: bundle.name)


def count_lines(agent: Agent, snapshot: Snapshot) -> int:
    return sum(1 for _ in held_by(agent, snapshot))


def lines(agent: Agent, snapshot: Snapshot, *, at: datetime, start: int = 0, count: int = 50) -> list[Line]:
    """Some of all lines, ordered by bundle and tool; bounded work however many tools there are."""
    return explained(list(islice(held_by(agent, snapshot), start, start + count)), agent, snapshot, at=at)


def explained(held: Sequence[Held], agent: Agent, snapshot: Snapshot, *, at: datetime) -> list[Line]:
    """A line for each of these."""
    holds = reach_of_tools([tool for _, _, tool in held], snapshot, at=at).of(agent)
    literal = _literal(held, snapshot)
    return [
        Line(
            tool=tool,
            bundle=bundle,
            exposed_name=name,
            through=tuple(_through(role) for role in agent.roles if bundle.id in role.bundle_ids),
            verdict=verdict_of(agent, tool, holds, snapshot),
            rules=_rules(agent, bundle, tool, snapshot),
            now=_stop_now(agent, bundle, tool, literal, at),
        )
        for bundle, name, tool in held
    ]


def _literal(held: Sequence[Held], snapshot: Snapshot) -> Snapshot:
    """Where a pattern can be decided on like one resource or prompt: with its exceptions it may match no pattern."""
    bundles = dict(snapshot.bundles)
    for bundle, _, tool in held:
        if tool.kind != "tool":
            itself = Selection(tool.kind, tool.connector, (escape(tool.upstream_name),), ())
            bundles[bundle.id] = replace(bundles[bundle.id], selections=(*bundles[bundle.id].selections, itself))
    return replace(snapshot, bundles=bundles)


def held_by(agent: Agent, snapshot: Snapshot) -> Iterator[Held]:
    """By the names of bundle and tool."""
    for bundle in bundles_of(agent, snapshot):
        patterns = ((f"{each.connector.name}/{each.name}", each) for each in patterns_of(bundle))
        for name, tool in sorted([*bundle.tools.items(), *patterns], key=lambda held: held[0]):
            yield bundle, name, tool


def _through(role: Role) -> Through:
    return Through(role.name, role.id, when(role))


def _rules(agent: Agent, bundle: Bundle, tool: Tool, snapshot: Snapshot) -> tuple[Rule, ...]:
    holding = snapshot.holding(agent, bundle, tool)
    return holding.rules if holding else ()


def _stop_now(agent: Agent, bundle: Bundle, tool: Tool, snapshot: Snapshot, at: datetime) -> str:
    request = AccessRequest(
        agent_id=agent.id,
        credential_id="",
        tool_id=tool.id,
        bundle_id=bundle.id,
        arguments=None,
        target=tool if tool.kind != "tool" else None,
    )
    return STOPS.get(decide(request, snapshot, at).code, "")
