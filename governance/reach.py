"""Which agents reach which tools. Pure: no database, no clock.

`decide()` answers for one call at one moment. Reach answers whoever gives a right away: what could this agent ever
call from now on, whatever the arguments, the hour and the address? So a rule that looks at those is not a no but a
limit, and a role that begins tomorrow counts today. Of one that acts for a person it tells what she may at most; that a
reaction may hold a run is no limit here, as it may happen to every call.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

from governance.conditions import Condition, Verdict, evaluate_knowing
from governance.snapshot import Agent, Bundle, Freeze, Role, Rule, Snapshot, Tool, matches_any, patterns_of


class Limit(IntFlag):
    """What stands between reaching a tool and running it. Of two ways to a tool the less limited, by number, counts."""

    NOTHING = 0
    SOMETIMES_ASKED = 1
    EVERY_TIME = 2
    ASKED = SOMETIMES_ASKED | EVERY_TIME
    SOMETIMES_DENIED = 4
    AT_TIMES = 8
    EVERYTHING = 15


Holds = Mapping[str, int]
"""Tool id -> what limits its use, as the bits of Limit (enum arithmetic is slow, and this is done a million times).
A tool that is not in it is out of reach. A pattern of resources or prompts stands for a tool here."""

NOTHING_HELD: Holds = {}


class WayIn(NamedTuple):
    """What one role gives: a bundle, or one tool of it, perhaps only at times or within data scopes."""

    bundle_id: str
    is_staged: bool
    tool_id: str
    is_timed: bool
    scopes: tuple[tuple[str, ...], ...]
    """Globs of each."""


@dataclass(frozen=True, slots=True)
class Way:
    """All that an agent's reach depends on: agents of the same way share one answer."""

    ways_in: frozenset["WayIn"]
    teams: tuple[str, ...]
    """Those with rules."""
    marks: frozenset[tuple[str, str]]
    """Of each condition that looks at who is calling, what it comes to for this agent."""


class TooMuchToTell(Exception):
    """Conditions that look at agents and tools together would be evaluated for too many pairs of them."""


class Reach:
    """What each agent of a snapshot reaches, worked out when asked and kept.

    `known` is the reach of a snapshot that this one is compared with. Whoever asks for many agents at once bounds
    the work by `most_verdicts`: beyond so many evaluated conditions it raises TooMuchToTell.
    """

    def __init__(
        self, snapshot: Snapshot, now: datetime, *, known: "Reach | None" = None, most_verdicts: float = inf
    ) -> None:
        self.snapshot = snapshot
        self._most_verdicts = most_verdicts
        self._now = now
        self._known = known
        self._freezes = [freeze for freeze in snapshot.freezes if freeze.ends_at is None or freeze.ends_at > now]
        self._stopped = frozenset(tool.id for tool in snapshot.tools.values() if self._is_stopped(tool))
        self._is_wide = known is None or (known._stopped, known._freezes) != (self._stopped, self._freezes)
        self._other_bundles = _other_bundles(known.snapshot, snapshot) if known else frozenset()
        self._other_teams = _unequal(known.snapshot.team_rules, snapshot.team_rules) if known else frozenset()
        self._held: dict[Way, Holds] = {}
        self._given: dict[tuple[tuple[str, bool], Way], Holds] = {}
        self._personal: dict[tuple[tuple[str, bool], tuple[str, ...]], tuple[Condition, ...]] = {}
        self._marks: dict[tuple[str, str], str] = {}
        self._verdicts: dict[tuple[str, str, str], Verdict] = {}
        self._matching: dict[tuple[Hashable, str], bool] = {}

    def of(self, agent: Agent | None) -> Holds:
        if agent is None or not agent.is_live or any(_stops_agent(freeze, agent) for freeze in self._freezes):
            return NOTHING_HELD
        way = self._way(agent)
        if way not in self._held:
            self._held[way] = self._merged(agent, way)
        return self._held[way]

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        """Everything that can be in reach, by id: tools, and what bundles select by pattern."""
        bundles = (*self.snapshot.bundles.values(), *self.snapshot.staged.values())
        patterns = (target for bundle in bundles for target in patterns_of(bundle))
        return {**self.snapshot.tools, **{target.id: target for target in patterns}}

    def differs_for(self, agent_id: str) -> bool:
        """Could the answer for this agent be another than the known one? A cheap look, before working out both."""
        if self._known is None or self._is_wide:
            return True
        before, after = self._known.snapshot.agents.get(agent_id), self.snapshot.agents.get(agent_id)
        if before is None or after is None or before != after:
            return True
        roles = self.snapshot.roles_of(after)
        if self._known.snapshot.roles_of(before) != roles:
            return True
        is_led = not self._other_teams.isdisjoint(after.owner.team_ids)
        return is_led or any(not self._other_bundles.isdisjoint(role.bundle_ids) for role in roles)

    def _way(self, agent: Agent) -> Way:
        ways_in = frozenset(self._ways_in(agent))
        teams = tuple(team for team in agent.owner.team_ids if self.snapshot.team_rules.get(team))
        bundles = {(way.bundle_id, way.is_staged) for way in ways_in}
        personal = {condition for bundle in bundles for condition in self._personal_conditions(bundle, teams)}
        marks = frozenset((condition.source, self._mark(condition, agent)) for condition in personal)
        return Way(ways_in, teams, marks)

    def _ways_in(self, agent: Agent) -> Iterator[WayIn]:
        for role in self.snapshot.roles_of(agent):
            if role.ends_at is not None and role.ends_at <= self._now:
                continue
            for bundle_id in role.bundle_ids:
                bundle = self.snapshot.bundle_for(agent, bundle_id)
                if bundle is not None:
                    is_staged = bundle is not self.snapshot.bundles.get(bundle_id)
                    scopes = tuple(scope.tools for scope in role.scopes)
                    yield WayIn(bundle_id, is_staged, role.tool_id, self._is_timed(role), scopes)

    def _bundle(self, bundle_id: str, is_staged: bool) -> Bundle:
        return (self.snapshot.staged if is_staged else self.snapshot.bundles)[bundle_id]

    def _is_timed(self, role: Role) -> bool:
        return bool(role.schedule or role.ends_at) or (role.starts_at is not None and role.starts_at > self._now)

    def _personal_conditions(self, of: tuple[str, bool], teams: tuple[str, ...]) -> tuple[Condition, ...]:
        key = (of, teams)
        if key not in self._personal:
            rules = self._rules(self._bundle(*of), teams)
            conditions = (rule.condition for rule in rules if not _reads(rule).isdisjoint(("agent", "person")))
            self._personal[key] = tuple(found for found in conditions if isinstance(found, Condition))
        return self._personal[key]

    def _mark(self, condition: Condition, agent: Agent) -> str:
        """The same for agents whom the condition treats alike; where it is the tool that decides, the agent's own."""
        key = (condition.source, agent.id)
        if key not in self._marks:
            reads = condition.reads
            known = {"agent": agent.variables, "person": agent.owner.variables}
            verdict = evaluate_knowing(condition, {name: known[name] for name in reads & known.keys()})
            is_open = verdict is Verdict.UNDECIDED and "tool" in reads
            self._marks[key] = agent.id if is_open else verdict.name
        return self._marks[key]

    def _merged(self, agent: Agent, way: Way) -> Holds:
        held: dict[str, int] = {}
        for way_in in way.ways_in:
            given = self._given_by((way_in.bundle_id, way_in.is_staged), agent, way)
            for tool, limit in self._through(way_in, given):
                held[tool] = min(held.get(tool, EVERYTHING), limit)
        return held

    def _through(self, way_in: WayIn, given: Holds) -> Iterator[tuple[str, int]]:
        extra = AT_TIMES if way_in.is_timed else 0
        globs = tuple(glob for scope in way_in.scopes for glob in scope)
        for tool, limit in given.items():
            if way_in.tool_id in ("", tool):
                is_scoped = bool(globs) and matches_any(globs, self.tools[tool])
                yield tool, limit | extra | (SOMETIMES_DENIED if is_scoped else 0)

    def _given_by(self, of: tuple[str, bool], agent: Agent, way: Way) -> Holds:
        key = (of, Way(frozenset(), way.teams, way.marks))
        if key not in self._given:
            bundle = self._bundle(*of)
            rules = list(self._rules(bundle, way.teams))
            tools = [tool for tool in bundle.tools.values() if tool.id not in self._stopped]
            tools += [target for target in patterns_of(bundle) if not self._is_stopped(target)]
            limits = ((tool.id, self._limit(tool, rules, agent)) for tool in tools)
            self._given[key] = {tool: limit for tool, limit in limits if limit is not None}
        return self._given[key]

    def _rules(self, bundle: Bundle, teams: tuple[str, ...]) -> Iterator[Rule]:
        """Those that may stand in the way before a call starts."""
        of_teams = (rule for team in teams for rule in self.snapshot.team_rules[team])
        for rule in (*bundle.rules, *of_teams):
            if rule.effect in ("deny", "ask") and not rule.reads_content:
                yield rule

    def _limit(self, tool: Tool, rules: Iterable[Rule], agent: Agent) -> int | None:
        """None when a rule always forbids the tool."""
        limit = 0
        for rule in rules:
            verdict = self._verdict(rule, tool, agent) if self._matches(rule, tool) else Verdict.FALSE
            if verdict is Verdict.TRUE and rule.effect == "deny":
                return None
            if verdict is not Verdict.FALSE:
                limit |= _LIMITS[rule.effect, verdict]
        return limit

    def _verdict(self, rule: Rule, tool: Tool, agent: Agent) -> Verdict:
        """UNDECIDED: it depends on the call. What no call can ever decide counts as a yes, as in `decide()`."""
        if not isinstance(rule.condition, Condition):
            return Verdict.TRUE
        reads = _reads(rule)
        caller = "" if reads.isdisjoint(("agent", "person")) else agent.id
        key = (rule.condition.source, caller, tool.id if "tool" in reads else "")
        if key not in self._verdicts:
            if len(self._verdicts) >= self._most_verdicts:
                raise TooMuchToTell
            known = {"agent": agent.variables, "person": agent.owner.variables, "tool": tool.variables}
            verdict = evaluate_knowing(rule.condition, {name: known[name] for name in reads & known.keys()})
            is_final = verdict is Verdict.UNDECIDED and reads <= known.keys()
            self._verdicts[key] = Verdict.TRUE if is_final else verdict
        return self._verdicts[key]

    def _matches(self, rule: Rule, tool: Tool) -> bool:
        key = (rule.selector, tool.id)
        if key not in self._matching:
            self._matching[key] = rule.matches(tool)
        return self._matching[key]

    def _is_stopped(self, tool: Tool) -> bool:
        connector = tool.connector
        is_frozen = any(
            freeze.agent_id is None and (freeze.connector_id == connector.id or freeze.tool_id == tool.id)
            for freeze in self._freezes
        )
        return is_frozen or not connector.is_enabled or connector.secret_missing


AT_TIMES, EVERYTHING = int(Limit.AT_TIMES), int(Limit.EVERYTHING)
SOMETIMES_DENIED = int(Limit.SOMETIMES_DENIED)
_LIMITS = {
    ("ask", Verdict.TRUE): int(Limit.ASKED),
    ("ask", Verdict.UNDECIDED): int(Limit.SOMETIMES_ASKED),
    ("deny", Verdict.UNDECIDED): SOMETIMES_DENIED,
}


def _unequal(before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _other_bundles(before: Snapshot, after: Snapshot) -> frozenset[str]:
    return _unequal(before.bundles, after.bundles) | _unequal(before.staged, after.staged)


def _stops_agent(freeze: Freeze, agent: Agent) -> bool:
    """Everything, or this agent."""
    return freeze.agent_id in (None, agent.id) and freeze.connector_id is None and freeze.tool_id is None


def _reads(rule: Rule) -> frozenset[str]:
    return rule.condition.reads if isinstance(rule.condition, Condition) else frozenset()
