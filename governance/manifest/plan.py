"""What applying a manifest would change, and whether its references hold. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.bundles import cycle_in
from governance.registry import Registration

from .reader import Fault
from .schema import LABELS, SECTIONS, Entry, Manifest, dump_entry, fault_at

Keyed = Mapping[str, Mapping[str, Any]]
"""Section -> key -> entry."""

PRUNED_BY = {
    "teams": "remove",
    "secrets": "remove",
    "roles": "remove",
    "people": "deactivate",
    "agents": "retire",
    "connectors": "disable",
    "bundles": "withdraw",
    "policies": "withdraw",
}
"""History outlives what it is about: only what nothing is recorded under is really removed."""
MARKS = {"create": "+", "update": "~"}


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
    """All steps, in the order in which they can be taken; `after` is what will hold then."""

    steps: tuple[Step, ...]
    after: Keyed = field(repr=False)
    warnings: tuple[str, ...] = ()
    registrations: Mapping[str, Registration] = field(default_factory=dict)
    unchecked: frozenset[tuple[str, int]] = frozenset()
    """(policy, rule) whose condition could not be compared with the tools it is about."""

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
        for kind in SECTIONS
        for entry in wanted.sections.get(kind, ())
        if (step := _step(kind, entry, have[kind].get(entry.key), is_renewed=entry.key in renewed)) is not None
    ]
    if prune:
        steps += _removals(wanted, have)
    after = _applied(have, steps)
    faults = [*_broken_references(steps, after), *_circles(steps, after), *_misplaced(steps, after)]
    if faults:
        raise Refused(*faults)
    return Plan(tuple(steps), after, tuple(_left_alone(wanted, have)))


def _step(kind: str, entry: Entry, before: Any, *, is_renewed: bool) -> Step | None:
    after = entry.over(before)
    notes = ("a new value",) if kind == "secrets" and is_renewed else ()
    if before is None:
        return Step(kind, "create", entry, None, after, notes)
    return Step(kind, "update", entry, before, after, notes) if after != before or notes else None


def _removals(wanted: Manifest, have: Keyed) -> Iterator[Step]:
    """What the file does not name, of the kinds it lists; dependants first."""
    for kind in reversed(SECTIONS):
        if kind not in wanted.sections or kind not in PRUNED_BY:
            continue
        named = wanted.by_key(kind)
        for key, before in have[kind].items():
            if key not in named and (step := _removal(kind, before)) is not None:
                yield step


def _removal(kind: str, before: Any) -> Step | None:
    """None for what is out of use already."""
    after = _GONE.get(kind, lambda _: None)(before)
    return Step(kind, PRUNED_BY[kind], before, before, after) if after != before else None
