"""What the database holds, in the manifest's own shapes. Values of secrets stay in the vault."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.db.models import Prefetch

from governance import models
from governance.manifest.common import Entry
from governance.manifest.content_entries import CanaryEntry, DetectionOffEntry, stored_class
from governance.manifest.detector_entries import stored_detector
from governance.manifest.entries import (
    AgentEntry,
    BundleEntry,
    BusinessHours,
    ConnectorEntry,
    Holiday,
    LimitEntry,
    NotificationEntry,
    OrganizationEntry,
    PersonEntry,
    RetentionEntry,
    SecretEntry,
    ShiftEntry,
    TeamEntry,
    ToolEntry,
    ToolsEntry,
    rotation_of,
)
from governance.manifest.issuer_entries import stored_issuer
from governance.manifest.rule_entries import (
    RISKS,
    PolicyEntry,
    ReactionEntry,
    RoleEntry,
    RuleEntry,
    Schedule,
    ScopeEntry,
    read_case,
    stored_approvers,
)
from governance.manifest.schema import Manifest
from governance.manifest.sink_entries import stored_sink


def stored_manifest() -> Manifest:
    """Everything a manifest can say of this installation, in the order of its sections."""
    return Manifest({kind: tuple(entries()) for kind, entries in _READERS.items()})


def _organization() -> Iterator[Entry]:
    for row in models.Organization.objects.prefetch_related("policies"):
        yield OrganizationEntry(
            name=row.name,
            timezone=row.timezone,
            business_hours=_business_hours(row.business_hours) if row.business_hours else None,
            holidays=tuple(sorted(Holiday(date=day["date"], name=day.get("name", "")) for day in row.holidays)),
            networks=_lists(row.networks),
            review="required" if row.requires_review else "optional",
            agents_may_ask=row.agents_may_ask,
            rotation=rotation_of(row),
            client_hosts=tuple(sorted(row.client_hosts)),
            clients_may_register=row.clients_may_register,
            policies=_names(row.policies.all()),
        )


def _business_hours(stored: Mapping[str, Any]) -> BusinessHours:
    return BusinessHours(days=tuple(stored["days"]), opens=stored["from"], closes=stored["to"])


def _lists(stored: Mapping[str, Iterable[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((name, tuple(sorted(values))) for name, values in stored.items()))


def _teams() -> Iterator[Entry]:
    parts = ("policies", "shifts__person")
    for row in models.Team.objects.select_related("parent").prefetch_related(*parts).order_by("name"):
        yield TeamEntry(
            name=row.name,
            title=row.title,
            parent=row.parent.name if row.parent else "",
            policies=_names(row.policies.all()),
            attributes=_lists(row.attributes),
            on_call=tuple(sorted(_shift(shift) for shift in row.shifts.all())) or None,
        )


def _shift(row: models.OnCallShift) -> ShiftEntry:
    return ShiftEntry(person=row.person.email.lower(), starts_at=row.starts_at, ends_at=row.ends_at)


def _people() -> Iterator[Entry]:
    rows = models.User.objects.select_related("manager", "same_as").prefetch_related("teams")
    for row in rows.order_by("email"):
        yield PersonEntry(
            email=row.email.lower(),
            name=row.name,
            teams=_names(row.teams.all()),
            manager=row.manager.email.lower() if row.manager else "",
            same_as=row.same_as.email.lower() if row.same_as else "",
            staff=row.is_staff,
            duties=tuple(sorted(row.duties)),
            active=None if row.is_active else False,
            is_owner=row.is_owner,
        )


def _secrets() -> Iterator[Entry]:
    for row in models.Secret.objects.order_by("name"):
        yield SecretEntry(name=row.name, kind=row.kind, header=row.header_name, description=row.description)


def _connectors() -> Iterator[Entry]:
    tools = _classified()
    for row in models.Connector.objects.select_related("secret", "owner").order_by("name"):
        yield ConnectorEntry(
            name=row.name,
            title=row.title,
            kind=row.kind,
            urls=tuple(row.urls),
            secret=row.secret.name if row.secret else "",
            account=row.account,
            oauth_scopes=tuple(sorted(row.oauth_scopes)),
            new_tools=row.new_tools,
            timeout_seconds=row.timeout_seconds,
            relays=tuple(sorted(row.relays)),
            max_running=row.max_running,
            max_waiting=row.max_waiting,
            command=tuple(row.command),
            environment=tuple(sorted(row.environment.items())),
            secret_variable=row.secret_variable,
            per_agent=row.per_agent,
            memory_mb=row.memory_mb,
            owner=row.owner.email.lower() if row.owner else "",
            stage=row.stage,
            tools=tuple(tools[row.id]),
            enabled=None if row.is_enabled else False,
        )


def _classified() -> dict[Any, list[ToolEntry]]:
    """Connector id -> the tools of which somebody has said something."""
    unsaid: dict[str, Any] = {
        "classified_at": None,
        "risk": models.Tool.Risk.MEDIUM,
        "is_read_only": False,
        "data_classes": [],
        "is_untrusted": False,
        "is_egress": False,
        "undo": "",
    }
    found: dict[Any, list[ToolEntry]] = defaultdict(list)
    for row in models.Tool.objects.exclude(**unsaid).order_by("name"):
        found[row.connector_id].append(
            ToolEntry(
                name=row.name,
                risk=row.risk,
                read_only=row.is_read_only,
                data_classes=tuple(sorted(row.data_classes)),
                untrusted=row.is_untrusted,
                egress=row.is_egress,
                undo=row.undo,
            )
        )
    return found


def _policies() -> Iterator[Entry]:
    in_order = Prefetch("rules", models.Rule.objects.order_by("position"))
    versions = models.PolicyVersion.objects.filter(state="published").select_related("policy")
    for row in versions.prefetch_related(in_order).order_by("policy__name"):
        rules = list(row.rules.all())
        yield PolicyEntry(
            name=row.policy.name,
            title=row.policy.title,
            rules=tuple(rule_entry(rule) for rule in rules),
            tests=tuple(read_case(test) for test in row.tests),
            unchecked=frozenset(index for index, rule in enumerate(rules) if not rule.is_checked),
        )


def rule_entry(row: models.Rule) -> RuleEntry:
    return RuleEntry(
        effect=row.effect,
        tools=tuple(row.tools),
        connectors=tuple(sorted(row.connectors)),
        data_classes=tuple(sorted(row.data_classes)),
        risks=tuple(sorted(row.risks, key=RISKS.index)),
        access=row.access,
        on=row.on,
        when=row.condition,
        findings=tuple(sorted(row.findings)),
        on_failure=row.on_failure,
        fields=tuple(sorted(row.fields)),
        reversible=row.reversible,
        keep_last=row.keep_last,
        approvers=stored_approvers(row.approvers),
        reason=row.reason,
    )


def _bundles() -> Iterator[Entry]:
    versions = models.BundleVersion.objects.filter(state="published").select_related("bundle__retention")
    parts = ("parents", "policies", "tools__connector", "selections__connector")
    for row in versions.prefetch_related(*parts).order_by("bundle__name"):
        selections = list(row.selections.all())
        yield BundleEntry(
            name=row.bundle.name,
            title=row.bundle.title,
            inherits=_names(row.parents.all()),
            tools=_selected(row.tools.all()),
            resources=_selected(entry for entry in selections if entry.kind == "resource"),
            prompts=_selected(entry for entry in selections if entry.kind == "prompt"),
            names=row.names,
            policies=_names(row.policies.all()),
            recording=row.recording,
            retention=row.bundle.retention.name if row.bundle.retention else "",
        )


def _retention() -> Iterator[Entry]:
    for row in models.RetentionClass.objects.order_by("name"):
        yield RetentionEntry(
            name=row.name, payload_days=row.payload_days, header_days=row.header_days, default=row.is_default
        )


def _selected(rows: Iterable[Any]) -> tuple[ToolsEntry, ...]:
    entries = (ToolsEntry(connector=row.connector.name, allow=tuple(row.allow), deny=tuple(row.deny)) for row in rows)
    return tuple(sorted(entries, key=lambda entry: entry.connector))


def _roles() -> Iterator[Entry]:
    for row in models.Role.objects.prefetch_related("bundles", "teams", "people").order_by("name"):
        yield RoleEntry(
            name=row.name,
            title=row.title,
            bundles=_names(row.bundles.all()),
            teams=_names(row.teams.all()),
            people=tuple(sorted(person.email.lower() for person in row.people.all())),
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            schedule=_schedule(row.schedule) if row.schedule else None,
            scopes=tuple(_scope(scope) for scope in row.scopes),
        )


def _schedule(stored: Mapping[str, Any]) -> Schedule:
    return Schedule(
        days=tuple(stored.get("days") or ()),
        opens=stored["from"],
        closes=stored["to"],
        holidays=stored.get("holidays", True),
    )


def _scope(stored: Mapping[str, Any]) -> ScopeEntry:
    return ScopeEntry(tools=tuple(stored["tools"]), when=stored["when"], text=stored.get("text", ""))


def _agents() -> Iterator[Entry]:
    roles: dict[Any, list[str]] = defaultdict(list)
    held = models.Role.agents.through.objects.values_list("agent_id", "role__name")
    for agent, role in held:
        roles[agent].append(role)
    for row in models.Agent.objects.select_related("owner").order_by("name"):
        yield AgentEntry(
            name=row.name,
            title=row.title,
            owner=row.owner.email.lower(),
            roles=tuple(sorted(roles[row.id])),
            purpose=row.purpose,
            status=None if row.status == models.Agent.Status.LIVE else row.status,
        )


def _limits() -> Iterator[Entry]:
    for row in models.RateLimit.objects.order_by("name"):
        yield LimitEntry(
            name=row.name,
            per=row.per,
            tools=tuple(row.tools),
            labels=tuple(sorted(set(row.labels))),
            window_seconds=row.window_seconds,
            requests=row.max_requests,
            bytes=row.max_bytes,
            running=row.max_running,
            enabled=row.is_enabled,
        )


def _reactions() -> Iterator[Entry]:
    for row in models.Reaction.objects.order_by("name"):
        yield ReactionEntry(
            name=row.name,
            title=row.title,
            trigger=row.trigger,
            count=row.count,
            minutes=row.minutes,
            findings=tuple(sorted(row.findings)),
            action=row.action,
            lasting_minutes=row.lasting_minutes,
            approvers=stored_approvers(row.approvers),
            enabled=row.is_enabled,
        )


def _data_classes() -> Iterator[Entry]:
    yield from map(stored_class, models.DataClass.objects.order_by("name"))


def _detectors() -> Iterator[Entry]:
    rows = models.ExternalDetector.objects.select_related("secret").order_by("name")
    yield from map(stored_detector, rows)


def _canaries() -> Iterator[Entry]:
    for row in models.Canary.objects.order_by("name"):
        yield CanaryEntry(name=row.name, kind=row.kind, place=row.place, planted_in=row.planted_in)


def _detection_off() -> Iterator[Entry]:
    for rule, reason in models.DetectionOff.objects.order_by("rule").values_list("rule", "reason"):
        yield DetectionOffEntry(rule=rule, reason=reason)


def _notifications() -> Iterator[Entry]:
    rows = models.NotificationChannel.objects.select_related("secret", "signing_secret").prefetch_related("teams")
    for row in rows.order_by("name"):
        yield NotificationEntry(
            name=row.name,
            title=row.title,
            kind=row.kind,
            url=row.url,
            target=row.target,
            secret=row.secret.name if row.secret else "",
            signing_secret=row.signing_secret.name if row.signing_secret else "",
            teams=_names(row.teams.all()),
            allows_decisions=row.allows_decisions,
            enabled=row.is_enabled,
        )


def _issuers() -> Iterator[Entry]:
    rows = models.TrustedIssuer.objects.select_related("directory", "poll_secret").order_by("name")
    yield from (stored_issuer(row) for row in rows)


def _sinks() -> Iterator[Entry]:
    yield from (stored_sink(row) for row in models.Sink.objects.select_related("secret").order_by("name"))


def _names(rows: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted(row.name for row in rows))


_READERS: Mapping[str, Callable[[], Iterator[Entry]]] = {
    "organization": _organization,
    "teams": _teams,
    "people": _people,
    "secrets": _secrets,
    "connectors": _connectors,
    "policies": _policies,
    "retention": _retention,
    "bundles": _bundles,
    "roles": _roles,
    "agents": _agents,
    "limits": _limits,
    "reactions": _reactions,
    "data_classes": _data_classes,
    "detectors": _detectors,
    "canaries": _canaries,
    "detection_off": _detection_off,
    "notifications": _notifications,
    "issuers": _issuers,
    "sinks": _sinks,
}
