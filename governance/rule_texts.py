"""Rules as they are written, and the world they are held against: by name, before anything is compiled. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from governance.snapshot_values import WILD, matcher
from governance.time_of_day import Calendar


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule as it is written."""

    effect: str
    tools: tuple[str, ...] = ("*",)
    connectors: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    access: str = ""
    on: str = "arguments"
    when: str = ""
    findings: tuple[str, ...] = ()
    on_failure: str = "closed"
    fields: tuple[str, ...] = ()
    reversible: bool = False
    keep_last: int = 0
    approvers: Mapping[str, Any] = field(default_factory=dict, hash=False)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """A data scope of a role."""

    tools: tuple[str, ...]
    when: str


@dataclass(frozen=True, slots=True)
class ToolText:
    """A tool as its pinned definition and the administrator describe it."""

    connector: str
    name: str
    schema: Mapping[str, Any] = field(repr=False, hash=False)
    risk: str = "medium"
    data_classes: frozenset[str] = frozenset()
    is_read_only: bool = False
    is_untrusted: bool = False
    is_egress: bool = False
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Tools of one connector, by glob."""

    connector: str
    allow: tuple[str, ...]
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleText:
    name: str
    inherits: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    tools: tuple[Selection, ...] = ()


@dataclass(frozen=True, slots=True)
class TeamText:
    parent: str = ""
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule in force, where it stands."""

    policy: str
    position: int
    rule: RuleText

    @property
    def name(self) -> str:
        return f"rule {self.position} of policy {self.policy} ({self.rule.effect})"


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a policy binds: its tools by `connector/tool`, and connectors not known yet."""

    tools: Mapping[str, ToolText]
    unknown: tuple[str, ...]
    is_wide: bool
    """Inherited, or bound to a team or the organisation: made for tools that may come, so it is only warned of."""


@dataclass(frozen=True)
class World:
    """All that is in force, by name. A connector whose tools are not known yet is not in `tools`."""

    policies: Mapping[str, Sequence[RuleText]]
    bundles: Mapping[str, BundleText]
    teams: Mapping[str, TeamText]
    organization: frozenset[str]
    """Its policies."""
    tools: Mapping[str, Mapping[str, ToolText]]
    calendar: Calendar = field(default_factory=Calendar)
    own_findings: frozenset[str] | None = None
    """What rules may name beside what everybody has; None where that is looked at elsewhere."""
    sides: Mapping[str, str] = field(default_factory=dict)
    """The only side on which some of those are looked for."""

    def with_policy(self, name: str, rules: Sequence[RuleText]) -> "World":
        return replace(self, policies={**self.policies, name: tuple(rules)})

    def with_bundle(self, bundle: BundleText) -> "World":
        return replace(self, bundles={**self.bundles, bundle.name: bundle})

    @cached_property
    def heirs(self) -> Mapping[str, frozenset[str]]:
        """Bundle -> all that inherit from it."""
        return _below({name: bundle.inherits for name, bundle in self.bundles.items()})

    @cached_property
    def subteams(self) -> Mapping[str, frozenset[str]]:
        return _below({name: (team.parent,) for name, team in self.teams.items() if team.parent})

    @cached_property
    def users(self) -> Mapping[str, tuple[frozenset[str], frozenset[str]]]:
        """Policy -> the bundles and the teams that name it."""
        bundles: dict[str, set[str]] = defaultdict(set)
        teams: dict[str, set[str]] = defaultdict(set)
        for name, bundle in self.bundles.items():
            for policy in bundle.policies:
                bundles[policy].add(name)
        for name, team in self.teams.items():
            for policy in team.policies:
                teams[policy].add(name)
        return {name: (frozenset(bundles[name]), frozenset(teams[name])) for name in {*bundles, *teams}}

    def users_of(self, policy: str) -> tuple[frozenset[str], frozenset[str]]:
        return self.users.get(policy, (frozenset(), frozenset()))

    def selected(self, selection: Selection) -> Mapping[str, ToolText]:
        """`connector/tool` -> the tool. Bundles often select alike."""
        if selection not in self._selected:
            self._selected[selection] = dict(_given(selection, self.tools))
        return self._selected[selection]

    @cached_property
    def _selected(self) -> dict[Selection, Mapping[str, ToolText]]:
        return {}

    @cached_property
    def rules_by_glob(self) -> Mapping[str, Sequence[Placed]]:
        """Tool glob -> the rules that name tools by it."""
        found: dict[str, list[Placed]] = defaultdict(list)
        for policy, rules in self.policies.items():
            for position, rule in enumerate(rules, start=1):
                for glob in rule.tools:
                    found[glob].append(Placed(policy, position, rule))
        return found

    @cached_property
    def wild_globs(self) -> tuple[str, ...]:
        """Of those, the ones that may match several names."""
        return tuple(glob for glob in self.rules_by_glob if WILD.search(glob))


def reach_of(policy: str, world: World) -> Reach:
    names, teams = world.users_of(policy)
    heirs = frozenset().union(*(world.heirs[name] for name in names)) - names
    is_general = policy in world.organization or bool(teams)
    reached = [world.bundles[name] for name in (world.bundles if is_general else sorted(names | heirs))]
    is_wide = is_general or bool(heirs) or not any(world.bundles[name].tools for name in names)
    return Reach(_merged(reached, world), _unknown(reached, world), is_wide)


def reach_of_bundles(names: Iterable[str], world: World) -> Reach:
    """Of all that these bundles give."""
    bundles = [world.bundles[name] for name in names if name in world.bundles]
    return Reach(_merged(bundles, world), _unknown(bundles, world), False)


def _merged(bundles: Iterable[BundleText], world: World) -> dict[str, ToolText]:
    selections = dict.fromkeys(selection for bundle in bundles for selection in bundle.tools)
    return {full: tool for selection in selections for full, tool in world.selected(selection).items()}


def _unknown(bundles: Iterable[BundleText], world: World) -> tuple[str, ...]:
    connectors = {selection.connector for bundle in bundles for selection in bundle.tools}
    return tuple(sorted(connectors - world.tools.keys()))


def _given(selection: Selection, tools: Mapping[str, Mapping[str, ToolText]]) -> Iterator[tuple[str, ToolText]]:
    for name, tool in tools.get(selection.connector, {}).items():
        if is_named(name, selection.allow) and not is_named(name, selection.deny):
            yield f"{selection.connector}/{name}", tool


def _below(parents: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Each name -> all that descend from it; circles do no harm."""
    children: dict[str, list[str]] = defaultdict(list)
    for name, above in parents.items():
        for parent in above:
            children[parent].append(name)
    return defaultdict(frozenset, {name: _descendants(name, children) for name in list(children)})


def _descendants(name: str, children: Mapping[str, list[str]]) -> frozenset[str]:
    found: set[str] = set()
    pending = list(children[name])
    while pending:
        child = pending.pop()
        if child not in found:
            found.add(child)
            pending += children.get(child, ())
    return frozenset(found)


def selects(rule: RuleText, tool: ToolText) -> bool:
    """As `governance.snapshot.Rule.matches` does."""
    return (
        is_called(tool, rule.tools)
        and (not rule.connectors or is_named(tool.connector, rule.connectors))
        and (not rule.data_classes or not tool.data_classes.isdisjoint(rule.data_classes))
        and (not rule.risks or tool.risk in rule.risks)
        and (not rule.access or (rule.access == "read") is tool.is_read_only)
    )


def is_called(tool: ToolText, globs: Iterable[str]) -> bool:
    """As `governance.snapshot.matches_any` reads globs."""
    spellings = (tool.name, f"{tool.connector}/{tool.name}", f"{tool.connector}__{tool.name}")
    return any(is_named(spelling, globs) for spelling in spellings)


def is_named(name: str, globs: Iterable[str]) -> bool:
    return any(matcher(glob)(name) for glob in globs)
