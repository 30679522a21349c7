"""Reads what a plan has to be compared with. Changes nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from governance.manifest.entries import ConnectorEntry
from governance.manifest.fields import nearest
from governance.manifest.issuer_entries import IssuerEntry
from governance.manifest.plan import Plan, Refused, plan
from governance.manifest.reader import Fault
from governance.manifest.rules import KnownTools, checked
from governance.manifest.schema import Manifest, fault_at
from governance.manifest.state import stored_manifest
from governance.manifest.values import SecretValue, misfits, new_values
from governance.models import Connector, Directory, ToolDefinition
from governance.registry import Catalogue, Registration, registration
from governance.snapshot_builder import read_epoch
from governance.vault import keyring


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, good as long as the epoch stands."""

    plan: Plan
    epoch: int


def prepare(wanted: Manifest, *, values: Mapping[str, SecretValue], prune: bool) -> Prepared:
    """The plan without knowledge of any upstream: references and names hold. Raises Refused or VaultError."""
    epoch = read_epoch()
    keys = keyring()
    renewed = set(new_values(values, keyring=keys))
    drawn = plan(wanted, stored_manifest(), new_values=renewed, prune=prune)
    faults = [*misfits(drawn.steps, renewed=renewed, keyring=keys), *_unknown_directories(drawn)]
    if faults:
        raise Refused(*faults)
    return Prepared(drawn, epoch)


def _unknown_directories(drawn: Plan) -> Iterator[Fault]:
    known = set(Directory.objects.values_list("name", flat=True))
    for step in drawn.steps:
        if isinstance(step.after, IssuerEntry) and step.after.directory not in ("", *known):
            hint = nearest(step.after.directory, known)
            yield fault_at(step.entry, "directory", f"there is no directory '{step.after.directory}'{hint}")


def with_tools(prepared: Prepared, catalogues: Mapping[str, Catalogue]) -> Prepared:
    """The plan with what upstreams answered: tools to register, rules held against them. Raises Refused."""
    rows = {str(row.name): row for row in Connector.objects.filter(name__in=catalogues)}
    entries = prepared.plan.after["connectors"]
    registrations = {
        name: registration(rows.get(name), found, new_tools=entries[name].new_tools)
        for name, found in catalogues.items()
        if not found.error
    }
    drawn = checked(prepared.plan, tools=_known_tools(registrations, catalogues))
    warnings = (*drawn.warnings, *_upstream_warnings(registrations, catalogues))
    return replace(prepared, plan=replace(drawn, registrations=registrations, warnings=warnings))


def _known_tools(registrations: Mapping[str, Registration], catalogues: Mapping[str, Catalogue]) -> KnownTools:
    """Input schemas as they will be pinned."""
    seen = Connector.objects.exclude(last_seen_at=None).values_list("name", flat=True)
    known: dict[str, dict[str, Any]] = {name: {} for name in (*seen, *registrations)}
    rows = ToolDefinition.objects.filter(status=ToolDefinition.Status.PINNED)
    for connector, tool, body in rows.values_list("tool__connector__name", "tool__name", "body"):
        schema = orjson.loads(bytes(body)).get("inputSchema")
        known.setdefault(connector, {})[tool] = schema if isinstance(schema, dict) else {}
    for name, done in registrations.items():
        schemas = {tool.name: tool.schema for tool in catalogues[name].tools}
        known[name].update((tool, schemas[tool]) for tool in done.pinned)
    return known


def _upstream_warnings(registrations: Mapping[str, Registration], catalogues: Mapping[str, Catalogue]) -> list[str]:
    silent = [
        f"connector {name}: {found.error} Its tools are unknown until it is applied again or asked by the worker."
        for name, found in catalogues.items()
        if found.error
    ]
    unusable = [
        f"connector {name}: left out, name or definition unusable: {', '.join(found.unusable[:10])}"
        for name, found in catalogues.items()
        if found.unusable
    ]
    vanished = [
        f"connector {name} no longer offers {', '.join(done.vanished[:10])}; the definitions stay"
        for name, done in registrations.items()
        if done.vanished
    ]
    return [*silent, *unusable, *vanished]


def wanted_connectors(prepared: Prepared) -> list[ConnectorEntry]:
    """Those of the file, as they shall be, that are to be asked for their tools."""
    entries = prepared.plan.after["connectors"].values()
    return [entry for entry in entries if entry.node is not None and entry.enabled is not False]
