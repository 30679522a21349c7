"""The tools that were discovered, as pickers show them and patterns match them."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse

from gateway.console.base import visible
from governance.models import Tool, ToolDefinition
from governance.rule_texts import RuleText, ToolText, selects

NAMED = 8
MOST_PATTERNS = 50
LONGEST_PATTERN = 200


@dataclass(frozen=True, slots=True)
class KnownTool:
    """`name` is the upstream's word and hostile; so is the description."""

    id: str
    connector_id: str
    connector: str
    name: str
    risk: str
    is_read_only: bool
    data_classes: tuple[str, ...]
    is_served: bool
    description: str
    schema: dict[str, Any]

    @property
    def pattern(self) -> str:
        """Matches this name alone: an upstream may call a tool `*`, which as a pattern would give everything."""
        return escape(self.name)

    @property
    def text(self) -> ToolText:
        classes = frozenset(self.data_classes)
        return ToolText(self.connector, self.name, self.schema, self.risk, classes, self.is_read_only)

    @property
    def spellings(self) -> tuple[str, str, str]:
        """As a rule may name it."""
        return self.name, f"{self.connector}/{self.name}", f"{self.connector}__{self.name}"


def known_tools() -> list[KnownTool]:
    """All of them, in two queries, by system and name."""
    bodies = ToolDefinition.objects.filter(status=ToolDefinition.Status.PINNED).values_list("tool_id", "body")
    definitions = {tool: _definition(bytes(body)) for tool, body in bodies}
    rows = Tool.objects.select_related("connector").order_by("connector__name", "name")
    return [_known(row, definitions.get(row.pk)) for row in rows]


def _definition(body: bytes) -> dict[str, Any]:
    content = orjson.loads(body)
    return content if isinstance(content, dict) else {}


def _known(row: Tool, definition: dict[str, Any] | None) -> KnownTool:
    told = definition or {}
    schema = told.get("inputSchema")
    return KnownTool(
        id=str(row.pk),
        connector_id=str(row.connector_id),
        connector=row.connector.name,
        name=row.name,
        risk=row.risk,
        is_read_only=row.is_read_only,
        data_classes=tuple(row.data_classes),
        is_served=definition is not None and row.quarantined_at is None,
        description=str(told.get("description") or ""),
        schema=schema if isinstance(schema, dict) else {},
    )


def matched_by_rule(patterns: Iterable[str], tools: Iterable[KnownTool]) -> list[KnownTool]:
    globs = list(patterns)
    return [tool for tool in tools if any(fnmatchcase(name, glob) for name in tool.spellings for glob in globs)]


def selected_by_rule(rule: RuleText, tools: Iterable[KnownTool]) -> list[KnownTool]:
    """By all of its selectors."""
    return [tool for tool in tools if selects(rule, tool.text)]


def matched_in_connector(patterns: Iterable[str], tools: Iterable[KnownTool]) -> list[KnownTool]:
    globs = list(patterns)
    return [tool for tool in tools if any(fnmatchcase(tool.name, glob) for glob in globs)]


def told(tools: list[KnownTool]) -> str:
    """E.g. `Matches 12 tools: ticket_get, ticket_list …`."""
    if not tools:
        return "Matches no tool known today."
    names = ", ".join(visible(tool.name) for tool in tools[:NAMED])
    return f"Matches {len(tools)} {'tool' if len(tools) == 1 else 'tools'}: {names}{' …' if len(tools) > NAMED else ''}"


def matching(request: HttpRequest) -> HttpResponse:
    """What the patterns in the address (`glob`, with `connector` only there) match, for the hint below a field."""
    if not request.user.has_perm("governance.view_tool"):
        raise PermissionDenied
    patterns = [glob[:LONGEST_PATTERN] for glob in request.GET.getlist("glob")[:MOST_PATTERNS] if glob]
    connector = request.GET.get("connector")
    if not patterns:
        return JsonResponse({"told": ""})
    if connector is None:
        return JsonResponse({"told": told(matched_by_rule(patterns, known_tools()))})
    of_connector = [tool for tool in known_tools() if tool.connector_id == connector]
    return JsonResponse({"told": told(matched_in_connector(patterns, of_connector))})
