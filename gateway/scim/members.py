"""A PATCH of a group that only says who comes, who goes and what it is called: done row by row, whatever its size.

The library applies a PATCH to a whole resource. With fifty thousand members that takes a second to read and as long to
write, and identity providers send one such message for each membership.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scim2_models import InvalidValueException, MutabilityException, PatchOp
from scim2_models.path import CompareOperator, Comparison, ValuePath

NOT_PLAIN = None
HARMLESS = frozenset({"id", "schemas", "meta"})
NAMES = {"displayname": "displayName", "externalid": "externalId"}


@dataclass(slots=True)
class Plan:
    """In the order of the operations: what was said last about somebody counts. `replaces` first empties the group."""

    add: dict[str, str] = field(default_factory=dict)
    remove: set[str] = field(default_factory=set)
    nested: set[str] = field(default_factory=set)
    replaces: bool = False
    names: dict[str, str] = field(default_factory=dict)

    def adds(self, entries: Iterable[Any]) -> None:
        for value, display, is_group in map(_entry, entries):
            self.add[value] = display
            self.remove.discard(value)
            if is_group:
                self.nested.add(value)

    def removes(self, values: Iterable[str]) -> None:
        for value in values:
            self.add.pop(value, None)
            self.remove.add(value)

    def sets(self, entries: Iterable[Any]) -> None:
        self.replaces = True
        self.add.clear()
        self.remove.clear()
        self.adds(entries)


def plan_of(patch: "PatchOp[Any]", group_id: str) -> Plan | None:
    """None for what only the library can apply. Raises SCIM's own exceptions."""
    plan = Plan()
    for operation in patch.operations or ():
        kind, value = operation.op.value, operation.value
        path = operation.path
        if path is None:
            is_plain = _without_path(plan, kind, value, group_id)
        elif isinstance(path.ast, ValuePath):
            is_plain = kind == "remove" and _remove_selected(plan, path.ast)
        else:
            is_plain = _at(plan, kind, str(path).rpartition(":")[2].lower(), value)
        if not is_plain:
            return NOT_PLAIN
    return plan


def _without_path(plan: Plan, kind: str, value: Any, group_id: str) -> bool:
    if not isinstance(value, dict) or kind == "remove":
        return False
    for key, each in value.items():
        if key.lower() == "id" and each != group_id:
            raise MutabilityException(detail="The id of a group does not change.")
        if key.lower() not in HARMLESS and not _at(plan, kind, key.rpartition(":")[2].lower(), each):
            return False
    return True


def _at(plan: Plan, kind: str, name: str, value: Any) -> bool:
    if name in NAMES and kind != "remove" and isinstance(value, str):
        plan.names[NAMES[name]] = value
        return True
    if name != "members":
        return False
    match kind, value:
        case "add", _:
            plan.adds(_listed(value))
        case "remove", None:
            plan.sets(())
        case "remove", _:
            plan.removes(found for found, *_ in map(_entry, _listed(value)))
        case "replace", _:
            plan.sets(_listed(value))
    return True


def _remove_selected(plan: Plan, path: ValuePath) -> bool:
    """`members[value eq "..."]`"""
    asked = path.val_filter
    if str(path.attr_path).rpartition(":")[2].lower() != "members" or path.sub_attr is not None:
        return False
    if not isinstance(asked, Comparison) or str(asked.attr_path).lower() != "value" or asked.op != CompareOperator.eq:
        return False
    plan.removes([str(asked.value)])
    return True


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _entry(entry: Any) -> tuple[str, str, bool]:
    """The member's id, what it is called, and whether it is said to be a group."""
    if isinstance(entry, str) and entry:
        return entry, "", False
    if isinstance(entry, dict):
        said = {key.lower(): value for key, value in entry.items()}
        value = said.get("value")
        if isinstance(value, str) and value and len(value) <= 100:
            return value, str(said.get("display") or ""), str(said.get("type") or "").lower() == "group"
    raise InvalidValueException(detail="A member is named by its value, the id of a user.")
