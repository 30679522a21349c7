"""What rules are held against, read from the database: everything in force, and the tools as they are pinned."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from governance.data_classes import finding_names, sides_of_detectors
from governance.models import BundleVersion, Connector, Organization, PolicyVersion, Rule, Team, Tool, ToolDefinition
from governance.rule_texts import BundleText, RuleText, Selection, TeamText, ToolText, World
from governance.snapshot_rows.organization import calendar_of
from governance.time_of_day import Calendar


def read_world() -> World:
    return World(
        policies=_rules(),
        bundles={bundle.name: bundle for bundle in map(bundle_text, _published())},
        teams={team.name: _team(team) for team in Team.objects.select_related("parent").prefetch_related("policies")},
        organization=frozenset(Organization.objects.exclude(policies=None).values_list("policies__name", flat=True)),
        tools=known_tools(),
        calendar=organization_calendar(),
        own_findings=frozenset(finding_names()),
        sides=sides_of_detectors(),
    )


def organization_calendar() -> Calendar:
    row = Organization.objects.first()
    return calendar_of(row) if row is not None else Calendar()


def rule_text(row: Rule) -> RuleText:
    return RuleText(
        effect=row.effect,
        tools=tuple(row.tools),
        connectors=tuple(row.connectors),
        data_classes=tuple(row.data_classes),
        risks=tuple(row.risks),
        access=row.access,
        on=row.on,
        when=row.condition,
        findings=tuple(row.findings),
        on_failure=row.on_failure,
        fields=tuple(row.fields),
        reversible=row.reversible,
        keep_last=row.keep_last,
        approvers=row.approvers,
        reason=row.reason,
    )


def bundle_text(version: BundleVersion) -> BundleText:
    return BundleText(
        version.bundle.name,
        tuple(parent.name for parent in version.parents.all()),
        tuple(policy.name for policy in version.policies.all()),
        tuple(Selection(row.connector.name, tuple(row.allow), tuple(row.deny)) for row in version.tools.all()),
    )


def known_tools() -> dict[str, dict[str, ToolText]]:
    """By connector, of all that have been heard of."""
    seen = Connector.objects.exclude(last_seen_at=None).values_list("name", flat=True)
    known: dict[str, dict[str, ToolText]] = {name: {} for name in seen}
    pinned = ToolDefinition.objects.filter(status=ToolDefinition.Status.PINNED).select_related("tool__connector")
    for row in pinned.order_by():
        connector, name = row.tool.connector.name, row.tool.name
        known.setdefault(connector, {})[name] = _tool(row.tool, _schema(bytes(row.body)))
    return known


def _tool(row: Tool, schema: Mapping[str, Any]) -> ToolText:
    return ToolText(
        row.connector.name,
        row.name,
        schema,
        risk=row.risk,
        data_classes=frozenset(row.data_classes),
        is_read_only=row.is_read_only,
        is_untrusted=row.is_untrusted,
        is_egress=row.is_egress,
        environment=row.connector.stage,
    )


def _schema(body: bytes) -> Mapping[str, Any]:
    definition = orjson.loads(body)
    schema = definition.get("inputSchema") if isinstance(definition, dict) else None
    return schema if isinstance(schema, dict) else {}


def _rules() -> dict[str, tuple[RuleText, ...]]:
    found: dict[str, list[RuleText]] = defaultdict(list)
    policies = dict(PolicyVersion.objects.filter(state="published").values_list("pk", "policy__name"))
    for row in Rule.objects.filter(version__state="published").order_by("version_id", "position"):
        if row.version_id in policies:
            found[policies[row.version_id]].append(rule_text(row))
    return {name: tuple(rules) for name, rules in found.items()}


def _published() -> Iterable[BundleVersion]:
    versions = BundleVersion.objects.filter(state="published").select_related("bundle")
    return versions.prefetch_related("parents", "policies", "tools__connector")


def _team(row: Team) -> TeamText:
    return TeamText(row.parent.name if row.parent else "", tuple(policy.name for policy in row.policies.all()))
