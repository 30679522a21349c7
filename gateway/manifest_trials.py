"""What a manifest would put into force, as a draft of the snapshot: nothing is stored."""

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.kinds import KINDS
from governance.lifecycle import newest_number
from governance.manifest.apply import rule_rows
from governance.manifest.plan import Plan
from governance.manifest.prepare import prepare, with_tools
from governance.manifest.schema import Source, parse
from governance.models import (
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Connector,
    Organization,
    Policy,
    PolicyVersion,
    Rule,
    Team,
)
from governance.snapshot_builder import Draft, as_if_saved


def plan_of(source: Source) -> Plan:
    """Against what is stored; no upstream is asked and no secret is read. Raises BadManifest or Refused."""
    return with_tools(prepare(parse([source], kinds=KINDS), values={}, prune=False), {}).plan


def draft_of_manifest(plan: Plan) -> Draft:
    """Its bundles and policies, and where it puts these. What is new beside them (agents, roles, systems) has made no
    call yet."""
    after = plan.after
    policies, bundles = _rows(Policy, after["policies"]), _rows(Bundle, after["bundles"])
    teams = Team.objects.filter(name__in=after["teams"])
    return Draft(
        versions={
            bundles[name].pk.hex: _version(bundles[name], after["bundles"][name], bundles, policies)
            for name in plan.changed("bundles") & after["bundles"].keys()
        },
        rules={
            policies[name].pk.hex: _rules(policies[name], after["policies"][name], plan)
            for name in plan.changed("policies") & after["policies"].keys()
        },
        teams={
            team.pk.hex: as_if_saved(team, policies=[policies[name] for name in after["teams"][team.name].policies])
            for team in teams
        },
        organization_policies=_of_all(plan, policies),
    )


def _rows(model: type[Any], names: Iterable[str]) -> dict[str, Any]:
    """Those there are, and unsaved ones for those that are not."""
    wanted = list(names)
    stored = {row.name: row for row in model.objects.filter(name__in=wanted)}
    return {name: stored.get(name) or model(name=name) for name in wanted}


def _version(bundle: Bundle, entry: Any, bundles: Mapping[str, Any], policies: Mapping[str, Any]) -> BundleVersion:
    version = BundleVersion(bundle=bundle, number=_next(bundle), names=entry.names, recording=entry.recording)
    connectors = {str(row.name): row for row in Connector.objects.all()}
    drafted: BundleVersion = as_if_saved(
        version,
        tools=_picks(entry.tools, connectors, BundleTool),
        selections=[
            *_picks(entry.resources, connectors, BundleSelection, kind="resource"),
            *_picks(entry.prompts, connectors, BundleSelection, kind="prompt"),
        ],
        parents=[bundles[name] for name in entry.inherits],
        policies=[policies[name] for name in entry.policies],
    )
    return drafted


def _picks(entries: Iterable[Any], connectors: Mapping[str, Connector], model: type[Any], **more: Any) -> list[Any]:
    """Of systems that are connected already."""
    return [
        model(connector=connectors[each.connector], allow=list(each.allow), deny=list(each.deny), **more)
        for each in entries
        if each.connector in connectors
    ]


def _rules(policy: Policy, entry: Any, plan: Plan) -> list[Rule]:
    rules = rule_rows(entry, unchecked=plan.unchecked.get(entry.name, ()))
    version = PolicyVersion(policy=policy, number=_next(policy))
    for position, rule in enumerate(rules, start=1):
        rule.version, rule.position = version, position
    return rules


def _next(row: Any) -> int:
    return 1 if row._state.adding else newest_number(row) + 1


def _of_all(plan: Plan, policies: Mapping[str, Any]) -> list[Policy]:
    """The organisation's."""
    entries = list(plan.after["organization"].values()) if plan.after.get("organization") else []
    if entries:
        return [policies[name] for name in entries[0].policies]
    row = Organization.objects.first()
    return list(row.policies.all()) if row else []
