"""What a snapshot consists of: governed rows as immutable values, each with the questions it answers alone."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from functools import lru_cache
from typing import Any, ClassVar

from governance.approval_terms import Terms
from governance.conditions import Condition, Verdict
from governance.time_of_day import Calendar

GLOBS_KEPT = 10_000
NOBODY = Terms(people=("",))
"""Of a question whose terms cannot be read: no account has an empty address, so nobody can agree."""
WILD = re.compile(r"[*?\[]")

STANDARD = "standard"
"""The retention class of what names none, where the organisation has named no other."""


@dataclass(frozen=True, slots=True)
class Team:
    id: str
    name: str
    parent_id: str
    """Empty at the root."""
    policy_ids: frozenset[str]
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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
    human_id: str = ""
    """The same for all accounts of one human."""
    duties: frozenset[str] = frozenset()
    manager_id: str = ""
    is_owner: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """A limit on the arguments of what a role gives."""

    tools: tuple[str, ...]
    condition: "Condition | Undecidable"
    """Must be true, in so many words: undecided is outside."""
    text: str
    """What agents are told, e.g. `only project SUP`."""

    @property
    def reads_arguments(self) -> bool:
        return isinstance(self.condition, Condition) and "args" in self.condition.reads


@dataclass(frozen=True, slots=True)
class Role:
    """Lasting, or made of a grant of access for a time."""

    id: str
    name: str
    bundle_ids: frozenset[str]
    starts_at: datetime | None
    ends_at: datetime | None
    schedule: Mapping[str, Any]
    scopes: tuple[Scope, ...] = ()
    team_ids: frozenset[str] = frozenset()
    """Whose members hold it, and those of the teams below."""
    person_ids: frozenset[str] = frozenset()
    grant_id: str = ""
    tool_id: str = ""
    """Of a grant: all that it gives of its bundle; empty for the whole bundle."""

    def is_in_time(self, now: datetime, calendar: Calendar) -> bool:
        if (self.starts_at and now < self.starts_at) or (self.ends_at and now >= self.ends_at):
            return False
        return not self.schedule or calendar.schedule_end(self.schedule, now) is not None

    def ends_in_time(self, now: datetime, calendar: Calendar) -> datetime | None:
        """When the role, now in its time, stops being so; None if never."""
        if not self.schedule:
            return self.ends_at
        window = calendar.schedule_end(self.schedule, now)
        return min((end for end in (self.ends_at, window) if end is not None), default=None)

    def gives(self, bundle_id: str, tool_id: str) -> bool:
        return bundle_id in self.bundle_ids and self.tool_id in ("", tool_id)


@dataclass(frozen=True, slots=True)
class Agent:
    id: str
    name: str
    status: str
    owner: Person
    roles: tuple[Role, ...]
    variables: Mapping[str, Any] = field(repr=False)
    staged: frozenset[str] = frozenset()
    """Ids of bundle versions that take the place of the published ones for it, once they are staged."""
    takes_owner_roles: bool = False
    """Of a person\'s own client: what its owner holds, it holds."""

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
    person_id: str = ""
    """On whose behalf whoever shows it acts."""
    rests_on: str = ""
    """Of an access token: the entry of a read set that names its authorization, or the credential it was bought with.
    Empty for a key."""
    resource: str = ""
    """Of an access token: the only endpoint it is good for."""
    bundles: frozenset[str] | None = None
    """Of an access token: names of the only bundles it is good for."""

    @property
    def reads(self) -> frozenset[str]:
        """What a decision about its holder rests on beside `credential:`, which every decision has."""
        return frozenset((f"token:{self.id}", self.rests_on)) if self.rests_on else frozenset()

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
class OutsideDetector:
    """A detector of somebody else's, as it is set up; its secret stays closed elsewhere."""

    id: str
    name: str
    kind: str
    version: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    secret_id: str = ""
    side: str = "both"
    """What it is asked about: both, arguments or result."""
    timeout_ms: int = 2_000
    most_bytes: int = 25_000
    severity: str = "medium"
    least_confidence: float = 0.5
    sends_known_secrets: bool = False
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual for an agent."""

    learns_until: datetime
    tools: frozenset[str]
    """As connector/tool."""
    connectors: frozenset[str]
    hours: frozenset[int]
    """Of the day, UTC."""
    busiest_hour: int
    """Calls in it."""
    destinations: frozenset[str] = frozenset()
    destinations_from: datetime | None = None
    """From then on a new one is unusual."""


@dataclass(frozen=True, slots=True)
class SealedCanary:
    """A planted value; still closed here."""

    id: str
    name: str
    kind: str
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
    owner_id: str = ""
    """The human who answers for the system."""
    stage: str = ""
    """Rules read it as tool.environment."""
    account: str = ""
    """Whose account calls use: `person`, `shared`, or empty for the secret's."""
    upstream_client: str = ""
    """Id of the row that says as whom accounts are connected; empty while that is not set up, or does not fit any
    more."""

    @property
    def footing(self) -> tuple[str, str]:
        """What is kept of the upstream rests on this: how it is talked to, and with which secret."""
        return self.revision, self.secret.version_id if self.secret is not None else ""


@dataclass(frozen=True, slots=True)
class Account:
    """A connected account that has not ended; its tokens are not here."""

    id: str
    connector_id: str
    person_id: str
    """Empty for the one that all share."""
    upstream_client: str
    status: str

    @property
    def is_live(self) -> bool:
        return self.status == "live"


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


LOOSENING = ("permit", "restore")
"""Effects that let more pass than no rule at all."""


@dataclass(frozen=True, slots=True)
class Undecidable:
    """Stands for a stored condition that this version cannot compile: its rule counts as its strictest outcome."""

    source: ClassVar[str] = "<unreadable>"
    """No condition is spelled so."""


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
    reads_content: bool
    """Waits for findings or a result: takes no part in deciding whether the call may start."""
    reason: str
    origin: str = ""
    connectors: tuple[str, ...] = ()
    """Globs; of this and the next three, empty means any."""
    data_classes: frozenset[str] = frozenset()
    risks: frozenset[str] = frozenset()
    access: str = ""
    """`read` or `write`."""
    fields: tuple[str, ...] = ()
    """Of a rule that masks: globs over paths in the result."""
    terms: Terms | None = None
    """Of a rule that asks."""
    on: str = "arguments"
    findings: frozenset[str] = frozenset()
    """Of which one must be there; empty: whatever is there."""
    is_open: bool = False
    """What could not be looked at does not count as found."""
    reversible: bool = False
    keep_last: int = 0
    """Of a rule that masks what is found: whether it can be put back, and how much of its end stays."""

    @property
    def key(self) -> str:
        return f"{self.policy} v{self.version}#{self.position}"

    @property
    def screens(self) -> bool:
        """Whether it has to do with content."""
        return self.effect not in LOOSENING and (self.reads_content or bool(self.fields and self.findings))

    def may_want(self, finding: str) -> bool:
        return finding in self.findings or (
            isinstance(self.condition, Condition) and "findings" in self.condition.reads
        )

    @property
    def selector(self) -> Hashable:
        """Rules with an equal one match the same tools."""
        return self.tools, self.connectors, self.data_classes, self.risks, self.access

    def matches(self, tool: Tool) -> bool:
        return matches_any(self.tools, tool) and self.selects(tool)

    def selects(self, tool: Tool) -> bool:
        """All but the names of tools: found by an index, see RuleIndex."""
        about = tool.variables
        return (
            (not self.connectors or any(matcher(glob)(tool.connector.name) for glob in self.connectors))
            and (not self.data_classes or not self.data_classes.isdisjoint(about["data_classes"]))
            and (not self.risks or about["risk"] in self.risks)
            and (not self.access or (self.access == "read") is bool(about["read_only"]))
        )

    def verdict(self, variables: Mapping[str, Any]) -> Verdict:
        if self.condition is None:
            return Verdict.TRUE
        return Verdict.UNDECIDED if isinstance(self.condition, Undecidable) else self.condition.evaluate(variables)

    def takes_part(self, verdict: Verdict) -> bool:
        """An undecided condition counts for a rule that tightens and against one that loosens."""
        if verdict is Verdict.UNDECIDED:
            return self.effect not in LOOSENING
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
    retention: str = ""


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
        rules = (self._rules[position] for position in sorted(found))
        return [rule for rule in rules if rule.selects(tool)]


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
    retention: str = ""
    """The retention class of its calls; empty: the organisation's."""
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
    labels: frozenset[str] = frozenset()
    """It is for runs that have met any of these; empty: for all."""

    def covers(self, tool: Tool) -> bool:
        return matches_any(self.tools, tool)

    def binds(self, labels: frozenset[str] | None) -> bool:
        """Whether it is for a run that has met these; None while nobody has looked: then it may be."""
        return not self.labels or labels is None or not self.labels.isdisjoint(labels)


@dataclass(frozen=True, slots=True)
class Grant:
    """A right that ends by itself; only live ones are in a snapshot. See models/grants.py."""

    id: str
    kind: str
    agent_id: str
    person_id: str
    bundle_id: str
    tool_id: str
    condition: Condition | Undecidable | None
    rules: frozenset[str]
    """Keys of the asking rules that a consent answers."""
    definition_digest: str
    """Of the tool that a consent was given for."""
    session: str
    approvers: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    is_counted: bool
    """Its uses are bounded."""

    @property
    def is_consent(self) -> bool:
        return self.kind == "consent"

    def is_in_time(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at


@dataclass(frozen=True, slots=True)
class Reaction:
    """An enabled one."""

    id: str
    name: str
    trigger: str
    count: int
    minutes: int
    findings: frozenset[str]
    action: str
    lasting_minutes: int
    terms: Terms

    @property
    def key(self) -> str:
        """Stands where the key of an asking rule does."""
        return f"reaction {self.name}"


@dataclass(frozen=True, slots=True)
class AllowedPattern:
    """An exception of inspection: for one tool, connector or bundle, of one value, a place, or both."""

    name: str
    rule: str
    fingerprint: str
    path: str
    tool_id: str
    connector_id: str
    bundle_id: str
    ends_at: datetime


Shifts = tuple[tuple[str, datetime, datetime], ...]
"""(person id, start, end) each."""


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
