"""What an agent reaches and why, line by line. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape
from itertools import islice

from gateway.explain import when
from gateway.reach.details import Detail, decided, detail_through, stop_of
from gateway.reach.verdicts import Verdict, View, reach_of_tools, verdict_of
from governance.snapshot import Agent, Bundle, Edition, Role, Rule, Selection, Snapshot, Tool, patterns_of

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
    detail: Detail
    is_staged: bool
    """In a version of the bundle that only some agents have."""

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
    """That roles and grants of the agent give at any time, in the version that counts for it, by name."""
    held = {bundle_id for role in snapshot.roles_of(agent) for bundle_id in role.bundle_ids}
    found = (snapshot.bundle_for(agent, bundle_id) for bundle_id in held)
    return sorted((bundle for bundle in found if bundle is not None), key=lambda bundle: bundle.name)


def count_lines(agent: Agent, snapshot: Snapshot) -> int:
    return sum(1 for _ in held_by(agent, snapshot))


def lines(agent: Agent, view: View, *, start: int = 0, count: int = 50) -> list[Line]:
    """Some of all lines, ordered by bundle and tool; bounded work however many tools there are."""
    return explained(list(islice(held_by(agent, view.snapshot), start, start + count)), agent, view)


def explained(held: Sequence[Held], agent: Agent, view: View) -> list[Line]:
    """A line for each of these."""
    holds = reach_of_tools([tool for _, _, tool in held], view).of(view.seen.agents.get(agent.id))
    literal = View(_literal(held, view.snapshot), view.at, view.is_exact)
    return [_line(each, agent, verdict_of(agent, each[2], holds, view.snapshot), view, literal) for each in held]


def _line(held: Held, agent: Agent, verdict: Verdict, view: View, literal: View) -> Line:
    bundle, name, tool = held
    roles = view.snapshot.roles_of(agent)
    return Line(
        tool=tool,
        bundle=bundle,
        exposed_name=name,
        through=tuple(_through(role) for role in roles if role.gives(bundle.id, tool.id)),
        verdict=verdict,
        rules=_rules(agent, bundle, tool, view.snapshot),
        now=stop_of(decided(agent, bundle, tool, literal)),
        detail=detail_through(agent, bundle, tool, verdict, literal),
        is_staged=bundle is not view.snapshot.bundles.get(bundle.id),
    )


def _literal(held: Sequence[Held], snapshot: Snapshot) -> Snapshot:
    """Where a pattern can be decided on like one resource or prompt: with its exceptions it may match no pattern."""
    bundles, staged = dict(snapshot.bundles), dict(snapshot.staged)
    for bundle, _, tool in held:
        if tool.kind != "tool":
            itself = Selection(tool.kind, tool.connector, (escape(tool.upstream_name),), ())
            versions = bundles if bundle is snapshot.bundles.get(bundle.id) else staged
            before = versions[bundle.id]
            versions[bundle.id] = replace(before, selections=(*before.selections, itself))
    return replace(snapshot, bundles=bundles, staged=staged)


def held_by(agent: Agent, snapshot: Snapshot) -> Iterator[Held]:
    """By the names of bundle and tool."""
    roles = snapshot.roles_of(agent)
    for bundle in bundles_of(agent, snapshot):
        patterns = ((f"{each.connector.name}/{each.name}", each) for each in patterns_of(bundle))
        for name, tool in sorted([*bundle.tools.items(), *patterns], key=lambda held: held[0]):
            if any(role.gives(bundle.id, tool.id) for role in roles):
                yield bundle, name, tool


def _through(role: Role) -> Through:
    return Through(role.name, role.id, when(role))


def _rules(agent: Agent, bundle: Bundle, tool: Tool, snapshot: Snapshot) -> tuple[Rule, ...]:
    holding = snapshot.holding(agent, bundle, tool)
    return holding.rules if holding else ()


@dataclass(frozen=True, slots=True)
class Given:
    """A tool that a bundle gives, and the pattern that gives it; or one that a pattern withholds."""

    tool: Tool
    pattern: str
    origin: str
    is_withheld: bool


def given_by(bundle: Bundle, snapshot: Snapshot) -> list[Given]:
    """Tools of the bundle and what it and its ancestors withhold, each with the version that says so."""
    found = []
    for edition in _lineage(bundle, snapshot):
        origin = f"bundle {edition.name} v{edition.number}"
        for pick in (pick for pick in edition.picks if pick.kind == "tool"):
            for tool in (tool for tool in snapshot.tools.values() if tool.connector.id == pick.connector_id):
                denied, allowed = _first(pick.deny, tool.name), _first(pick.allow, tool.name)
                if denied:
                    found.append(Given(tool, denied, origin, True))
                elif allowed and tool.id in bundle.tool_ids and edition.bundle_id == bundle.id:
                    found.append(Given(tool, allowed, origin, False))
    return sorted(found, key=lambda each: (each.is_withheld, each.tool.connector.name, each.tool.name, each.origin))


def _first(globs: Sequence[str], name: str) -> str:
    return next((glob for glob in globs if fnmatchcase(name, glob)), "")


def _lineage(bundle: Bundle, snapshot: Snapshot) -> list[Edition]:
    """The bundle's own version last."""
    ids = {entry.removeprefix("bundle:") for entry in bundle.ancestry if entry.startswith("bundle:")}
    editions = [snapshot.editions[i] for i in ids if i in snapshot.editions]
    return sorted(editions, key=lambda edition: (edition.bundle_id == bundle.id, edition.name))


def rules_on(bundle: Bundle, snapshot: Snapshot) -> list[Rule]:
    """All that bind calls through the bundle, each with its origin: the organisation's first, then those of teams,
    which bind only calls for their people, then those of ancestors and the bundle's own."""
    of_all = [rule for rule in bundle.rules if rule.origin == "organization"]
    of_teams = [rule for team in sorted(snapshot.team_rules) for rule in snapshot.team_rules[team]]
    inherited = [rule for rule in bundle.rules if rule.origin != "organization"]
    return [*of_all, *sorted(of_teams, key=lambda rule: (rule.origin, rule.key)), *inherited]


def rules_of_policy(policy_id: str, snapshot: Snapshot) -> list[Rule]:
    """Wherever it binds, with that as the origin; once without one when it binds nowhere."""
    places = [*snapshot.team_rules.values(), *(bundle.rules for bundle in snapshot.bundles.values())]
    found = {(rule.origin, rule.position): rule for rules in places for rule in rules if rule.policy_id == policy_id}
    return [found[key] for key in sorted(found)] or list(snapshot.rules.get(policy_id, ()))
