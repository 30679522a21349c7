"""What the database holds, in the manifest's own shapes. Values of secrets stay in the vault."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.db.models import Prefetch

from governance import models
from governance.manifest.schema import (
    AgentEntry,
    Approvers,
    BundleEntry,
    ConnectorEntry,
    Entry,
    LimitEntry,
    Manifest,
    OrganizationEntry,
    PersonEntry,
    PolicyEntry,
    RoleEntry,
    RuleEntry,
    Schedule,
    SecretEntry,
    TeamEntry,
    ToolsEntry,
)


def stored_manifest() -> Manifest:
    """Everything a manifest can say of this installation, in the order of its sections."""
    return Manifest({kind: tuple(entries()) for kind, entries in _READERS.items()})


def _organization() -> Iterator[Entry]:
    for row in models.Organization.objects.prefetch_related("policies"):
        yield OrganizationEntry(name=row.name, timezone=row.timezone, policies=_names(row.policies.all()))


def _teams() -> Iterator[Entry]:
    for row in models.Team.objects.select_related("parent").prefetch_related("policies").order_by("name"):
        parent = row.parent.name if row.parent else ""
        yield TeamEntry(name=row.name, title=row.title, parent=parent, policies=_names(row.policies.all()))


def _people() -> Iterator[Entry]:
    for row in models.User.objects.select_related("manager").prefetch_related("teams").order_by("email"):
        yield PersonEntry(
            email=row.email.lower(),
            name=row.name,
            teams=_names(row.teams.all()),
            manager=row.manager.email.lower() if row.manager else "",
            staff=row.is_staff,
            duties=tuple(sorted(row.duties)),
            active=None if row.is_active else False,
            is_owner=row.is_owner,
        )


def _secrets() -> Iterator[Entry]:
    for row in models.Secret.objects.order_by("name"):
        yield SecretEntry(name=row.name, kind=row.kind, header=row.header_name, description=row.description)


def _connectors() -> Iterator[Entry]:
    for row in models.Connector.objects.select_related("secret").order_by("name"):
        yield ConnectorEntry(
            name=row.name,
            title=row.title,
            kind=row.kind,
            urls=tuple(row.urls),
            secret=row.secret.name if row.secret else "",
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
            enabled=None if row.is_enabled else False,
        )


def _policies() -> Iterator[Entry]:
    in_order = Prefetch("rules", models.Rule.objects.order_by("position"))
    versions = models.PolicyVersion.objects.filter(state="published").select_related("policy")
    for row in versions.prefetch_related(in_order).order_by("policy__name"):
        rules = list(row.rules.all())
        yield PolicyEntry(
            name=row.policy.name,
            title=row.policy.title,
            rules=tuple(_rule(rule) for rule in rules),
            unchecked=frozenset(index for index, rule in enumerate(rules) if not rule.is_checked),
        )


def _rule(row: models.Rule) -> RuleEntry:
    return RuleEntry(
        effect=row.effect,
        tools=tuple(row.tools),
        on=row.on,
        when=row.condition,
        findings=tuple(sorted(row.findings)),
        approvers=Approvers(**row.approvers) if row.approvers else None,
        reason=row.reason,
    )


def _bundles() -> Iterator[Entry]:
    versions = models.BundleVersion.objects.filter(state="published").select_related("bundle")
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
        )


def _schedule(stored: Mapping[str, Any]) -> Schedule:
    return Schedule(days=tuple(stored.get("days") or ()), opens=stored["from"], closes=stored["to"])


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
            window_seconds=row.window_seconds,
            requests=row.max_requests,
            bytes=row.max_bytes,
            running=row.max_running,
            enabled=row.is_enabled,
        )


def _names(rows: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted(row.name for row in rows))


_READERS: Mapping[str, Callable[[], Iterator[Entry]]] = {
    "organization": _organization,
    "teams": _teams,
    "people": _people,
    "secrets": _secrets,
    "connectors": _connectors,
    "policies": _policies,
    "bundles": _bundles,
    "roles": _roles,
    "agents": _agents,
    "limits": _limits,
}
