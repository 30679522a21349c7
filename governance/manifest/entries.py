"""What a manifest may say of one thing each: a frozen dataclass per entity, but for what has rules (`rule_entries.py`).

Fields that a file may leave alone are None when left out: applying an old file brings back nobody who was deactivated,
and no agent that was suspended.
"""

# ruff: noqa: RUF009 (`of` makes dataclass fields, as `field` does)

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from ipaddress import ip_network
from typing import Any, ClassVar, Self

from governance.client_documents import is_host
from governance.manifest.common import (
    AMOUNT,
    CLOCK,
    EMAIL,
    GLOBS,
    NAME_TEXT,
    NAMES,
    OAUTH_SCOPE,
    TITLE,
    VARIABLE,
    WORD,
    Entry,
    Reference,
    check_header,
    check_timezone,
    check_url,
)
from governance.manifest.fields import Choice, Flag, ListByName, ListOf, Moment, Number, Record, Text, TextByName, of
from governance.manifest.rule_entries import DATA_CLASSES, LABEL, RISKS
from governance.models import Organization
from governance.models.retention import MOST_DAYS
from governance.notification_channels import is_slack
from governance.time_of_day import WEEKDAYS

STDIO = "stdio"
DEFAULT_TIMEOUT_SECONDS = 60


def _check_date(text: str) -> None:
    try:
        is_date = date.fromisoformat(text).isoformat() == text
    except ValueError:
        is_date = False
    if not is_date:
        raise ValueError(f"'{text[:64]}' is no date; write e.g. 2026-12-25")


def check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError:
        raise ValueError(f"'{text[:64]}' is no network; write e.g. 192.0.2.0/24") from None


def check_host(text: str) -> None:
    if not is_host(text):
        raise ValueError(f"'{text[:64]}' is no host name; write e.g. claude.ai")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessHours:
    """In the organisation's time zone. They may pass midnight."""

    days: tuple[str, ...] = of(ListOf(Choice(WEEKDAYS), is_set=True, order=WEEKDAYS.index, at_least=1))
    opens: str = of(CLOCK, key="from")
    closes: str = of(CLOCK, key="to")

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.opens == self.closes:
            yield "to", "the hours would end when they begin"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Holiday:
    date: str = of(Text(10, check=_check_date))
    name: str = of(TITLE, "")


HOLIDAYS = ListOf(Record(Holiday), is_set=True)
NETWORKS = ListByName(NAME_TEXT, ListOf(Text(64, check=check_network), is_set=True, at_least=1))
ATTRIBUTES = ListByName(VARIABLE, ListOf(Text(200), is_set=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How old credentials may become. Without `after_days` none is due, without `unused_after_days` none unused."""

    after_days: int | None = of(Number(30, 90, is_whole=True), None)
    overlap_hours: int = of(Number(0, 720, is_whole=True), 168)
    warn_days: int = of(Number(1, 29, is_whole=True), 14)
    overdue: str = of(Choice(("kept", "ended")), "kept")
    unused_after_days: int | None = of(Number(7, 365, is_whole=True), None)
    unused: str = of(Choice(("kept", "ended")), "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationEntry(Entry):
    """Without `business_hours` they are 09:00 to 17:00, Monday to Friday. Without `rotation` its terms stay."""

    name: str = of(TITLE)
    timezone: str = of(Text(64, check=check_timezone), "UTC")
    business_hours: BusinessHours | None = of(Record(BusinessHours), None)
    holidays: tuple[Holiday, ...] = of(HOLIDAYS, ())
    networks: tuple[tuple[str, tuple[str, ...]], ...] = of(NETWORKS, ())
    review: str = of(Choice(("required", "optional")), "optional")
    agents_may_ask: bool = of(Flag(), False)
    rotation: Rotation | None = of(Record(Rotation), None)
    client_hosts: tuple[str, ...] = of(ListOf(Text(253, check=check_host), is_set=True), ())
    clients_may_register: bool = of(Flag(), False)
    policies: tuple[str, ...] = of(NAMES, ())

    @property
    def key(self) -> str:
        return "organization"

    def over(self, before: Self | None) -> Self:
        return replace(self, rotation=before.rotation) if before and self.rotation is None else self

    def references(self) -> Iterator[Reference]:
        yield from (Reference("policies", "policies", name) for name in self.policies)


def organization_columns(entry: OrganizationEntry) -> dict[str, Any]:
    """As the row keeps it, without its policies."""
    hours = entry.business_hours
    return {
        "name": entry.name,
        "timezone": entry.timezone,
        "business_hours": {"days": list(hours.days), "from": hours.opens, "to": hours.closes} if hours else {},
        "holidays": [{"date": day.date, "name": day.name} for day in entry.holidays],
        "networks": NETWORKS.dump(entry.networks),
        "requires_review": entry.review == "required",
        "agents_may_ask": entry.agents_may_ask,
        **(_rotation_columns(entry.rotation) if entry.rotation else {}),
        "client_hosts": list(entry.client_hosts),
        "clients_may_register": entry.clients_may_register,
    }


def _rotation_columns(terms: Rotation) -> dict[str, Any]:
    return {
        "rotate_after_days": terms.after_days,
        "rotation_overlap_hours": terms.overlap_hours,
        "rotation_warn_days": terms.warn_days,
        "ends_overdue": terms.overdue == "ended",
        "unused_after_days": terms.unused_after_days,
        "ends_unused": terms.unused == "ended",
    }


def rotation_of(row: Organization) -> Rotation:
    return Rotation(
        after_days=row.rotate_after_days,
        overlap_hours=row.rotation_overlap_hours,
        warn_days=row.rotation_warn_days,
        overdue="ended" if row.ends_overdue else "kept",
        unused_after_days=row.unused_after_days,
        unused="ended" if row.ends_unused else "kept",
    )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ShiftEntry:
    person: str = of(EMAIL)
    starts_at: datetime = of(Moment())
    ends_at: datetime = of(Moment())

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.ends_at <= self.starts_at:
            yield "ends_at", "the shift would end before it starts"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamEntry(Entry):
    """`on_call` is None where nobody is; in a file, left out leaves the shifts as they are."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    parent: str = of(NAME_TEXT, "")
    policies: tuple[str, ...] = of(NAMES, ())
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = of(ATTRIBUTES, ())
    on_call: tuple[ShiftEntry, ...] | None = of(ListOf(Record(ShiftEntry), is_set=True), None)

    def references(self) -> Iterator[Reference]:
        if self.parent:
            yield Reference("parent", "teams", self.parent)
        yield from (Reference("policies", "policies", name) for name in self.policies)
        yield from (Reference("on_call", "people", shift.person) for shift in self.on_call or ())

    def over(self, before: Self | None) -> Self:
        if self.on_call is None and before is not None:
            return replace(self, on_call=before.on_call)
        return replace(self, on_call=self.on_call or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonEntry(Entry):
    """`active` is None for somebody active; in a file, left out leaves her as she is."""

    KEY: ClassVar[str] = "email"
    email: str = of(EMAIL)
    name: str = of(TITLE, "")
    teams: tuple[str, ...] = of(NAMES, ())
    manager: str = of(EMAIL, "")
    same_as: str = of(EMAIL, "")
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
        if self.same_as:
            yield Reference("same_as", "people", self.same_as)

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.manager == self.email:
            yield "manager", "nobody is her own manager"
        if self.same_as == self.email:
            yield "same_as", "name her main account; this is this one"

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

    name: str = of(NAME_TEXT)
    kind: str = of(Choice(("bearer", "header", "basic", "oauth_client")), "bearer")
    header: str = of(Text(64, check=check_header), "")
    description: str = of(Text(500), "")
    value_from: ValueFrom | None = of(Record(ValueFrom), None)

    def faults(self) -> Iterator[tuple[str, str]]:
        if (self.kind == "header") != bool(self.header):
            yield "header", "name the header with kind 'header', and only with that"

    def over(self, before: Self | None) -> Self:
        return replace(self, value_from=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEntry:
    """The administrator's word on one tool."""

    name: str = of(Text(128))
    risk: str = of(Choice(RISKS), "medium")
    read_only: bool = of(Flag(), False)
    data_classes: tuple[str, ...] = of(DATA_CLASSES, ())
    untrusted: bool = of(Flag(), False)
    egress: bool = of(Flag(), False)
    undo: str = of(Text(300), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorEntry(Entry):
    """`enabled` is None for an enabled connector; in a file, it and `timeout_seconds` left out stay as they are, and so
    do tools that `tools` does not name. `stage` is what rules read as `tool.environment`."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    kind: str = of(Text(16), "mcp")
    urls: tuple[str, ...] = of(ListOf(Text(2000, check=check_url), at_least=1), (), singular="url")
    secret: str = of(NAME_TEXT, "")
    account: str = of(Choice(("person", "shared")), "")
    oauth_scopes: tuple[str, ...] = of(ListOf(OAUTH_SCOPE, is_set=True), ())
    new_tools: str = of(Choice(("review", "allow")), "review")
    timeout_seconds: float | None = of(Number(0.1, 600), None)
    relays: tuple[str, ...] = of(ListOf(Choice(("elicitation", "sampling", "roots")), is_set=True), ())
    max_running: int = of(Number(1, 100_000, is_whole=True), 64)
    max_waiting: int = of(Number(0, 100_000, is_whole=True), 256)
    command: tuple[str, ...] = of(ListOf(WORD), ())
    environment: tuple[tuple[str, str], ...] = of(TextByName(VARIABLE, WORD), ())
    secret_variable: str = of(VARIABLE, "")
    per_agent: bool = of(Flag(), False)
    memory_mb: int = of(Number(16, 1_000_000, is_whole=True), 512)
    owner: str = of(EMAIL, "")
    stage: str = of(Text(32), "")
    tools: tuple[ToolEntry, ...] = of(ListOf(Record(ToolEntry), is_set=True, order=lambda entry: entry.name), ())
    enabled: bool | None = of(Flag(), None)

    def references(self) -> Iterator[Reference]:
        if self.secret:
            yield Reference("secret", "secrets", self.secret)
        if self.owner:
            yield Reference("owner", "people", self.owner)

    def faults(self) -> Iterator[tuple[str, str]]:
        """A local server has a program instead of an address."""
        names = [tool.name for tool in self.tools]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield "tools", f"tool {name} stands here twice"
        yield from self._faults_of_program() if self.kind == STDIO else self._faults_of_system()

    def _faults_of_program(self) -> Iterator[tuple[str, str]]:
        if self.urls:
            yield "urls", "a local server (kind stdio) has a command, no address"
        if self.account:
            yield "account", "a local server gets a secret as a variable, and no accounts"
        if not self.command:
            yield "command", "command is missing: the program and its arguments"

    def _faults_of_system(self) -> Iterator[tuple[str, str]]:
        if not self.urls:
            yield "urls", "urls or url is missing"
        if self.oauth_scopes and not self.account:
            yield "oauth_scopes", "only accounts have scopes: say whose account calls use"
        for key in ("command", "environment", "secret_variable", "per_agent"):
            if getattr(self, key):
                yield key, "only a local server (kind stdio) has this"

    def over(self, before: Self | None) -> Self:
        """A connector that is there keeps the time it has; a new one gets the default."""
        enabled, timeout = self.enabled, self.timeout_seconds
        tools = {tool.name: tool for tool in (*(before.tools if before is not None else ()), *self.tools)}
        if before is not None:
            enabled = before.enabled if enabled is None else enabled
            timeout = timeout or before.timeout_seconds
        elif timeout is None:
            timeout = DEFAULT_TIMEOUT_SECONDS
        in_order = tuple(tools[name] for name in sorted(tools))
        off = False if enabled is False else None
        return replace(self, enabled=off, timeout_seconds=timeout, tools=in_order)

    def switched_off(self) -> tuple[str, str]:
        return ("enabled", "disabled") if self.enabled is False else ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsEntry:
    connector: str = of(NAME_TEXT)
    allow: tuple[str, ...] = of(GLOBS, ("*",))
    deny: tuple[str, ...] = of(GLOBS, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionEntry(Entry):
    """How long evidence is kept; 0 days are for ever."""

    name: str = of(NAME_TEXT)
    payload_days: int = of(Number(0, MOST_DAYS, is_whole=True), 400)
    header_days: int = of(Number(0, MOST_DAYS, is_whole=True), 0)
    default: bool = of(Flag(), False)


SELECTABLE = ("tools", "resources", "prompts")
_SELECTED = ListOf(Record(ToolsEntry), is_set=True, order=lambda entry: (entry.connector, entry.allow, entry.deny))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleEntry(Entry):
    """Tools, resources (by URI) and prompts are selected alike; what is not selected is not given."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    inherits: tuple[str, ...] = of(NAMES, ())
    tools: tuple[ToolsEntry, ...] = of(_SELECTED, ())
    resources: tuple[ToolsEntry, ...] = of(_SELECTED, ())
    prompts: tuple[ToolsEntry, ...] = of(_SELECTED, ())
    names: str = of(Choice(("plain", "prefixed")), "")
    policies: tuple[str, ...] = of(NAMES, ())
    recording: str = of(Choice(("full", "metadata")), "full")
    retention: str = of(NAME_TEXT, "")

    def references(self) -> Iterator[Reference]:
        if self.retention:
            yield Reference("retention", "retention", self.retention)
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
class AgentEntry(Entry):
    """`status` is None for a live agent; in a file, left out leaves it as it is."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    owner: str = of(EMAIL)
    roles: tuple[str, ...] = of(NAMES, ())
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
    """How much may be used: requests and bytes in a window, calls running at once; with `labels` only by runs that have
    met any of them."""

    name: str = of(NAME_TEXT)
    per: str = of(Choice(("agent", "team", "tool", "everybody")), "agent")
    tools: tuple[str, ...] = of(ListOf(Text(200), at_least=1), ("*",))
    labels: tuple[str, ...] = of(ListOf(LABEL, is_set=True), ())
    window_seconds: int = of(Number(1, 86_400, is_whole=True), 60)
    requests: int | None = of(AMOUNT, None)
    bytes: int | None = of(Number(1, 2**53, is_whole=True), None)
    running: int | None = of(AMOUNT, None)
    enabled: bool = of(Flag(), True)

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.requests is None and self.bytes is None and self.running is None:
            yield "requests", "write how many requests, how many bytes or how many running calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationEntry(Entry):
    """A way beside e-mail to tell people that something waits for them."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    kind: str = of(Choice(("slack", "webhook")))
    url: str = of(Text(500, check=check_url), "")
    target: str = of(Text(100), "")
    secret: str = of(NAME_TEXT, "")
    signing_secret: str = of(NAME_TEXT, "")
    teams: tuple[str, ...] = of(NAMES, ())
    allows_decisions: bool = of(Flag(), False)
    enabled: bool = of(Flag(), True)

    def references(self) -> Iterator[Reference]:
        for key in ("secret", "signing_secret"):
            if name := getattr(self, key):
                yield Reference(key, "secrets", name)
        yield from (Reference("teams", "teams", name) for name in self.teams)

    def faults(self) -> Iterator[tuple[str, str]]:
        yield from channel_faults(
            self.kind,
            url=self.url,
            target=self.target,
            has_secret=bool(self.secret),
            has_signing_secret=bool(self.signing_secret),
            allows_decisions=self.allows_decisions,
        )


def channel_faults(
    kind: str, *, url: str, target: str, has_secret: bool, has_signing_secret: bool, allows_decisions: bool
) -> Iterator[tuple[str, str]]:
    """What a channel of notifications lacks, by member."""
    if kind == "webhook":
        if not url:
            yield "url", "a webhook needs its address"
        if not has_secret:
            yield "secret", "a webhook is signed: name the secret that holds its key"
        if allows_decisions:
            yield "allows_decisions", "only in Slack can people decide"
    else:
        yield from _slack_faults(url, target, has_secret)
        if allows_decisions and not has_signing_secret:
            yield "signing_secret", "decisions in the chat need the secret by which Slack signs"


def _slack_faults(url: str, target: str, has_secret: bool) -> Iterator[tuple[str, str]]:
    if url and not is_slack(url):
        yield "url", "the bot's token goes there: only to slack.com or slack-gov.com"
    if not target:
        yield "target", "name the channel, e.g. C0123456789"
    if not has_secret:
        yield "secret", "name the secret that holds the bot's token"
