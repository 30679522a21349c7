"""Carries a plan out, inside the caller's one governed transaction, with one fact of evidence for each step."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance import models
from governance.agent_keys import retire_agent
from governance.bundles import publish_bundle, withdraw_bundle
from governance.canaries import plant
from governance.detection_rules import switch_off, switch_on
from governance.facts import Fact, Recorder
from governance.manifest.content_entries import CanaryEntry, DataClassEntry, DetectionOffEntry, class_columns
from governance.manifest.detector_entries import DetectorEntry, detector_columns
from governance.manifest.entries import (
    ATTRIBUTES,
    SELECTABLE,
    AgentEntry,
    BundleEntry,
    ConnectorEntry,
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
    organization_columns,
)
from governance.manifest.issuer_entries import IssuerEntry, issuer_columns
from governance.manifest.plan import ORDER, Step
from governance.manifest.prepare import Prepared
from governance.manifest.rule_entries import PolicyEntry, ReactionEntry, RoleEntry, RuleEntry, Schedule, ScopeEntry
from governance.manifest.schema import LABELS
from governance.manifest.sink_entries import SinkEntry, sink_columns
from governance.manifest.values import SecretValue
from governance.policies import publish_policy, withdraw_policy
from governance.registry import Catalogue, register
from governance.second_person import note_switch
from governance.snapshot_builder import read_epoch
from governance.vault import put_secret_value

PAST = {
    "create": "created",
    "update": "changed",
    "remove": "removed",
    "deactivate": "deactivated",
    "retire": "retired",
    "disable": "disabled",
    "withdraw": "withdrawn",
}


class Overtaken(Exception):
    """Something governed changed since the plan was drawn; draw it again."""


@dataclass(frozen=True, slots=True)
class Work:
    """What every step may need."""

    by: str
    record: Recorder
    now: datetime
    values: Mapping[str, SecretValue]
    unchecked: Mapping[str, frozenset[int]]
    is_manifest: bool

    @property
    def publishing(self) -> dict[str, Any]:
        return {"by": self.by, "record": self.record, "is_manifest": self.is_manifest}


def carry_out(
    prepared: Prepared,
    *,
    values: Mapping[str, SecretValue],
    catalogues: Mapping[str, Catalogue],
    by: str,
    record: Recorder,
    now: datetime,
    is_manifest: bool,
) -> None:
    """`is_manifest`: it was reviewed where it is kept, so that nobody has to review it here. Raises Overtaken when the
    plan no longer fits what is stored, and Refused where somebody has to review it first."""
    if read_epoch() != prepared.epoch:
        raise Overtaken
    plan = prepared.plan
    work = Work(by, record, now, values, plan.unchecked, is_manifest)
    for kind in ORDER:
        _WRITERS[kind]([step for step in plan.steps if step.kind == kind and step.after is not None], work)
    _write_shifts(step for step in plan.steps if isinstance(step.after, TeamEntry))
    for step in plan.steps:
        if step.after is None:
            _remove(step, work)
    for step in plan.steps:
        record(_fact(step))
    take_in(catalogues, by=by, record=record, now=now)


def take_in(catalogues: Mapping[str, Catalogue], *, by: str, record: Recorder, now: datetime) -> None:
    """Registers what each connector's upstream answered, or notes why it did not."""
    for connector in models.Connector.objects.filter(name__in=catalogues):
        register(connector, catalogues[connector.name], by=by, record=record, now=now)


def _fact(step: Step) -> Fact:
    label = LABELS[step.kind]
    details = {key: value for key, value in step.as_json().items() if key in ("before", "after", "notes")}
    return Fact(f"{label}.{PAST[step.action]}", f"{label}:{step.key}", details)


def _rows(model: type[Any], names: Iterable[str]) -> dict[str, Any]:
    return {row.name: row for row in model.objects.filter(name__in=list(names))}


def _ensure(model: type[Any], steps: Iterable[Step]) -> dict[str, Any]:
    """The rows of the steps' entries, created bare where they are new, so that they may refer to each other."""
    names = [step.key for step in steps]
    rows = _rows(model, names)
    return rows | {name: model.objects.create(name=name) for name in names if name not in rows}


def _update(row: Any, **fields: Any) -> None:
    """Writes only these columns, and only if one differs."""
    if any(getattr(row, name) != value for name, value in fields.items()):
        type(row).objects.filter(pk=row.pk).update(**fields)


def _write_policies(steps: list[Step], work: Work) -> None:
    rows = _ensure(models.Policy, steps)
    for step in steps:
        entry, before, row = step.after, step.before, rows[step.key]
        assert isinstance(entry, PolicyEntry)
        _update(row, title=entry.title)
        unchecked = work.unchecked.get(step.key, frozenset())
        if isinstance(before, PolicyEntry) and (before.rules, before.tests) == (entry.rules, entry.tests):
            _mark_checked(row, unchecked)
        else:
            rules = rule_rows(entry, unchecked=unchecked)
            publish_policy(row, rules=rules, tests=entry.plain_tests(), **work.publishing)


def rule_rows(entry: PolicyEntry, *, unchecked: Collection[int]) -> list[models.Rule]:
    """Not stored; `unchecked` are the places, from 0, of rules that could not be held against the tools."""
    return [_rule(rule, is_checked=index not in unchecked) for index, rule in enumerate(entry.rules)]


def _rule(entry: RuleEntry, *, is_checked: bool) -> models.Rule:
    return models.Rule(
        effect=entry.effect,
        tools=list(entry.tools),
        connectors=list(entry.connectors),
        data_classes=list(entry.data_classes),
        risks=list(entry.risks),
        access=entry.access,
        on=entry.on,
        condition=entry.when,
        findings=list(entry.findings),
        on_failure=entry.on_failure,
        fields=list(entry.fields),
        reversible=entry.reversible,
        keep_last=entry.keep_last,
        approvers=dict(entry.approvers or {}),
        reason=entry.reason,
        is_checked=is_checked,
    )


def _mark_checked(policy: models.Policy, unchecked: frozenset[int]) -> None:
    rules = models.Rule.objects.filter(version__policy=policy, version__state="published").order_by("position")
    for index, rule in enumerate(rules):
        _update(rule, is_checked=index not in unchecked)


def _write_organization(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, OrganizationEntry)
        row = models.Organization.objects.first() or models.Organization.objects.create(name=entry.name)
        columns = organization_columns(entry)
        was_required, is_required = row.requires_review, columns["requires_review"]
        _update(row, **columns)
        note_switch(was_required=was_required, is_required=is_required, record=work.record)
        row.policies.set(_rows(models.Policy, entry.policies).values())


def _write_teams(steps: list[Step], work: Work) -> None:
    rows = _ensure(models.Team, steps)
    for step in steps:
        entry, row = step.after, rows[step.key]
        assert isinstance(entry, TeamEntry)
        parent = models.Team.objects.get(name=entry.parent) if entry.parent else None
        _update(row, title=entry.title, parent=parent, attributes=ATTRIBUTES.dump(entry.attributes))
        row.policies.set(_rows(models.Policy, entry.policies).values())


def _write_shifts(steps: Iterable[Step]) -> None:
    """After the people, whom they name."""
    for step in steps:
        assert isinstance(step.after, TeamEntry)
        team = models.Team.objects.get(name=step.key)
        wanted = set(step.after.on_call or ())
        for row in models.OnCallShift.objects.filter(team=team).select_related("person"):
            shift = ShiftEntry(person=row.person.email.lower(), starts_at=row.starts_at, ends_at=row.ends_at)
            if shift in wanted:
                wanted.remove(shift)
            else:
                row.delete()
        for shift in sorted(wanted):
            person = models.User.objects.get(email__iexact=shift.person)
            models.OnCallShift.objects.create(
                team=team, person=person, starts_at=shift.starts_at, ends_at=shift.ends_at
            )


def _write_people(steps: list[Step], work: Work) -> None:
    rows = {step.key: _person(step.key) for step in steps}
    for step in steps:
        entry, row = step.after, rows[step.key]
        assert isinstance(entry, PersonEntry)
        _update(
            row,
            name=entry.name,
            is_staff=entry.staff,
            duties=list(entry.duties),
            manager=_person_called(entry.manager),
            same_as=_person_called(entry.same_as),
            is_active=not entry.is_deactivated,
        )
        row.teams.set(_rows(models.Team, entry.teams).values())


def _person_called(email: str) -> models.User | None:
    return models.User.objects.get(email__iexact=email) if email else None


def _person(email: str) -> models.User:
    return models.User.objects.filter(email__iexact=email).first() or models.User.objects.create_user(email)


def _write_secrets(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, SecretEntry)
        fields = {"kind": entry.kind, "header_name": entry.header, "description": entry.description}
        row, _ = models.Secret.objects.get_or_create(name=entry.name, defaults=fields)
        _update(row, **fields)
        if step.notes and entry.name in work.values:
            row.refresh_from_db()
            put_secret_value(row, value=work.values[entry.name].text, by=work.by, record=work.record, now=work.now)


def _write_connectors(steps: list[Step], work: Work) -> None:
    rows = _ensure(models.Connector, steps)
    for step in steps:
        entry = step.after
        assert isinstance(entry, ConnectorEntry)
        _update(
            rows[step.key],
            title=entry.title,
            kind=entry.kind,
            urls=list(entry.urls),
            secret=_secret_called(entry.secret),
            account=entry.account,
            oauth_scopes=list(entry.oauth_scopes),
            new_tools=entry.new_tools,
            timeout_seconds=entry.timeout_seconds,
            relays=list(entry.relays),
            max_running=entry.max_running,
            max_waiting=entry.max_waiting,
            command=list(entry.command),
            environment=dict(entry.environment),
            secret_variable=entry.secret_variable,
            per_agent=entry.per_agent,
            memory_mb=entry.memory_mb,
            owner=_person_called(entry.owner),
            stage=entry.stage,
            is_enabled=entry.enabled is not False,
        )
        _classify(rows[step.key], entry.tools, now=work.now)


def _classify(connector: models.Connector, tools: Iterable[ToolEntry], *, now: datetime) -> None:
    """Of a tool that its upstream has not offered yet, too: then it counts from its first call on."""
    for entry in tools:
        row, _ = models.Tool.objects.get_or_create(connector=connector, name=entry.name)
        _update(
            row,
            risk=entry.risk,
            is_read_only=entry.read_only,
            data_classes=list(entry.data_classes),
            is_untrusted=entry.untrusted,
            is_egress=entry.egress,
            undo=entry.undo,
            classified_at=row.classified_at or now,
        )


def _write_bundles(steps: list[Step], work: Work) -> None:
    rows = _ensure(models.Bundle, steps)
    for step in steps:
        entry = step.after
        assert isinstance(entry, BundleEntry)
        kept = models.RetentionClass.objects.get(name=entry.retention) if entry.retention else None
        _update(rows[step.key], title=entry.title, retention=kept)
        if not (isinstance(step.before, BundleEntry) and _gives_same(step.before, entry)):
            _publish(rows[step.key], entry, work)


def _write_retention(steps: list[Step], work: Work) -> None:
    """Of two defaults the one that goes must go first."""
    entries = [step.after for step in steps if isinstance(step.after, RetentionEntry)]
    for entry in sorted(entries, key=lambda each: each.default):
        if entry.default:
            models.RetentionClass.objects.exclude(name=entry.name).filter(is_default=True).update(is_default=False)
        days = {"payload_days": entry.payload_days, "header_days": entry.header_days}
        row, _ = models.RetentionClass.objects.get_or_create(name=entry.name, defaults=days)
        _update(row, **days, is_default=entry.default, pruned_to=0)


def _gives_same(before: BundleEntry, after: BundleEntry) -> bool:
    fields = ("inherits", *SELECTABLE, "names", "policies", "recording")
    return all(getattr(before, name) == getattr(after, name) for name in fields)


def _publish(bundle: models.Bundle, entry: BundleEntry, work: Work) -> None:
    publish_bundle(
        bundle,
        **bundle_parts(entry),
        names=entry.names,
        recording=entry.recording,
        **work.publishing,
    )


def bundle_parts(entry: BundleEntry) -> dict[str, Any]:
    """What a version of the bundle consists of: its `tools` and `selections`, not stored, its `parents` and
    `policies`."""
    chosen = (*entry.tools, *entry.resources, *entry.prompts)
    connectors = _rows(models.Connector, (each.connector for each in chosen))

    def row(selected: ToolsEntry) -> dict[str, Any]:
        globs = {"allow": list(selected.allow), "deny": list(selected.deny)}
        return {"connector": connectors[selected.connector], **globs}

    return {
        "tools": [models.BundleTool(**row(each)) for each in entry.tools],
        "selections": [
            *(models.BundleSelection(kind="resource", **row(each)) for each in entry.resources),
            *(models.BundleSelection(kind="prompt", **row(each)) for each in entry.prompts),
        ],
        "parents": _rows(models.Bundle, entry.inherits).values(),
        "policies": _rows(models.Policy, entry.policies).values(),
    }


def _write_roles(steps: list[Step], work: Work) -> None:
    rows = _ensure(models.Role, steps)
    for step in steps:
        entry, row = step.after, rows[step.key]
        assert isinstance(entry, RoleEntry)
        schedule = _schedule(entry.schedule) if entry.schedule else {}
        _update(row, title=entry.title, starts_at=entry.starts_at, ends_at=entry.ends_at, schedule=schedule)
        _update(row, scopes=[_scope(scope) for scope in entry.scopes])
        row.bundles.set(_rows(models.Bundle, entry.bundles).values())
        row.teams.set(_rows(models.Team, entry.teams).values())
        row.people.set(models.User.objects.get(email__iexact=email) for email in entry.people)


def _schedule(entry: Schedule) -> dict[str, Any]:
    days = {"days": list(entry.days)} if entry.days else {}
    holidays = {} if entry.holidays else {"holidays": False}
    return {**days, "from": entry.opens, "to": entry.closes, **holidays}


def _scope(entry: ScopeEntry) -> dict[str, Any]:
    return {"tools": list(entry.tools), "when": entry.when, "text": entry.text}


def _write_agents(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, AgentEntry)
        owner = models.User.objects.get(email__iexact=entry.owner)
        row, _ = models.Agent.objects.get_or_create(name=entry.name, defaults={"owner": owner})
        _update(row, title=entry.title, purpose=entry.purpose, owner=owner)
        row.roles.set(_rows(models.Role, entry.roles).values())
        _write_status(row, entry.status or models.Agent.Status.LIVE, work)


def _write_status(agent: models.Agent, status: str, work: Work) -> None:
    if status == models.Agent.Status.RETIRED and agent.status != status:
        retire_agent(agent, by=work.by, record=work.record, now=work.now)
    else:
        _update(agent, status=status)


def _write_limits(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, LimitEntry)
        fields = limit_columns(entry)
        row, _ = models.RateLimit.objects.get_or_create(name=entry.name, defaults=fields)
        _update(row, **fields)


def limit_columns(entry: LimitEntry) -> dict[str, Any]:
    return {
        "per": entry.per,
        "tools": list(entry.tools),
        "labels": list(entry.labels),
        "window_seconds": entry.window_seconds,
        "max_requests": entry.requests,
        "max_bytes": entry.bytes,
        "max_running": entry.running,
        "is_enabled": entry.enabled,
    }


def _write_reactions(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, ReactionEntry)
        fields = {
            "title": entry.title,
            "trigger": entry.trigger,
            "count": entry.count,
            "minutes": entry.minutes,
            "findings": list(entry.findings),
            "action": entry.action,
            "lasting_minutes": entry.lasting_minutes,
            "approvers": dict(entry.approvers or {}),
            "is_enabled": entry.enabled,
        }
        row, _ = models.Reaction.objects.get_or_create(name=entry.name, defaults=fields)
        _update(row, **fields)


def _write_data_classes(steps: list[Step], work: Work) -> None:
    for step in steps:
        assert isinstance(step.after, DataClassEntry)
        row = models.DataClass.objects.filter(name=step.key).first() or models.DataClass(name=step.key)
        for column, value in class_columns(step.after).items():
            setattr(row, column, value)
        row.save()


def _write_detectors(steps: list[Step], work: Work) -> None:
    for step in steps:
        assert isinstance(step.after, DetectorEntry)
        row = models.ExternalDetector.objects.filter(name=step.key).first() or models.ExternalDetector(name=step.key)
        for column, value in detector_columns(step.after).items():
            setattr(row, column, value)
        row.secret = _secret_called(step.after.secret)
        row.save()


def _write_canaries(steps: list[Step], work: Work) -> None:
    """What is planted stays as it is; only what is said of it changes."""
    for step in steps:
        assert isinstance(step.after, CanaryEntry)
        row = models.Canary.objects.filter(name=step.key).first()
        if row is not None:
            _update(row, planted_in=step.after.planted_in)
            continue
        row = models.Canary(
            name=step.key, kind=step.after.kind, place=step.after.place, planted_in=step.after.planted_in
        )
        plant(row, by=work.by, record=work.record, now=work.now)


def _write_detection_off(steps: list[Step], work: Work) -> None:
    """The plan knows the rules; only owners apply manifests."""
    for step in steps:
        assert isinstance(step.after, DetectionOffEntry)
        rule, reason = step.key, step.after.reason
        if step.before is None:
            given: dict[str, Any] = {"by": work.by, "record": work.record, "now": work.now}
            switch_off(rule, known=(rule,), reason=reason, is_owner=True, **given)
        else:
            _update(models.DetectionOff.objects.get(rule=rule), reason=reason)


def _write_notifications(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, NotificationEntry)
        fields = {
            "title": entry.title,
            "kind": entry.kind,
            "url": entry.url,
            "target": entry.target,
            "secret": _secret_called(entry.secret),
            "signing_secret": _secret_called(entry.signing_secret),
            "allows_decisions": entry.allows_decisions,
            "is_enabled": entry.enabled,
        }
        row, _ = models.NotificationChannel.objects.get_or_create(name=entry.name, defaults=fields)
        _update(row, **fields)
        row.teams.set(_rows(models.Team, entry.teams).values())


def _write_issuers(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, IssuerEntry)
        directory = models.Directory.objects.get(name=entry.directory) if entry.directory else None
        referred = {"directory": directory, "poll_secret": _secret_called(entry.poll_secret)}
        fields = {**issuer_columns(entry), **referred}
        row, _ = models.TrustedIssuer.objects.get_or_create(name=entry.name, defaults=fields)
        _update(row, **fields)


def _write_sinks(steps: list[Step], work: Work) -> None:
    for step in steps:
        entry = step.after
        assert isinstance(entry, SinkEntry)
        fields = {**sink_columns(entry), "secret": _secret_called(entry.secret)}
        row, _ = models.Sink.objects.get_or_create(name=entry.name, defaults=fields)
        _update(row, **fields)


def _secret_called(name: str) -> models.Secret | None:
    return models.Secret.objects.get(name=name) if name else None


def _remove(step: Step, work: Work) -> None:
    """Nothing that stays refers to it: the plan would have been refused."""
    if step.kind == "bundles":
        withdraw_bundle(models.Bundle.objects.get(name=step.key), record=work.record)
    elif step.kind == "policies":
        withdraw_policy(models.Policy.objects.get(name=step.key), record=work.record)
    elif step.kind == "detection_off":
        switch_on(step.key, by=work.by, record=work.record, now=work.now)
    elif step.kind == "teams":
        models.Team.objects.filter(parent__name=step.key).update(parent=None)
        models.Team.objects.get(name=step.key).delete()
    else:
        if step.kind == "retention":
            models.Bundle.objects.filter(retention__name=step.key).update(retention=None)
        _REMOVABLE[step.kind].objects.get(name=step.key).delete()


_REMOVABLE: Mapping[str, type[Any]] = {
    "retention": models.RetentionClass,
    "roles": models.Role,
    "secrets": models.Secret,
    "limits": models.RateLimit,
    "reactions": models.Reaction,
    "data_classes": models.DataClass,
    "detectors": models.ExternalDetector,
    "canaries": models.Canary,
    "notifications": models.NotificationChannel,
}

_WRITERS: Mapping[str, Callable[[list[Step], Work], None]] = {
    "policies": _write_policies,
    "organization": _write_organization,
    "teams": _write_teams,
    "people": _write_people,
    "secrets": _write_secrets,
    "connectors": _write_connectors,
    "retention": _write_retention,
    "bundles": _write_bundles,
    "roles": _write_roles,
    "agents": _write_agents,
    "limits": _write_limits,
    "reactions": _write_reactions,
    "data_classes": _write_data_classes,
    "detectors": _write_detectors,
    "canaries": _write_canaries,
    "detection_off": _write_detection_off,
    "notifications": _write_notifications,
    "issuers": _write_issuers,
    "sinks": _write_sinks,
}
