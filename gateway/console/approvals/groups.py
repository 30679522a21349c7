"""Questions that are alike, so that several may be approved at once: one tool, the same rules, low risk."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.console.approvals.risks import is_low
from governance.approval_rows import asks_of
from governance.models import ApprovalRequest, Tool

FEWEST = 2


@dataclass(frozen=True, slots=True)
class Alike:
    """What is the same of all of a group."""

    agent: str
    tool_id: str
    rules: tuple[str, ...]


def alike(rows: Iterable[ApprovalRequest], tools: Mapping[str, Tool]) -> list[list[ApprovalRequest]]:
    """Groups of at least two; a question that wants anything of its approver is for itself."""
    groups: dict[Alike, list[ApprovalRequest]] = defaultdict(list)
    for row in rows:
        if _is_simple(row, tools.get(row.tool_id)):
            groups[Alike(row.agent, row.tool_id, tuple(sorted(ask.rule for ask in asks_of(row))))].append(row)
    return [group for group in groups.values() if len(group) >= FEWEST]


def _is_simple(row: ApprovalRequest, tool: Tool | None) -> bool:
    terms = [ask.terms for ask in asks_of(row)]
    wants_more = any(each.needs_reason or each.ticket or each.step_up or each.count > 1 for each in terms)
    return row.kind == ApprovalRequest.Kind.CALL and is_low(tool, row.labels) and not wants_more
