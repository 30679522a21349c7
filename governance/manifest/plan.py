"""What applying a manifest would change, and whether its references hold. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from governance.bundles import cycle_in
from governance.detection_rules import known_rules
from governance.manifest.common import Entry
from governance.manifest.content_entries import CanaryEntry, DetectionOffEntry
from governance.manifest.detector_entries import DetectorEntry
from governance.manifest.entries import (
    SELECTABLE,
    STDIO,
    AgentEntry,
    BundleEntry,
    ConnectorEntry,
    NotificationEntry,
    PersonEntry,
)
from governance.manifest.fields import nearest
from governance.manifest.issuer_entries import IssuerEntry
from governance.manifest.reader import Fault
from governance.manifest.schema import LABELS, SECTIONS, Manifest, dump_entry, fault_at
from governance.manifest.sink_entries import SinkEntry
from governance.programs import program_faults
from governance.registry import Registration
from governance.rule_shadows import takes_in

Keyed = Mapping[str, Mapping[str, Any]]
"""Section -> key -> entry."""

PRUNED_BY = {
    "teams": "remove",
    "secrets": "remove",
    "roles": "remove",
    "limits": "remove",
    "reactions": "remove",
    "data_classes": "remove",
    "detectors": "remove",
    "canaries": "remove",
    "detection_off": "remove",
    "retention": "remove",
    "notifications": "remove",
    "people": "deactivate",
    "agents": "retire",
    "connectors": "disable",
    "issuers": "disable",
    "sinks": "disable",
    "bundles": "withdraw",
    "policies": "withdraw",
}
"""History outlives what it is about: only what nothing is recorded under is really removed."""
ORDER = ("policies", *(kind for kind in SECTIONS if kind != "policies"))
"""In which sections are written: each refers only to what stands before it, or to its own kind."""


class Refused(Exception):
    """The manifest is well-formed, but a rule of the house forbids what it asks for."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Step:
    """One entity that changes. `entry` is what the file says, or what is stored for one it does not name;
    `before` and `after` are None where it is not there. `notes` say what no field shows (a new value)."""

    kind: str
    action: str
    entry: Entry
    before: Entry | None = None
    after: Entry | None = None
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.entry.key

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": LABELS[self.kind],
            "name": self.key,
            "action": self.action,
            "before": dump_entry(self.before) if self.before else None,
            "after": dump_entry(self.after) if self.after else None,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, in the order in which they can be taken; `after` is what will hold then, and there an entry that
    the file names has its `node`."""

    steps: tuple[Step, ...]
    before: Keyed = field(repr=False)
    after: Keyed = field(repr=False)
    warnings: tuple[str, ...] = ()
    registrations: Mapping[str, Registration] = field(default_factory=dict)
    unchecked: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Policy -> its rules, from 0, whose condition cannot be held against the tools it is about."""

    @property
    def is_empty(self) -> bool:
        return not self.steps and not any(self.registrations.values())

    def changed(self, kind: str) -> set[str]:
        return {step.key for step in self.steps if step.kind == kind}


def plan(wanted: Manifest, stored: Manifest, *, new_values: Iterable[str], prune: bool) -> Plan:
    """Compares; `new_values` are the secrets whose value differs from the stored one. Raises Refused."""
    renewed = frozenset(new_values)
    have = {kind: stored.by_key(kind) for kind in SECTIONS}
    steps = [
        step
        for kind in ORDER
        for entry in wanted.sections.get(kind, ())
        if (step := _step(kind, entry, have[kind].get(entry.key), is_renewed=entry.key in renewed)) is not None
    ]
    removals = list(_removals(wanted, have)) if prune else []
    after = _after(have, wanted, removals)
    steps += removals
    faults = [
        *_broken_references(steps, after),
        *_circles(steps, after),
        *_misplaced(steps, after),
        *_forbidden_programs(steps),
        *_shared_secrets(steps, after),
        *_same_issuers(steps, after),
    ]
    if faults:
        raise Refused(*faults)
    warnings = (*_left_alone(wanted, have, prune=prune), *_loosened(steps, after))
    return Plan(tuple(steps), have, after, warnings)


def _step(kind: str, entry: Entry, before: Any, *, is_renewed: bool) -> Step | None:
    after = entry.over(before)
    notes = ("a new value",) if kind == "secrets" and is_renewed else ()
    if before is None:
        return Step(kind, "create", entry, None, after, notes)
    return Step(kind, "update", entry, before, after, notes) if after != before or notes else None


def _removals(wanted: Manifest, have: Keyed) -> Iterator[Step]:
    """What the file does not name, of the kinds it lists; dependants first."""
    for kind in reversed(ORDER):
        if kind not in wanted.sections or kind not in PRUNED_BY:
            continue
        named = wanted.by_key(kind)
        for key, before in have[kind].items():
            if key not in named and (step := _removal(kind, before)) is not None:
                yield step


def _removal(kind: str, before: Entry) -> Step | None:
    """None for what is out of use already, and for owners. Who is ended keeps neither team nor role."""
    after: Entry | None = None
    if isinstance(before, PersonEntry):
        after = before if before.is_owner else replace(before, active=False, teams=(), duties=(), staff=False)
    elif isinstance(before, AgentEntry):
        after = replace(before, status="retired", roles=())
    elif isinstance(before, ConnectorEntry | IssuerEntry | SinkEntry):
        after = replace(before, enabled=False)
    return Step(kind, PRUNED_BY[kind], before, before, after) if after != before else None


def _after(have: Keyed, wanted: Manifest, removals: Iterable[Step]) -> Keyed:
    after = {kind: dict(entries) for kind, entries in have.items()}
    for kind, entries in wanted.sections.items():
        after[kind].update((entry.key, entry.over(have[kind].get(entry.key))) for entry in entries)
    for step in removals:
        if step.after is None:
            del after[step.kind][step.key]
        else:
            after[step.kind][step.key] = step.after
    return after


def _broken_references(steps: Iterable[Step], after: Keyed) -> Iterator[Fault]:
    """Only those that this plan makes: what was stored broken before is not its fault."""
    changed = {(step.kind, step.key) for step in steps if step.after is not None}
    gone = {(step.kind, step.key) for step in steps if step.after is None}
    for kind, entries in after.items():
        for entry in entries.values():
            for reference in entry.references():
                target = (reference.kind, reference.name)
                if target in gone:
                    yield fault_at(entry, reference.key, f"{LABELS[target[0]]} {target[1]} is still used here")
                elif (kind, entry.key) in changed and target[1] not in after[target[0]]:
                    hint = nearest(target[1], after[target[0]])
                    yield fault_at(entry, reference.key, f"there is no {LABELS[target[0]]} '{target[1]}'{hint}")


def _circles(steps: Iterable[Step], after: Keyed) -> Iterator[Fault]:
    kinds = {step.kind for step in steps}
    graphs = {
        "teams": ("parent", {key: [team.parent] for key, team in after["teams"].items() if team.parent}),
        "bundles": ("inherits", {key: bundle.inherits for key, bundle in after["bundles"].items()}),
    }
    for kind, (key, graph) in graphs.items():
        circle = cycle_in(graph) if kind in kinds else []
        if circle:
            yield fault_at(after[kind][circle[0]], key, f"this goes in a circle: {' -> '.join(circle)}")


def _misplaced(steps: Iterable[Step], after: Keyed) -> Iterator[Fault]:
    for step in steps:
        before, entry = step.before, step.after
        if isinstance(entry, PersonEntry) and (main := after["people"].get(entry.same_as)) and main.same_as:
            yield fault_at(step.entry, "same_as", f"{entry.same_as} is no main account: name {main.same_as}")
        if isinstance(entry, CanaryEntry) and isinstance(before, CanaryEntry):
            yield from _replanted(step, before, entry)
        if isinstance(entry, DetectionOffEntry) and before is None:
            yield from _unknown_rule(step, entry)
        if isinstance(entry, AgentEntry) and (before is None or isinstance(before, AgentEntry)):
            yield from _misplaced_agent(step, before, entry, after)
        ends = isinstance(entry, PersonEntry) and entry.is_deactivated
        if ends and isinstance(before, PersonEntry) and before.is_owner:
            yield fault_at(step.entry, "active", f"{step.key} is an owner, whom no manifest ends (see offboard)")


def _replanted(step: Step, before: CanaryEntry, entry: CanaryEntry) -> Iterator[Fault]:
    for key in ("kind", "place"):
        if getattr(before, key) != getattr(entry, key):
            yield fault_at(step.entry, key, "what is planted stays as it is; give the new one another name")


def _unknown_rule(step: Step, entry: DetectionOffEntry) -> Iterator[Fault]:
    """One that is off already may be of an earlier pack."""
    known = known_rules()
    if entry.rule not in known:
        yield fault_at(step.entry, "rule", f"there is no detection rule '{entry.rule}'{nearest(entry.rule, known)}")


def _forbidden_programs(steps: Iterable[Step]) -> Iterator[Fault]:
    """A connector that is there already and stays as it is may run no more than the gateway lets it."""
    for step in steps:
        entry = step.after
        if isinstance(entry, ConnectorEntry) and entry.kind == STDIO:
            for field, message in program_faults(entry.command, dict(entry.environment)):
                yield fault_at(step.entry, field, message)


SENT_ELSEWHERE: Mapping[type, tuple[str, ...]] = {
    NotificationEntry: ("secret", "signing_secret"),
    IssuerEntry: ("poll_secret",),
    SinkEntry: ("secret",),
    DetectorEntry: ("secret",),
}


KINDS_SENT: Mapping[type, tuple[str, ...]] = {SinkEntry: ("bearer", "basic"), DetectorEntry: ("bearer", "basic")}


def _shared_secrets(steps: Iterable[Step], after: Keyed) -> Iterator[Fault]:
    """A channel, an issuer, a sink or a detector shows its secret elsewhere than a connector: none serves both."""
    shown = {connector.secret for connector in after["connectors"].values() if connector.secret}
    for step in steps:
        entry = step.after
        for key in SENT_ELSEWHERE.get(type(entry), ()):
            secret = after["secrets"].get(getattr(entry, key))
            if secret is not None and secret.name in shown:
                yield fault_at(step.entry, key, f"a connector shows {secret.name} to its system; make another one")
            elif secret is not None and secret.kind not in KINDS_SENT.get(type(entry), ("bearer",)):
                yield fault_at(step.entry, key, f"{secret.name} is of kind {secret.kind}; here it has to be bearer")


def _same_issuers(steps: Iterable[Step], after: Keyed) -> Iterator[Fault]:
    """Whose word a token is must be one answer."""
    for step in steps:
        entry = step.after
        if isinstance(entry, IssuerEntry):
            others = [each.name for each in after["issuers"].values() if each.issuer == entry.issuer]
            if twin := next((name for name in others if name != entry.name), ""):
                yield fault_at(step.entry, "issuer", f"{twin} is this issuer already")


def _misplaced_agent(step: Step, before: AgentEntry | None, entry: AgentEntry, after: Keyed) -> Iterator[Fault]:
    if before is not None and before.is_retired and not entry.is_retired:
        yield fault_at(step.entry, "status", "a retired agent stays retired; give the new one another name")
    owner = after["people"].get(entry.owner)
    is_given = before is None or before.owner != entry.owner or (before.status and not entry.status)
    if owner is not None and owner.is_deactivated and is_given and not entry.is_retired:
        yield fault_at(step.entry, "owner", f"{entry.owner} is deactivated; name somebody active")


def _left_alone(wanted: Manifest, have: Keyed, *, prune: bool) -> Iterator[str]:
    """What a file names but does not bring back, and what it leaves out but does not end."""
    for kind, entries in wanted.sections.items():
        for entry in entries:
            before = have[kind].get(entry.key)
            key, state = before.switched_off() if before else ("", "")
            if state and getattr(entry, key) is None:
                yield f"{LABELS[kind]} {entry.key} is {state} and stays so: the file does not say '{key}'"
    if prune and "people" in wanted.sections:
        for email in sorted(have["people"].keys() - wanted.by_key("people").keys()):
            if have["people"][email].is_owner:
                yield f"{email} is an owner and stays, although the file does not name her"


def _loosened(steps: Iterable[Step], after: Keyed) -> Iterator[str]:
    """What a bundle says that one above it has settled more strictly: it is not heard."""
    for step in steps:
        entry = step.after
        if isinstance(entry, BundleEntry):
            for name in sorted(_above(entry, after["bundles"])):
                yield from _loosened_under(entry, after["bundles"][name])


def _above(bundle: BundleEntry, bundles: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    pending = list(bundle.inherits)
    while pending:
        name = pending.pop()
        if name not in found and name in bundles:
            found.add(name)
            pending += bundles[name].inherits
    return found


def _loosened_under(child: BundleEntry, parent: BundleEntry) -> Iterator[str]:
    if child.recording == "metadata" and parent.recording == "full":
        yield f"bundle {child.name}: it records arguments and results, because {parent.name} does, which it inherits"
    denied = {(key, entry.connector): entry.deny for key in SELECTABLE for entry in getattr(parent, key)}
    for key in SELECTABLE:
        for entry in getattr(child, key):
            for glob in denied.get((key, entry.connector), ()):
                allows = any(takes_in(allowed, glob) or takes_in(glob, allowed) for allowed in entry.allow)
                if allows and glob not in entry.deny:
                    yield f"bundle {child.name}: {glob} of {entry.connector} stays denied, as {parent.name} says"
