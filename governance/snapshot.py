"""The immutable view that decisions read: everything governed, compiled for one epoch.

Built by `snapshot_builder.py`; here are only its shapes and the questions it answers from memory.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from functools import lru_cache
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from governance.conditions import Condition, Verdict
from governance.time_of_day import local_time, schedule_end

HOLDINGS_KEPT = 10_000
"""Of tools, and of resources and prompts, that a snapshot remembers: agents choose the names of the latter, and even of
the former there are too many once each agent has called each tool it holds."""
GLOBS_KEPT = 10_000
WILD = re.compile(r"[*?\[]")
TARGET_LIMIT = 2_000
"""Characters of a URI or a prompt's name."""
ENCODED_UNRESERVED = re.compile(r"%(4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe]|3[0-9]|2[DdEe])")
"""`%41` is `A`: RFC 3986 section 6.2.2.2 says that the two are the same, a glob does not."""
DECODINGS = 4
"""How often something behind the upstream may decode a URI once more."""
SCHEME = re.compile(r"[a-z0-9][a-z0-9+.-]*:")
WEB = re.compile(r"https?:")
WEB_HOST = re.compile(
    r"https?://(?:(?:[a-z0-9_.-]|\{[^{}/?#]*\})+(?<!\.)|\[[0-9a-f:.]+\])(?::(?!(?:80|443)\b)[1-9][0-9]*)?(?:[/?#]|\Z)"
)
"""Of a web address. Its host has no capitals, no user before it, no dot at its end, no usual port and no other script:
each would spell the same host once more. A template may have a variable there."""


@dataclass(frozen=True, slots=True)
class Team:
    id: str
    name: str
    parent_id: str
    """Empty at the root."""
    policy_ids: frozenset[str]


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
    member_of: tuple[str, ...] = ()
    """The teams themselves."""


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
        if not self.schedule:
            return self.ends_at
        window = schedule_end(self.schedule, local_time(now, timezone))
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
class Program:
    """How to run a local server."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_variable: str = ""
    per_agent: bool = False
    memory_mb: int = 512


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
    relays: frozenset[str] = frozenset()
    """What the upstream may ask of the caller's side."""
    max_running: int = 64
    max_waiting: int = 256
    program: Program | None = None
    """Of a local server."""

    @property
    def footing(self) -> tuple[str, str]:
        """What is kept of the upstream rests on this: how it is talked to, and with which secret."""
        return self.revision, self.secret.version_id if self.secret is not None else ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool with its pinned definition; or a resource or prompt, made by `Snapshot.target`, whose name starts with
    its kind and a colon."""

    id: str
    name: str
    connector: Connector
    definition_digest: str
    definition: Mapping[str, Any] = field(repr=False)
    variables: Mapping[str, Any] = field(repr=False)
    kind: str = "tool"
    timeout_seconds: float | None = None
    """Instead of the connector's."""

    @property
    def upstream_name(self) -> str:
        """A tool's or prompt's name or a resource's URI, as its upstream calls it."""
        return self.name if self.kind == "tool" else self.name.removeprefix(f"{self.kind}:")

    @property
    def is_repeatable(self) -> bool:
        """By the admin's word, never the upstream's."""
        return self.kind != "tool" or self.variables["read_only"] is True


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
class Selection:
    """What a bundle takes of one connector: tools or prompts by name, resources by URI."""

    kind: str
    connector: Connector
    allow: tuple[str, ...]
    deny: tuple[str, ...]

    def selects(self, name: str) -> bool:
        """`name` as the upstream calls it."""
        return _selects(self.allow, self.deny, name)


@dataclass(frozen=True, slots=True)
class Pick:
    """A selection as it is stored, of any kind."""

    kind: str
    connector_id: str
    allow: tuple[str, ...]
    deny: tuple[str, ...]

    def selects(self, name: str) -> bool:
        return _selects(self.allow, self.deny, name)


@dataclass(frozen=True, slots=True)
class Edition:
    """A bundle's published version as it is stored: what a `Bundle` is compiled from."""

    bundle_id: str
    name: str
    title: str
    version_id: str
    number: int
    names: str
    recording: str
    parent_ids: frozenset[str]
    policy_ids: frozenset[str]
    picks: tuple[Pick, ...]


class RuleIndex:
    """Finds the rules that name a tool at the cost of those few, however many there are.

    Most rules name tools in full; of globs there are far fewer different ones than rules.
    """

    __slots__ = ("_by_glob", "_by_name", "_rules")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._by_name: dict[str, list[int]] = {}
        self._by_glob: dict[str, list[int]] = {}
        for position, rule in enumerate(rules):
            for glob in rule.tools:
                index = self._by_glob if WILD.search(glob) else self._by_name
                index.setdefault(glob, []).append(position)

    def naming(self, tool: Tool) -> list[Rule]:
        """In their order."""
        names = names_of(tool)
        found = {position for name in names for position in self._by_name.get(name, ())}
        for glob, positions in self._by_glob.items():
            if any(map(matcher(glob), names)):
                found.update(positions)
        return [self._rules[position] for position in sorted(found)]


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
    selections: tuple[Selection, ...] = ()
    """Resources and prompts have no rows: the bundle holds whatever these select."""
    is_prefixed: bool = False
    """Names at the bundle's own endpoint carry their connector even where there is only one."""
    index: RuleIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", RuleIndex(self.rules))

    def holds(self, tool: Tool) -> bool:
        if tool.kind == "tool":
            return tool.id in self.tool_ids
        return any(
            selection.kind == tool.kind
            and selection.connector.id == tool.connector.id
            and selection.selects(tool.upstream_name)
            for selection in self.selections
        )


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
class RateLimit:
    """How much may be used of the tools its globs match, for each subject apart. None: no bound."""

    id: str
    name: str
    per: str
    tools: tuple[str, ...]
    window_seconds: int
    max_requests: int | None
    max_bytes: int | None
    max_running: int | None

    def covers(self, tool: Tool) -> bool:
        return matches_any(self.tools, tool)


@dataclass(frozen=True, slots=True)
class Holding:
    """An agent's hold on one tool through one bundle: its roles, the rules that can match, and what all rests on."""

    agent: Agent
    bundle: Bundle
    tool: Tool
    roles: tuple[Role, ...]
    rules: tuple[Rule, ...]
    reads_time: bool
    """Whether a rule does."""
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
    limits: tuple[RateLimit, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict, repr=False)
    """Policy id -> rules of its version in force, compiled; of no origin yet."""
    advanced_at: datetime | None = None
    """When the epoch took effect: with it, it names one moment of one history, even if a database is restored."""
    teams: Mapping[str, Team] = field(default_factory=dict, repr=False)
    editions: Mapping[str, Edition] = field(default_factory=dict, repr=False)
    """By bundle id."""
    organization_policies: frozenset[str] = frozenset()
    _holdings: dict[tuple[str, str, str], Holding | None] = field(default_factory=dict, init=False, repr=False)
    _target_holdings: dict[tuple[str, str, str], Holding | None] = field(default_factory=dict, init=False, repr=False)
    _target_reads: dict[tuple[str, str, str], frozenset[str]] = field(default_factory=dict, init=False, repr=False)
    _read_sets: dict[tuple[frozenset[str], str], frozenset[str]] = field(default_factory=dict, init=False, repr=False)
    _freezes_by_agent: dict[str | None, list[Freeze]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for freeze in self.freezes:
            self._freezes_by_agent.setdefault(freeze.agent_id, []).append(freeze)

    def target(self, connector: Connector, kind: str, name: str) -> Tool | None:
        """A resource or prompt as a value that decisions, rules and evidence treat like a tool. None for a name that
        could be read in two ways: globs must not be by-passed by another spelling."""
        if not 0 < len(name) <= TARGET_LIMIT or (kind == "resource" and not is_plainly_spelled(name)):
            return None
        return _rowless(connector, kind, name)

    def holding(self, agent: Agent, bundle: Bundle, tool: Tool) -> Holding | None:
        """Worked out once and remembered for a while, so that mostly it is one dictionary look-up."""
        kept = self._holdings if tool.kind == "tool" else self._target_holdings
        key = (agent.id, bundle.id, tool.id)
        try:
            return kept[key]
        except KeyError:
            _make_room(kept)
            kept[key] = found = self._find_holding(agent, bundle, tool)
            return found

    def _find_holding(self, agent: Agent, bundle: Bundle, tool: Tool) -> Holding | None:
        roles = tuple(role for role in agent.roles if bundle.id in role.bundle_ids)
        if not roles or not bundle.holds(tool):
            return None
        team_rules = [rule for team in agent.owner.team_ids for rule in self.team_rules.get(team, ())]
        naming = bundle.index.naming(tool)
        organization = [rule for rule in naming if rule.origin == "organization"]
        own = [rule for rule in naming if rule.origin != "organization"]
        rules = (*organization, *(rule for rule in team_rules if rule.matches(tool)), *own)
        reads_time = any(rule.reads_time for rule in rules)
        reads = self._reads(agent, bundle, tool, roles, team_rules)
        return Holding(agent, bundle, tool, roles, rules, reads_time, reads)

    def read_set(self, holding: Holding, credential_id: str) -> frozenset[str]:
        """All that a decision about a holding rests on, asked for with this key. One set for all that rest on it."""
        key = (holding.read_set, credential_id)
        try:
            return self._read_sets[key]
        except KeyError:
            _make_room(self._read_sets)
            self._read_sets[key] = found = holding.read_set | {f"credential:{credential_id}"}
            return found

    def _reads(
        self, agent: Agent, bundle: Bundle, tool: Tool, roles: Iterable[Role], team_rules: Iterable[Rule]
    ) -> frozenset[str]:
        """All resources and prompts of a connector rest on the same rows, and share one set: it may be large."""
        key = (agent.id, bundle.id, tool.connector.id)
        if tool.kind != "tool" and key in self._target_reads:
            return self._target_reads[key]
        policies = [self.team_policies.get(team, frozenset()) for team in agent.owner.team_ids]
        reads = bundle.ancestry.union(_own_reads(agent, tool, roles, team_rules), *policies)
        if tool.kind != "tool":
            _make_room(self._target_reads)
            self._target_reads[key] = reads
        return reads

    def freeze_of(self, agent: Agent, tool: Tool, now: datetime) -> Freeze | None:
        for agent_id in (agent.id, None):
            for freeze in self._freezes_by_agent.get(agent_id, ()):
                if freeze.covers(agent, tool, now):
                    return freeze
        return None

    def bundles_of(self, agent: Agent, now: datetime) -> list[Bundle]:
        """Bundles the agent holds right now, by name."""
        held = {
            bundle_id for role in agent.roles if role.is_in_time(now, self.timezone) for bundle_id in role.bundle_ids
        }
        return sorted((self.bundles[i] for i in held if i in self.bundles), key=lambda bundle: bundle.name)

    def bundle_of(self, agent: Agent, name: str, now: datetime) -> Bundle | None:
        """The bundle of that name, if the agent holds it right now."""
        bundle = self.bundles.get(self.bundle_ids.get(name, ""))
        if bundle is not None:
            for role in agent.roles:
                if bundle.id in role.bundle_ids and role.is_in_time(now, self.timezone):
                    return bundle
        return None


def patterns_of(bundle: Bundle) -> Iterator[Tool]:
    """What the bundle selects by pattern, as if each pattern were one resource or prompt: to tell what it gives."""
    for selection in bundle.selections:
        without = f" without {', '.join(selection.deny)}" if selection.deny else ""
        for glob in selection.allow:
            yield _rowless(selection.connector, selection.kind, f"{glob}{without}")


def _rowless(connector: Connector, kind: str, name: str) -> Tool:
    full_name = f"{kind}:{name}"
    variables = {
        "name": full_name,
        "connector": connector.name,
        "risk": "medium",
        "read_only": True,
        "data_classes": [],
    }
    return Tool(f"{kind}:{connector.id}:{name}", full_name, connector, "", {}, variables, kind)


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= HOLDINGS_KEPT:
        kept.clear()


def _own_reads(agent: Agent, tool: Tool, roles: Iterable[Role], team_rules: Iterable[Rule]) -> set[str]:
    """What an agent's hold on a tool rests on beside the bundle."""
    entries = {
        f"agent:{agent.id}",
        f"person:{agent.owner.id}",
        f"connector:{tool.connector.id}",
    }
    if tool.kind == "tool":
        entries.add(f"tool:{tool.id}")
    entries.update(f"role:{role.id}" for role in roles)
    entries.update(f"team:{team}" for team in agent.owner.team_ids)
    entries.update(f"policy_version:{rule.version_id}" for rule in team_rules)
    if tool.connector.secret is not None:
        entries.add(f"secret:{tool.connector.secret.id}")
    return entries


def is_plainly_spelled(uri: str) -> bool:
    """Could no upstream take this URI for another one, which a glob would judge otherwise?

    Refused are dot segments however encoded, needless percent-encoding, backslashes, white space, control characters,
    a scheme in capitals and odd spellings of a web address's host: RFC 3986 section 6.2 makes the same resource of them
    as of the plain form.
    """
    if not SCHEME.match(uri) or ENCODED_UNRESERVED.search(uri) or any(sign <= " " or sign in "\\\x7f" for sign in uri):
        return False
    if WEB.match(uri) and not WEB_HOST.match(uri):
        return False
    for _ in range(DECODINGS):
        if any(step.partition(";")[0] in (".", "..") for step in re.split(r"[/\\?#]", uri)):
            return False
        uri, before = unquote(uri, errors="replace"), uri
        if uri == before:
            return True
    return False


def _selects(allow: tuple[str, ...], deny: tuple[str, ...], name: str) -> bool:
    return any(matcher(glob)(name) for glob in allow) and not any(matcher(glob)(name) for glob in deny)


def matches_any(globs: Iterable[str], tool: Tool) -> bool:
    names = names_of(tool)
    return any(any(map(matcher(glob), names)) for glob in globs)


def names_of(tool: Tool) -> tuple[str, str, str]:
    """By which a glob may name it: as its upstream does, or as connector/tool, or as connector__tool."""
    return tool.name, f"{tool.connector.name}/{tool.name}", f"{tool.connector.name}__{tool.name}"


@lru_cache(maxsize=GLOBS_KEPT)
def matcher(glob: str) -> Callable[[str], object]:
    """Whether it matches a name, as `fnmatchcase` does, which keeps too few of its patterns for thousands of rules."""
    return re.compile(translate(glob)).match
