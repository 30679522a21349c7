"""What a manifest may say: one frozen dataclass per entity, and the reading and writing of whole files.

The same shapes describe what a file wants and what the database holds, so that comparing them is the plan and
writing them down is the export. Fields that a file may leave alone are None when left out: applying an old
file brings back nobody who was deactivated, and no agent that was suspended.
"""

# ruff: noqa: RUF009 (`of` makes dataclass fields, as `field` does)

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from governance.conditions import ConditionError, compile_condition
from governance.manifest.fields import (
    NAME,
    Choice,
    Flag,
    ListOf,
    Moment,
    Number,
    Record,
    Schema,
    Text,
    TextByName,
    gather,
    nearest,
    of,
)
from governance.manifest.reader import BadManifest, Fault, Node, Place, read
from governance.models.secrets import HEADER_NAME_PATTERN
from governance.time_of_day import WEEKDAYS

API_VERSION = "gatehouse/v1"
FINDINGS = ("injection", "personal_data", "secret")
LATER_KINDS = ("openapi", "sql", "stdio")
STDIO = "stdio"
DEFAULT_TIMEOUT_SECONDS = 60
_UNFIT_FOR_URL = re.compile(r"[^\x21-\x7e]")


def _check_email(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError:
        raise ValueError(f"'{email[:64]}' is no e-mail address") from None


def _check_timezone(name: str) -> None:
    known = available_timezones()
    if name not in known:
        raise ValueError(f"there is no time zone '{name[:64]}'{nearest(name, known)}")


def check_url(url: str) -> None:
    """The message never repeats the URL: a mistaken one may hold a password."""
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_plain = False
    if not is_plain or _UNFIT_FOR_URL.search(url):
        raise ValueError("this is no http or https URL")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("a URL here has no user, password or fragment; a secret goes into the vault")


def _check_header(name: str) -> None:
    if not re.match(HEADER_NAME_PATTERN, name):
        raise ValueError(f"'{name[:64]}' is no header a secret may travel in")


_NAME = Text(63, pattern=NAME, hint="use 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit")
_NAMES = ListOf(_NAME, is_set=True)
_TITLE = Text(200)
_EMAIL = Text(254, check=_check_email, tidy=lambda email: email.strip().lower())
_GLOBS = ListOf(Text(200))
_VARIABLE = Text(100, pattern=r"[A-Za-z_][A-Za-z0-9_]*", hint="name an environment variable")
_WORD = Text(4000)
_AMOUNT = Number(1, 2**31 - 1, is_whole=True)
_CLOCK = Text(5, pattern=r"([01][0-9]|2[0-3]):[0-5][0-9]", hint="write the time as HH:MM")


@dataclass(frozen=True, slots=True)
class Reference:
    """`key` of an entry names another entry, in section `kind`."""

    key: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entity as a manifest writes it; `node` is where it stands in the file, absent for what is stored."""

    KEY: ClassVar[str] = "name"
    node: Node | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        return str(getattr(self, self.KEY))

    def references(self) -> Iterable[Reference]:
        return ()

    def over(self, before: Self | None) -> Self:
        """What shall hold after applying this over `before`: fields left out keep what they must not change."""
        return self

    def switched_off(self) -> tuple[str, str]:
        """The field that takes a stored entity out of use and the word for it; empty while it is in use."""
        return "", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationEntry(Entry):
    name: str = of(_TITLE)
    timezone: str = of(Text(64, check=_check_timezone), "UTC")
    policies: tuple[str, ...] = of(_NAMES, ())

    @property
    def key(self) -> str:
        return "organization"

    def references(self) -> Iterator[Reference]:
        yield from (Reference("policies", "policies", name) for name in self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamEntry(Entry):
    name: str = of(_NAME)
    title: str = of(_TITLE, "")
    parent: str = of(_NAME, "")
    policies: tuple[str, ...] = of(_NAMES, ())

    def references(self) -> Iterator[Reference]:
        if self.parent:
            yield Reference("parent", "teams", self.parent)
        yield from (Reference("policies", "policies", name) for name in self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonEntry(Entry):
    """`active` is None for somebody active; in a file, left out leaves her as she is."""

    KEY: ClassVar[str] = "email"
    email: str = of(_EMAIL)
    name: str = of(_TITLE, "")
    teams: tuple[str, ...] = of(_NAMES, ())
    manager: str = of(_EMAIL, "")
    staff: bool = of(Flag(), False)
    duties: tuple[str, ...] = of(ListOf(Choice(("approver", "auditor", "it-admin", "security")), is_set=True), ())
    active: bool | None = of(Flag(), None)
    is_owner: bool = field(default=False, compare=False)
    """Known of stored people only: a manifest makes no owners, and ends none."""

    @property
    def is_deactivated(self) -> bool:
        return self.active is False

    def references(self) -> Iterator[Reference]:
        yield from (Reference("teams", "teams", name) for name in self.teams)
        if self.manager:
            yield Reference("manager", "people", self.manager)

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.manager == self.email:
            yield "manager", "nobody is her own manager"

    def over(self, before: Self | None) -> Self:
        """A deactivated person gets nothing back by a file that does not say so."""
        if before is not None and before.is_deactivated and self.active is None:
            return before
        return replace(self, active=None) if self.active else self

    def switched_off(self) -> tuple[str, str]:
        return ("active", "deactivated") if self.is_deactivated else ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFrom:
    env: str = of(Text(200, pattern=r"[A-Za-z_][A-Za-z0-9_]*", hint="name an environment variable"), "")
    file: str = of(Text(1000), "")

    def faults(self) -> Iterator[tuple[str, str]]:
        if bool(self.env) == bool(self.file):
            yield "env", "write either env or file"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEntry(Entry):
    """Only says where the value is to be had; what is stored never says even that."""

    name: str = of(_NAME)
    kind: str = of(Choice(("bearer", "header", "basic", "oauth_client")), "bearer")
    header: str = of(Text(64, check=_check_header), "")
    description: str = of(Text(500), "")
    value_from: ValueFrom | None = of(Record(ValueFrom), None)

    def faults(self) -> Iterator[tuple[str, str]]:
        if (self.kind == "header") != bool(self.header):
            yield "header", "name the header with kind 'header', and only with that"

    def over(self, before: Self | None) -> Self:
        return replace(self, value_from=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorEntry(Entry):
    """`enabled` is None for an enabled connector; in a file, it and `timeout_seconds` left out stay as they are."""

    name: str = of(_NAME)
    title: str = of(_TITLE, "")
    kind: str = of(Text(16), "mcp")
    urls: tuple[str, ...] = of(ListOf(Text(2000, check=check_url), at_least=1), (), singular="url")
    secret: str = of(_NAME, "")
    new_tools: str = of(Choice(("review", "allow")), "review")
    timeout_seconds: float | None = of(Number(0.1, 600), None)
    relays: tuple[str, ...] = of(ListOf(Choice(("elicitation", "sampling", "roots")), is_set=True), ())
    max_running: int = of(Number(1, 100_000, is_whole=True), 64)
    max_waiting: int = of(Number(0, 100_000, is_whole=True), 256)
    command: tuple[str, ...] = of(ListOf(_WORD), ())
    environment: tuple[tuple[str, str], ...] = of(TextByName(_VARIABLE, _WORD), ())
    secret_variable: str = of(_VARIABLE, "")
    per_agent: bool = of(Flag(), False)
    memory_mb: int = of(Number(16, 1_000_000, is_whole=True), 512)
    enabled: bool | None = of(Flag(), None)

    def references(self) -> Iterator[Reference]:
        if self.secret:
            yield Reference("secret", "secrets", self.secret)

    def faults(self) -> Iterator[tuple[str, str]]:
        """A local server has a program instead of an address."""
        if self.kind == STDIO:
            if self.urls:
                yield "urls", "a local server (kind stdio) has a command, no address"
            if not self.command:
                yield "command", "command is missing: the program and its arguments"
            return
        if not self.urls:
            yield "urls", "urls or url is missing"
        for key in ("command", "environment", "secret_variable", "per_agent"):
            if getattr(self, key):
                yield key, "only a local server (kind stdio) has this"

    def over(self, before: Self | None) -> Self:
        """A connector that is there keeps the time it has; a new one gets the default."""
        enabled, timeout = self.enabled, self.timeout_seconds
        if before is not None:
            enabled = before.enabled if enabled is None else enabled
            timeout = timeout or before.timeout_seconds
        elif timeout is None:
            timeout = DEFAULT_TIMEOUT_SECONDS
        return replace(self, enabled=False if enabled is False else None, timeout_seconds=timeout)

    def switched_off(self) -> tuple[str, str]:
        return ("enabled", "disabled") if self.enabled is False else ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsEntry:
    connector: str = of(_NAME)
    allow: tuple[str, ...] = of(_GLOBS, ("*",))
    deny: tuple[str, ...] = of(_GLOBS, ())


SELECTABLE = ("tools", "resources", "prompts")
_SELECTED = ListOf(Record(ToolsEntry), is_set=True, order=lambda entry: (entry.connector, entry.allow, entry.deny))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleEntry(Entry):
    """Tools, resources (by URI) and prompts are selected alike; what is not selected is not given."""

    name: str = of(_NAME)
    title: str = of(_TITLE, "")
    inherits: tuple[str, ...] = of(_NAMES, ())
    tools: tuple[ToolsEntry, ...] = of(_SELECTED, ())
    resources: tuple[ToolsEntry, ...] = of(_SELECTED, ())
    prompts: tuple[ToolsEntry, ...] = of(_SELECTED, ())
    names: str = of(Choice(("plain", "prefixed")), "")
    policies: tuple[str, ...] = of(_NAMES, ())
    recording: str = of(Choice(("full", "metadata")), "full")

    def references(self) -> Iterator[Reference]:
        yield from (Reference("inherits", "bundles", name) for name in self.inherits)
        for key in SELECTABLE:
            yield from (Reference(key, "connectors", entry.connector) for entry in getattr(self, key))
        yield from (Reference("policies", "policies", name) for name in self.policies)

    def faults(self) -> Iterator[tuple[str, str]]:
        for key in SELECTABLE:
            connectors = [entry.connector for entry in getattr(self, key)]
            for name in sorted({name for name in connectors if connectors.count(name) > 1}):
                yield key, f"connector {name} stands here twice; put its globs together"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvers:
    team: str = of(_NAME)
    count: int = of(Number(1, 20, is_whole=True), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry:
    effect: str = of(Choice(("permit", "ask", "deny", "mask", "flag")))
    tools: tuple[str, ...] = of(ListOf(Text(200), at_least=1), ("*",))
    on: str = of(Choice(("arguments", "result")), "arguments")
    when: str = of(Text(4096), "")
    findings: tuple[str, ...] = of(ListOf(Choice(FINDINGS), is_set=True), ())
    approvers: Approvers | None = of(Record(Approvers), None)
    reason: str = of(Text(500), "")

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.approvers is not None and self.effect != "ask":
            yield "approvers", "only a rule that asks has approvers"
        try:
            if self.when:
                compile_condition(self.when)
        except ConditionError as error:
            yield "when", str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntry(Entry):
    name: str = of(_NAME)
    title: str = of(_TITLE, "")
    rules: tuple[RuleEntry, ...] = of(ListOf(Record(RuleEntry)), ())
    unchecked: frozenset[int] = field(default=frozenset(), compare=False)
    """Of a stored policy: the rules, from 0, whose condition was not held against the tools it is about."""

    def references(self) -> Iterator[Reference]:
        for position, rule in enumerate(self.rules):
            if rule.approvers is not None:
                yield Reference(f"rules[{position}].approvers", "teams", rule.approvers.team)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A weekly window in the organisation's time zone; without days, every day. It may pass midnight."""

    days: tuple[str, ...] = of(ListOf(Choice(WEEKDAYS), is_set=True, order=WEEKDAYS.index), ())
    opens: str = of(_CLOCK, key="from")
    closes: str = of(_CLOCK, key="to")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleEntry(Entry):
    name: str = of(_NAME)
    title: str = of(_TITLE, "")
    bundles: tuple[str, ...] = of(_NAMES, ())
    teams: tuple[str, ...] = of(_NAMES, ())
    people: tuple[str, ...] = of(ListOf(_EMAIL, is_set=True), ())
    starts_at: datetime | None = of(Moment(), None)
    ends_at: datetime | None = of(Moment(), None)
    schedule: Schedule | None = of(Record(Schedule), None)

    def references(self) -> Iterator[Reference]:
        for kind in ("bundles", "teams", "people"):
            yield from (Reference(kind, kind, name) for name in getattr(self, kind))

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            yield "ends_at", "the role would end before it starts"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEntry(Entry):
    """`status` is None for a live agent; in a file, left out leaves it as it is."""

    name: str = of(_NAME)
    title: str = of(_TITLE, "")
    owner: str = of(_EMAIL)
    roles: tuple[str, ...] = of(_NAMES, ())
    purpose: str = of(Text(2000), "")
    status: str | None = of(Choice(("live", "suspended", "retired")), None)

    @property
    def is_retired(self) -> bool:
        return self.status == "retired"

    def references(self) -> Iterator[Reference]:
        yield Reference("owner", "people", self.owner)
        yield from (Reference("roles", "roles", name) for name in self.roles)

    def over(self, before: Self | None) -> Self:
        if before is not None and before.is_retired and self.status is None:
            return before
        if self.status is None and before is not None:
            return replace(self, status=before.status)
        return replace(self, status=None) if self.status == "live" else self

    def switched_off(self) -> tuple[str, str]:
        return ("status", self.status) if self.status else ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitEntry(Entry):
    """How much may be used: requests and bytes in a window, calls running at once."""

    name: str = of(_NAME)
    per: str = of(Choice(("agent", "team", "tool", "everybody")), "agent")
    tools: tuple[str, ...] = of(ListOf(Text(200), at_least=1), ("*",))
    window_seconds: int = of(Number(1, 86_400, is_whole=True), 60)
    requests: int | None = of(_AMOUNT, None)
    bytes: int | None = of(Number(1, 2**53, is_whole=True), None)
    running: int | None = of(_AMOUNT, None)
    enabled: bool = of(Flag(), True)

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.requests is None and self.bytes is None and self.running is None:
            yield "requests", "write how many requests, how many bytes or how many running calls"


SECTIONS: Mapping[str, type[Entry]] = {
    "organization": OrganizationEntry,
    "teams": TeamEntry,
    "people": PersonEntry,
    "secrets": SecretEntry,
    "connectors": ConnectorEntry,
    "policies": PolicyEntry,
    "bundles": BundleEntry,
    "roles": RoleEntry,
    "agents": AgentEntry,
    "limits": LimitEntry,
}
LABELS: Mapping[str, str] = {
    "organization": "organization",
    "teams": "team",
    "people": "person",
    "secrets": "secret",
    "connectors": "connector",
    "policies": "policy",
    "bundles": "bundle",
    "roles": "role",
    "agents": "agent",
    "limits": "limit",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Section -> its entries; a section that the file does not name is not in it."""

    sections: Mapping[str, tuple[Entry, ...]]

    def by_key(self, kind: str) -> dict[str, Any]:
        return {entry.key: entry for entry in self.sections.get(kind, ())}


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its name as faults shall call it, and what is in it."""

    file: str
    content: bytes = field(repr=False)


def parse(sources: Iterable[Source], *, kinds: Collection[str]) -> Manifest:
    """Several files as one manifest; `kinds` are the connector kinds known here. Raises BadManifest."""
    found: dict[str, list[Entry]] = {}
    for sections in gather(iter(sources), _read_source):
        for kind, entries in sections.items():
            found.setdefault(kind, []).extend(entries)
    faults = [*_repeated(found), *_unknown_kinds(found.get("connectors", []), kinds)]
    if faults:
        raise BadManifest(*faults)
    return Manifest({kind: tuple(found[kind]) for kind in SECTIONS if kind in found})


def _read_source(source: Source) -> dict[str, list[Entry]]:
    root = read(source.content, file=source.file)
    members = dict(root.members())
    version = members.pop("apiVersion", None)
    if version is None or version.value != API_VERSION:
        (version or root).fail(f"a manifest starts with apiVersion: {API_VERSION}")
    sections = Record(_File).read(Node(members, root.place))
    return {kind: entries for kind in members if (entries := _entries(getattr(sections, kind))) is not None}


def _entries(section: Any) -> list[Entry] | None:
    return [section] if isinstance(section, Entry) else section if section is None else list(section)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    organization: OrganizationEntry | None = of(Record(OrganizationEntry), None)
    teams: tuple[TeamEntry, ...] | None = of(ListOf(Record(TeamEntry)), None)
    people: tuple[PersonEntry, ...] | None = of(ListOf(Record(PersonEntry)), None)
    secrets: tuple[SecretEntry, ...] | None = of(ListOf(Record(SecretEntry)), None)
    connectors: tuple[ConnectorEntry, ...] | None = of(ListOf(Record(ConnectorEntry)), None)
    bundles: tuple[BundleEntry, ...] | None = of(ListOf(Record(BundleEntry)), None)
    policies: tuple[PolicyEntry, ...] | None = of(ListOf(Record(PolicyEntry)), None)
    roles: tuple[RoleEntry, ...] | None = of(ListOf(Record(RoleEntry)), None)
    agents: tuple[AgentEntry, ...] | None = of(ListOf(Record(AgentEntry)), None)
    limits: tuple[LimitEntry, ...] | None = of(ListOf(Record(LimitEntry)), None)


def _repeated(found: Mapping[str, list[Entry]]) -> Iterator[Fault]:
    for kind, entries in found.items():
        first: dict[str, Entry] = {}
        for entry in entries:
            before = first.setdefault(entry.key, entry)
            if before is not entry:
                yield fault_at(entry, entry.KEY, f"{LABELS[kind]} {entry.key} stands here twice{_first(before)}")


def _first(entry: Entry) -> str:
    return f" (first at {entry.node.place})" if entry.node else ""


def _unknown_kinds(connectors: Iterable[Any], kinds: Collection[str]) -> Iterator[Fault]:
    for entry in connectors:
        if entry.kind in LATER_KINDS and entry.kind not in kinds:
            yield fault_at(entry, "kind", f"this version does not know connectors of kind {entry.kind} yet")
        elif entry.kind not in kinds:
            message = f"'{entry.kind}' is not one of {', '.join(sorted(kinds))}{nearest(entry.kind, kinds)}"
            yield fault_at(entry, "kind", message)


def fault_at(entry: Entry, key: str, message: str) -> Fault:
    """A fault of one field of an entry, where the file has it."""
    node = entry.node
    if node is None:
        return Fault(Place("stored already", 0), f"{entry.key}: {key}", message)
    return Fault(_deepest(node, key).place, f"{node.path}.{key}", message)


def _deepest(node: Node, key: str) -> Node:
    """The node that `rules[0].approvers` leads to, as far as the file goes."""
    for step in re.findall(r"\w+", key):
        found = node.value[int(step)] if isinstance(node.value, list) else node.value.get(step)
        if found is None:
            break
        node = found
    return node


def dump(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain data, ready for YAML or JSON; fields at their default are left out."""
    plain: dict[str, Any] = {"apiVersion": API_VERSION}
    for kind, entries in manifest.sections.items():
        dumped = [dump_entry(entry) for entry in entries]
        if kind != "organization":
            plain[kind] = dumped
        elif dumped:
            plain[kind] = dumped[0]
    return plain


def dump_entry(entry: Entry) -> dict[str, Any]:
    return Record(type(entry)).dump(entry)


def json_schema(*, kinds: Collection[str]) -> Schema:
    """The JSON Schema (2020-12) of a manifest file."""
    schema = Record(_File).schema()
    connector = schema["properties"]["connectors"]["anyOf"][0]["items"]
    connector["properties"]["kind"] = {"enum": sorted(kinds)}
    connector["oneOf"] = _ways(has_local=STDIO in kinds)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Gatehouse manifest ({API_VERSION})",
        **schema,
        "properties": {"apiVersion": {"const": API_VERSION}, **schema["properties"]},
        "required": ["apiVersion"],
    }


def _ways(*, has_local: bool) -> list[Schema]:
    """How a connector may be reached: at an address, or as a local server."""
    addressed: list[Schema] = [{"required": ["url"]}, {"required": ["urls"]}]
    if not has_local:
        return addressed
    elsewhere = {"properties": {"kind": {"not": {"const": STDIO}}}}
    local = {"properties": {"kind": {"const": STDIO}}, "required": ["kind", "command"]}
    return [*({**way, **elsewhere} for way in addressed), local]
