"""What stands between an agent and a tool, as a sign with words: colour and shape alone tell nothing."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any

from governance.reach import Holds, Limit, Reach
from governance.snapshot import Agent, Bundle, Person, Role, Snapshot, Tool, patterns_of


class Verdict(Enum):
    """Value: sign, tone of the building blocks, words for screens and screen readers."""

    YES = ("✓", "good", "may call it")
    LIMITED = ("◐", "info", "may call it in some cases")
    AT_TIMES = ("◷", "info", "may call it at certain times")
    ASKED = ("?", "warn", "needs a human's yes each time")
    STOPPED = ("✕", "bad", "has it, but is stopped")
    NO = ("·", "", "cannot reach it")

    @property
    def sign(self) -> str:
        return self.value[0]

    @property
    def tone(self) -> str:
        return self.value[1]

    @property
    def words(self) -> str:
        return self.value[2]


@dataclass(frozen=True)
class View:
    """What is looked at: all that may be called from `at` on, whatever the hour; or, if `is_exact`, at that moment."""

    snapshot: Snapshot
    at: datetime
    is_exact: bool = False
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was worked out for one of several agents that are alike."""

    @cached_property
    def seen(self) -> Snapshot:
        """At one moment a role either counts, and then without its times, or it does not."""
        snapshot = self.snapshot
        if not self.is_exact:
            return snapshot
        return replace(
            snapshot,
            agents={i: replace(agent, roles=self._counting(agent.roles)) for i, agent in snapshot.agents.items()},
            roles={role.id: role for role in self._counting(snapshot.roles.values())},
            grants={i: grant for i, grant in snapshot.grants.items() if grant.is_in_time(self.at)},
        )

    def _counting(self, roles: Iterable[Role]) -> tuple[Role, ...]:
        in_time = (role for role in roles if role.is_in_time(self.at, self.snapshot.calendar))
        return tuple(replace(role, starts_at=None, ends_at=None, schedule={}) for role in in_time)

    def with_agents(self, agents: Iterable[Agent]) -> "View":
        """People's own clients stand beside the agents."""
        known = {**self.snapshot.agents, **{agent.id: agent for agent in agents}}
        return View(replace(self.snapshot, agents=known), self.at, self.is_exact)

    @cached_property
    def persons(self) -> Mapping[str, tuple[Person, ...]]:
        """Agent id -> the people on whose behalf a live key of it acts, by address."""
        found: dict[str, dict[str, Person]] = {}
        for key in self.snapshot.credentials.values():
            person = self.snapshot.people.get(key.person_id)
            if person is not None and key.is_in_time(self.at):
                found.setdefault(key.agent_id, {})[person.email] = person
        return {agent: tuple(people[email] for email in sorted(people)) for agent, people in found.items()}


def reach_of_tools(tools: Iterable[Tool], view: View) -> Reach:
    """Who reaches these tools and patterns: as in the snapshot, but nothing is worked out for thousands of others."""
    chosen = {tool.id for tool in tools}

    def narrowed(bundle: Bundle) -> Bundle:
        kept = {name: tool for name, tool in bundle.tools.items() if tool.id in chosen}
        return replace(bundle, tools=kept, selections=bundle.selections if _selects(bundle, chosen) else ())

    def gives_some(bundle: Bundle) -> bool:
        return not chosen.isdisjoint(bundle.tool_ids) or _selects(bundle, chosen)

    bundles = {i: narrowed(bundle) for i, bundle in view.seen.bundles.items() if gives_some(bundle)}
    staged = {i: narrowed(bundle) for i, bundle in view.seen.staged.items()}
    return Reach(replace(view.seen, bundles=bundles, staged=staged), view.at)


def _selects(bundle: Bundle, patterns: Container[str]) -> bool:
    return any(target.id in patterns for target in patterns_of(bundle))


def verdict_of(agent: Agent, tool: Tool, holds: Holds, snapshot: Snapshot) -> Verdict:
    """From now on, whatever the hour and the arguments; explain answers for one call at one moment."""
    limit = holds.get(tool.id)
    if limit is None:
        return Verdict.STOPPED if gives(agent, tool, snapshot) else Verdict.NO
    return _OF_LIMITS[limit]


def _of_limits(limits: Limit) -> Verdict:
    if Limit.EVERY_TIME in limits:
        return Verdict.ASKED
    if limits & (Limit.SOMETIMES_ASKED | Limit.SOMETIMES_DENIED):
        return Verdict.LIMITED
    return Verdict.AT_TIMES if Limit.AT_TIMES in limits else Verdict.YES


_OF_LIMITS = {bits: _of_limits(Limit(bits)) for bits in range(Limit.EVERYTHING + 1)}
"""By number, because matrices ask it for each cell."""


def gives(agent: Agent, tool: Tool, snapshot: Snapshot) -> bool:
    """Does a role of the agent give a bundle in force for it with this tool, leaving aside all that may stop it?"""
    return any(True for _ in bundles_giving(agent, tool, snapshot))


def bundles_giving(agent: Agent, tool: Tool, snapshot: Snapshot) -> Iterator[Bundle]:
    """Each once, in the version that counts for the agent."""
    roles = snapshot.roles_of(agent)
    for bundle_id in {bundle_id: None for role in roles for bundle_id in role.bundle_ids}:
        bundle = snapshot.bundle_for(agent, bundle_id)
        has_it = bundle is not None and (tool.id in bundle.tool_ids or _selects(bundle, (tool.id,)))
        if bundle and has_it and any(role.gives(bundle_id, tool.id) for role in roles):
            yield bundle
