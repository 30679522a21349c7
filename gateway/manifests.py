"""Applying a manifest, across rooms: read, discover, then write in one transaction with its evidence."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.base import UpstreamAuth, UpstreamSpec
from connectors.kinds import KINDS
from gateway.accounts.looking_up import account_opener
from gateway.actions import act
from gateway.detector_setup import check_detector
from gateway.discovery import LONGEST_REQUEST_SECONDS, OpenAuth, Question, discover
from gateway.drift import reacting
from gateway.sinks import check_sink
from gateway.wiring import child_spec, upstream_auth
from governance.facts import Fact, Recorder
from governance.manifest.apply import Overtaken, carry_out, take_in
from governance.manifest.detector_entries import DetectorEntry
from governance.manifest.entries import DEFAULT_TIMEOUT_SECONDS, STDIO, ConnectorEntry, SecretEntry
from governance.manifest.plan import Plan
from governance.manifest.prepare import Prepared, prepare, wanted_connectors, with_tools
from governance.manifest.reader import BadManifest, Fault
from governance.manifest.schema import Manifest, Source, fault_at, parse
from governance.manifest.sink_entries import SinkEntry
from governance.manifest.values import SecretValue, read_values
from governance.models import Connector, SecretVersion
from governance.registry import Catalogue
from governance.snapshot import Program
from governance.vault import VaultError, keyring, open_secret_version

ATTEMPTS = 5


class StillMoving(Exception):
    """Others kept changing the configuration while this was planned; nothing was applied."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A manifest read from its files, with the values that it points to."""

    manifest: Manifest
    values: Mapping[str, SecretValue] = field(repr=False)
    files: tuple[str, ...]


def read_wish(sources: Iterable[Source]) -> Wish:
    """Raises BadManifest."""
    named = tuple(sources)
    manifest = parse(named, kinds=KINDS)
    if faults := [*_sink_faults(manifest), *_detector_faults(manifest)]:
        raise BadManifest(*faults)
    return Wish(manifest, read_values(manifest), tuple(source.file for source in named))


def _sink_faults(manifest: Manifest) -> Iterator[Fault]:
    """What the kind of a sink says to its settings."""
    for entry in manifest.sections.get("sinks", ()):
        assert isinstance(entry, SinkEntry)
        try:
            check_sink(entry.kind, entry.format, entry.whole_settings, has_secret=bool(entry.secret))
        except ValueError as error:
            key, _, message = str(error).partition(": ")
            yield fault_at(entry, key if hasattr(entry, key) else f"settings.{key}", message)


def _detector_faults(manifest: Manifest) -> Iterator[Fault]:
    """Likewise, of a detector."""
    for entry in manifest.sections.get("detectors", ()):
        assert isinstance(entry, DetectorEntry)
        try:
            check_detector(entry.kind, entry.settings or {}, most_bytes=entry.most_bytes, has_secret=bool(entry.secret))
        except ValueError as error:
            key, _, message = str(error).partition(": ")
            yield fault_at(entry, key, message)


def preview(wish: Wish, *, prune: bool) -> Plan:
    """What `apply_manifest` would do. Asks the upstreams, changes nothing. Raises Refused or VaultError."""
    first = prepare(wish.manifest, values=wish.values, prune=prune)
    return with_tools(first, _ask_upstreams(first, wish)).plan


def apply_manifest(wish: Wish, *, by: str, prune: bool) -> Plan:
    """Makes it so; an empty plan means there was nothing to do. Raises Refused, VaultError or StillMoving."""
    prepared = prepare(wish.manifest, values=wish.values, prune=prune)
    catalogues = _ask_upstreams(prepared, wish)
    for _ in range(ATTEMPTS):
        complete = with_tools(prepared, catalogues)
        try:
            _write(complete, wish, catalogues, by=by)
        except Overtaken:
            prepared = prepare(wish.manifest, values=wish.values, prune=prune)
            continue
        return complete.plan
    raise StillMoving


def _write(prepared: Prepared, wish: Wish, catalogues: Mapping[str, Catalogue], *, by: str) -> None:
    def work(record: Recorder, now: datetime) -> None:
        with reacting(catalogues, record=record, now=now):
            if prepared.plan.is_empty:
                take_in(catalogues, by=by, record=record, now=now)
                return
            carry_out(
                prepared,
                values=wish.values,
                catalogues=catalogues,
                by=by,
                record=record,
                now=now,
                is_manifest=True,
            )
            record(_applied(prepared.plan, wish))

    act(work, by=by)


def _applied(plan: Plan, wish: Wish) -> Fact:
    actions: dict[str, int] = {}
    for step in plan.steps:
        actions[step.action] = actions.get(step.action, 0) + 1
    details: dict[str, Any] = {"files": list(wish.files), "actions": actions, "warnings": len(plan.warnings)}
    return Fact("manifest.applied", "organization", details)


def _ask_upstreams(prepared: Prepared, wish: Wish) -> dict[str, Catalogue]:
    entries = wanted_connectors(prepared)
    secrets: Mapping[str, SecretEntry] = prepared.plan.after["secrets"]
    stored = _stored_versions(entry.secret for entry in entries)
    return discover(
        Question(_spec(entry), _way_in(entry, secrets.get(entry.secret), stored, wish.values)) for entry in entries
    )


def _way_in(
    entry: ConnectorEntry,
    secret: SecretEntry | None,
    stored: Mapping[str, SecretVersion],
    given: Mapping[str, SecretValue],
) -> OpenAuth:
    if not entry.account:
        return _opener(_program(entry), secret, stored, given)
    row = Connector.objects.filter(name=entry.name).only("pk").first()
    return account_opener(row.pk if row is not None else None)


def _spec(entry: ConnectorEntry) -> UpstreamSpec:
    return UpstreamSpec(
        connector_id=entry.name,
        name=entry.name,
        kind=entry.kind,
        urls=entry.urls,
        timeout_seconds=min(entry.timeout_seconds or DEFAULT_TIMEOUT_SECONDS, LONGEST_REQUEST_SECONDS),
        relays=frozenset(entry.relays),
        child=child_spec(program) if (program := _program(entry)) else None,
    )


def _program(entry: ConnectorEntry) -> Program | None:
    if entry.kind != STDIO:
        return None
    return Program(
        command=entry.command,
        environment=dict(entry.environment),
        secret_variable=entry.secret_variable,
        per_agent=entry.per_agent,
        memory_mb=entry.memory_mb,
    )


def _stored_versions(secrets: Iterable[str]) -> dict[str, SecretVersion]:
    live = SecretVersion.objects.filter(retired_at=None, secret__name__in=list(secrets))
    return {version.secret.name: version for version in live.select_related("secret")}


def _opener(
    program: Program | None,
    secret: SecretEntry | None,
    stored: Mapping[str, SecretVersion],
    given: Mapping[str, SecretValue],
) -> OpenAuth:
    """The manifest's own value comes first: that of a new secret is stored only after the discovery."""
    if secret is None:
        return UpstreamAuth

    def open_auth() -> UpstreamAuth:
        if secret.name in given:
            value = given[secret.name].text
        elif secret.name in stored:
            value = open_secret_version(stored[secret.name], keyring=keyring())
        else:
            raise VaultError(f"The secret {secret.name} has no value yet.")
        return upstream_auth(program, value, kind=secret.kind, header=secret.header, identity=secret.name)

    return open_auth
