"""From a filter to the rows that can match it, by indexes; whatever indexes cannot say is looked at row by row.

The library's own evaluator has the last word on every row that an index does not settle, so that a filter means here
exactly what it means in the protocol. How many rows it may look at is bounded.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    ValuePath,
)

from governance.directory_sync import folded
from governance.models import DirectoryAgent, DirectoryEmail, DirectoryGroup, DirectoryMember, DirectoryUser


@dataclass(frozen=True, slots=True)
class Narrowed:
    """`which` holds for every row that matches. `is_exact`: and for no other."""

    which: Q
    is_exact: bool = False


ANY = Narrowed(Q())
NONE = Q(pk__in=())
EQUAL = CompareOperator.eq
TIMES = {
    CompareOperator.gt: "gte",
    CompareOperator.ge: "gte",
    CompareOperator.lt: "lte",
    CompareOperator.le: "lte",
    CompareOperator.eq: "exact",
}
Row = type[DirectoryUser] | type[DirectoryGroup] | type[DirectoryAgent]

FOLDED: dict[tuple[Row, str], str] = {
    (DirectoryUser, "username"): "user_name_key",
    (DirectoryAgent, "agentusername"): "user_name_key",
    (DirectoryGroup, "displayname"): "display_name_key",
}
"""Names, in the column that knows no case."""


def narrowed(node: FilterNode, row: Row) -> Narrowed:
    if isinstance(node, LogicalExpr):
        parts = [narrowed(term, row) for term in node.terms]
        return _all(parts) if node.op == LogicalOperator.and_ else _any(parts)
    if isinstance(node, Comparison):
        return _compared(_name(node.attr_path), node.op, node.value, row)
    if isinstance(node, ValuePath):
        return _selected(node, row)
    return ANY


def _all(parts: list[Narrowed]) -> Narrowed:
    which = Q()
    for part in parts:
        which &= part.which
    return Narrowed(which, all(part.is_exact for part in parts))


def _any(parts: list[Narrowed]) -> Narrowed:
    """One part that cannot be narrowed leaves everything possible."""
    which = NONE
    for part in parts:
        if not part.which:
            return ANY
        which |= part.which
    return Narrowed(which, all(part.is_exact for part in parts))


def _selected(node: ValuePath, row: Row) -> Narrowed:
    """`emails[type eq "work" and value eq "..."]`: by the value in it."""
    inner = node.val_filter
    terms = inner.terms if isinstance(inner, LogicalExpr) and inner.op == LogicalOperator.and_ else (inner,)
    for term in terms:
        if isinstance(term, Comparison) and _name(term.attr_path) == "value":
            found = _compared(_name(node.attr_path), term.op, term.value, row)
            return Narrowed(found.which, found.is_exact and len(terms) == 1)
    return ANY


def _compared(name: str, operator: CompareOperator, value: object, row: Row) -> Narrowed:
    if name in ("meta.created", "meta.lastmodified"):
        return _timed("created_at" if name == "meta.created" else "changed_at", operator, value)
    if operator != EQUAL:
        return ANY
    if name == "id":
        return Narrowed(Q(id=_id(value)) if _id(value) else NONE, is_exact=True)
    if not isinstance(value, str):
        is_flag = name == "active" and isinstance(value, bool) and row is not DirectoryGroup
        return Narrowed(Q(active=value)) if is_flag else ANY
    return _named(name, value, row)


def _named(name: str, value: str, row: Row) -> Narrowed:
    if name == "externalid":
        return Narrowed(Q(external_id=value))
    if column := FOLDED.get((row, name)):
        return Narrowed(Q(**{column: folded(value)}), is_exact=True)
    if row is DirectoryUser and name in ("emails", "emails.value"):
        return Narrowed(Q(id__in=DirectoryEmail.objects.filter(key=folded(value)).values("user_id")))
    if row is DirectoryGroup and name in ("members", "members.value"):
        return Narrowed(Q(id__in=DirectoryMember.objects.filter(value=value).values("group_id")), is_exact=True)
    return ANY


def _timed(column: str, operator: CompareOperator, value: object) -> Narrowed:
    lookup = TIMES.get(operator)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return ANY
    if lookup is None or moment.tzinfo is None:
        return ANY
    return Narrowed(Q(**{f"{column}__{lookup}": moment}))


def _name(path: AttrPath) -> str:
    """As the attribute is written without its schema, which each of our resources has only one of."""
    return str(path).rpartition(":")[2].lower()


def _id(value: object) -> UUID | None:
    """Only as we write them: identifiers are compared letter by letter."""
    try:
        found = UUID(str(value))
    except ValueError:
        return None
    return found if str(found) == value else None
