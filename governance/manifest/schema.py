"""A whole manifest: its sections, and the reading and writing of files.

The same shapes describe what a file wants and what the database holds, so that comparing them is the plan and
writing them down is the export.
"""

# ruff: noqa: RUF009 (`of` makes dataclass fields, as `field` does)

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.manifest.common import Entry
from governance.manifest.content_entries import CanaryEntry, DataClassEntry, DetectionOffEntry
from governance.manifest.detector_entries import DetectorEntry
from governance.manifest.entries import (
    STDIO,
    AgentEntry,
    BundleEntry,
    ConnectorEntry,
    LimitEntry,
    NotificationEntry,
    OrganizationEntry,
    PersonEntry,
    RetentionEntry,
    SecretEntry,
    TeamEntry,
)
from governance.manifest.fields import ListOf, Record, Schema, gather, nearest, of
from governance.manifest.issuer_entries import IssuerEntry
from governance.manifest.reader import BadManifest, Fault, Node, Place, read
from governance.manifest.rule_entries import PolicyEntry, ReactionEntry, RoleEntry
from governance.manifest.sink_entries import SinkEntry

API_VERSION = "gatehouse/v1"
LATER_KINDS = ("openapi", "sql", "stdio")

SECTIONS: Mapping[str, type[Entry]] = {
    "organization": OrganizationEntry,
    "teams": TeamEntry,
    "people": PersonEntry,
    "secrets": SecretEntry,
    "connectors": ConnectorEntry,
    "data_classes": DataClassEntry,
    "detectors": DetectorEntry,
    "policies": PolicyEntry,
    "retention": RetentionEntry,
    "bundles": BundleEntry,
    "roles": RoleEntry,
    "agents": AgentEntry,
    "limits": LimitEntry,
    "reactions": ReactionEntry,
    "notifications": NotificationEntry,
    "issuers": IssuerEntry,
    "sinks": SinkEntry,
    "canaries": CanaryEntry,
    "detection_off": DetectionOffEntry,
}
LABELS: Mapping[str, str] = {
    "organization": "organization",
    "teams": "team",
    "people": "person",
    "secrets": "secret",
    "connectors": "connector",
    "data_classes": "data class",
    "detectors": "detector",
    "policies": "policy",
    "retention": "retention class",
    "bundles": "bundle",
    "roles": "role",
    "agents": "agent",
    "limits": "limit",
    "reactions": "reaction",
    "notifications": "notification channel",
    "issuers": "trusted issuer",
    "sinks": "sink",
    "canaries": "canary",
    "detection_off": "switched-off rule",
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
    retention: tuple[RetentionEntry, ...] | None = of(ListOf(Record(RetentionEntry)), None)
    bundles: tuple[BundleEntry, ...] | None = of(ListOf(Record(BundleEntry)), None)
    data_classes: tuple[DataClassEntry, ...] | None = of(ListOf(Record(DataClassEntry)), None)
    detectors: tuple[DetectorEntry, ...] | None = of(ListOf(Record(DetectorEntry)), None)
    policies: tuple[PolicyEntry, ...] | None = of(ListOf(Record(PolicyEntry)), None)
    roles: tuple[RoleEntry, ...] | None = of(ListOf(Record(RoleEntry)), None)
    agents: tuple[AgentEntry, ...] | None = of(ListOf(Record(AgentEntry)), None)
    limits: tuple[LimitEntry, ...] | None = of(ListOf(Record(LimitEntry)), None)
    reactions: tuple[ReactionEntry, ...] | None = of(ListOf(Record(ReactionEntry)), None)
    notifications: tuple[NotificationEntry, ...] | None = of(ListOf(Record(NotificationEntry)), None)
    issuers: tuple[IssuerEntry, ...] | None = of(ListOf(Record(IssuerEntry)), None)
    sinks: tuple[SinkEntry, ...] | None = of(ListOf(Record(SinkEntry)), None)
    canaries: tuple[CanaryEntry, ...] | None = of(ListOf(Record(CanaryEntry)), None)
    detection_off: tuple[DetectionOffEntry, ...] | None = of(ListOf(Record(DetectionOffEntry)), None)


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
