"""The immutable view that decisions read: everything governed, compiled for one epoch.

Built by `snapshot_builder.py`; here are only its shapes and the questions it answers from memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

from governance.conditions import Condition, Verdict
from governance.time_of_day import local_time, schedule_end


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    email: str
    name: str
    is_active: bool
    is_staff: bool
    team_ids: tuple[str, ...]
    """From the root of each team's tree down to the team."""
    variables: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Role:
    id: str
    name: str
    bundle_ids: frozenset[str]
    starts_at: datetime | None
    ends_at: datetime | None
    schedule: Mapping[str, Any]

    def is_in_time(self, now: datetime, timezone: ZoneInfo) -> bool:
        if (self.starts_at and now < self.starts_at) or (self.ends_at and now >= self.ends_at):
            return False
        return not self.schedule or schedule_end(self.schedule, local_time(now, timezone)) is not None

    def ends_in_time(self, now: datetime, timezone: ZoneInfo) -> datetime | None:
        """When the role, now in its time, stops being so; None if never."""
        window = schedule_end(self.schedule, local_time(now, timezone)) if self.schedule else None
        return min((end for end in (self.ends_at, window) if end is not None), default=None)


@dataclass(frozen=True, slots=True)
class Agent:
    id: str
    name: str
    status: str
    owner: Person
    roles: tuple[Role, ...]
    variables: Mapping[str, Any] = field(repr=False)

    @property
    def is_live(self) -> bool:
        return self.status == "live" and self.owner.is_active


@dataclass(frozen=True, slots=True)
class Credential:
    id: str
    agent_id: str
    digest: bytes = field(repr=False)
    not_before: datetime | None
    expires_at: datetime | None

    def is_in_time(self, now: datetime) -> bool:
        return (self.not_before is None or now >= self.not_before) and (
            self.expires_at is None or now < self.expires_at
        )


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """What the vault needs to open the live version of a secret; still closed here."""

    id: str
    version_id: str
    name: str
    kind: str
    header_name: str
    key_id: str
    wrapped_key: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connector:
    id: str
    name: str
    kind: str
    urls: tuple[str, ...]
    timeout_seconds: float
    is_enabled: bool
    secret: SealedSecret | None
    secret_missing: bool
    """The connector wants a secret that has no live version: calls are refused, never sent without it."""
    revision: str


@dataclass(frozen=True, slots=True)
class Tool:
    id: str
    name: str
    connector: Connector
    definition_digest: str
    definition: Mapping[str, Any] = field(repr=False)
    variables: Mapping[str, Any] = field(repr=False)


class Undecidable:
    """Stands for a stored condition that this version cannot compile: its rule counts as its strictest outcome."""

    def evaluate(self, variables: Mapping[str, Any]) -> Verdict:
        return Verdict.UNDECIDED


@dataclass(frozen=True, slots=True)
class Rule:
    policy_id: str
    policy: str
    version_id: str
    version: int
    position: int
    effect: str
    tools: tuple[str, ...]
    condition: Condition | Undecidable | None
    reads_arguments: bool
    reads_time: bool
    reads_content: bool
    """Waits for findings or a result: takes no part in deciding whether the call may start."""
    reason: str
    origin: str = ""

    def matches(self, tool: Tool) -> bool:
        return matches_any(self.tools, tool)

    def takes_part(self, verdict: Verdict) -> bool:
        """An undecided condition counts for a rule that tightens and against one that permits."""
        if verdict is Verdict.UNDECIDED:
            return self.effect != "permit"
        return verdict is Verdict.TRUE


@dataclass(frozen=True, slots=True)
class ToolSelector:
    connector_id: str
    allow: tuple[str, ...]
    deny: tuple[str, ...]

    def selects(self, tool: Tool) -> bool:
        return (
            tool.connector.id == self.connector_id
            and any(fnmatchcase(tool.name, glob) for glob in self.allow)
            and not any(fnmatchcase(tool.name, glob) for glob in self.deny)
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    id: str
    name: str
    title: str
    version_id: str
    number: int
    records_payload: bool
    tools: Mapping[str, Tool]
    """Exposed name -> tool, at the bundle's own endpoint."""
    by_union_name: Mapping[str, Tool]
    """`<connector>__<tool>` -> tool, at the union endpoint."""
    tool_ids: frozenset[str]
    rules: tuple[Rule, ...]
    """Organisation first, then ancestors from the farthest, then the bundle's own."""
    ancestry: frozenset[str]
    """Read-set entries of the bundle, its ancestors and their policies."""


@dataclass(frozen=True, slots=True)
class Freeze:
    agent_id: str | None
    connector_id: str | None
    tool_id: str | None
    reason: str
    ends_at: datetime | None

    def covers(self, agent: Agent, tool: Tool, now: datetime) -> bool:
        if self.ends_at is not None and now >= self.ends_at:
            return False
        targets = ((self.agent_id, agent.id), (self.connector_id, tool.connector.id), (self.tool_id, tool.id))
        named = [(wanted, actual) for wanted, actual in targets if wanted is not None]
        return all(wanted == actual for wanted, actual in named)


@dataclass(frozen=True, slots=True)
class Holding:
    """An agent's hold on one tool through one bundle: its roles, the rules that can match, and what all rests on."""

    agent: Agent
    bundle: Bundle
    tool: Tool
    roles: tuple[Role, ...]
    rules: tuple[Rule, ...]
    read_set: frozenset[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    epoch: int
    timezone: ZoneInfo
    organization: str
    credentials: Mapping[bytes, Credential] = field(repr=False)
    credential_ends: Mapping[str, datetime]
    agents: Mapping[str, Agent]
    people: Mapping[str, Person]
    tools: Mapping[str, Tool]
    connectors: Mapping[str, Connector]
    secrets: tuple[SealedSecret, ...]
    bundles: Mapping[str, Bundle]
    bundle_ids: Mapping[str, str]
    team_rules: Mapping[str, tuple[Rule, ...]]
    team_policies: Mapping[str, frozenset[str]]
    """Team id -> read-set entries of its policies."""
    freezes: tuple[Freeze, ...]
    _holdings: dict[tuple[str, str, str], Holding | None] = field(default_factory=dict, repr=False)

    def holding(self, agent: Agent, bundle: Bundle, tool: Tool) -> Holding | None:
        """Worked out once per snapshot; afterwards one dictionary look-up, however many policies there are."""
        key = (agent.id, bundle.id, tool.id)
        try:
            return self._holdings[key]
        except KeyError:
            self._holdings[key] = found = self._find_holding(agent, bundle, tool)
            return found

    def _find_holding(self, agent: Agent, bundle: Bundle, tool: Tool) -> Holding | None:
        roles = tuple(role for role in agent.roles if bundle.id in role.bundle_ids)
        if not roles or tool.id not in bundle.tool_ids:
            return None
        team_rules = [rule for team in agent.owner.team_ids for rule in self.team_rules.get(team, ())]
        organization = [rule for rule in bundle.rules if rule.origin == "organization"]
        own = [rule for rule in bundle.rules if rule.origin != "organization"]
        rules = tuple(rule for rule in (*organization, *team_rules, *own) if rule.matches(tool))
        policies = [self.team_policies.get(team, frozenset()) for team in agent.owner.team_ids]
        reads = _read_set(agent, bundle, tool, roles, team_rules).union(*policies)
        return Holding(agent, bundle, tool, roles, rules, reads)

    def freeze_of(self, agent: Agent, tool: Tool, now: datetime) -> Freeze | None:
        return next((freeze for freeze in self.freezes if freeze.covers(agent, tool, now)), None)

    def bundles_of(self, agent: Agent, now: datetime) -> list[Bundle]:
        """Bundles the agent holds right now, by name."""
        held = {
            bundle_id for role in agent.roles if role.is_in_time(now, self.timezone) for bundle_id in role.bundle_ids
        }
        return sorted((self.bundles[i] for i in held if i in self.bundles), key=lambda bundle: bundle.name)


def _read_set(
    agent: Agent, bundle: Bundle, tool: Tool, roles: Iterable[Role], team_rules: Iterable[Rule]
) -> frozenset[str]:
    entries = {
        f"agent:{agent.id}",
        f"person:{agent.owner.id}",
        f"tool:{tool.id}",
        f"connector:{tool.connector.id}",
    }
    entries.update(f"role:{role.id}" for role in roles)
    entries.update(f"team:{team}" for team in agent.owner.team_ids)
    entries.update(f"policy_version:{rule.version_id}" for rule in team_rules)
    if tool.connector.secret is not None:
        entries.add(f"secret:{tool.connector.secret.id}")
    return bundle.ancestry | entries


def matches_any(globs: Iterable[str], tool: Tool) -> bool:
    """A glob names a tool as its upstream does, or as connector/tool, or as connector__tool."""
    names = (tool.name, f"{tool.connector.name}/{tool.name}", f"{tool.connector.name}__{tool.name}")
    return any(fnmatchcase(name, glob) for glob in globs for name in names)
