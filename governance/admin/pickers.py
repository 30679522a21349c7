"""Choosing the tools of a bundle: ticks by name, grouped by system, and patterns for those who want them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.urls import reverse_lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from gateway.console.base import visible
from governance.admin.known_tools import (
    LONGEST_PATTERN,
    KnownTool,
    known_tools,
    matched_in_connector,
    told,
)
from governance.models import Connector, Tool

MATCHING = reverse_lazy("admin:governance_bundle_matching")
LONGEST_DESCRIPTION = 240


def _badge(text: str, tone: str = "") -> SafeString:
    return format_html('<span class="gh-badge" data-tone="{}">{}</span>', tone, text)


READS, WRITES = _badge("Only reads", "good"), _badge("Can change data")
RISKS = {
    "low": _badge("Low risk", "good"),
    "medium": _badge("Medium risk", "warn"),
    "high": _badge("High risk", "bad"),
}
BY_PATTERN, WITHHELD = _badge("Given by pattern", "info"), _badge("Never, by pattern", "info")
NOT_SERVED = _badge("Not served today", "info")


@dataclass(frozen=True, slots=True)
class Selection:
    """Tools, resources or prompts of one connector, as BundleTool and BundleSelection keep them."""

    connector_id: str
    allow: tuple[str, ...]
    deny: tuple[str, ...]


class ToolsWidget(forms.Widget):
    """Works without scripts; with them it searches and counts."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Selection]:
        ticked = _patterns_of(data.getlist(name))
        prefix = f"{name}-allow-"
        connectors = ticked.keys() | {key.removeprefix(prefix) for key in data if key.startswith(prefix)}
        selections = [
            Selection(
                connector,
                tuple(sorted({*ticked[connector], *lines_of(data.get(f"{name}-allow-{connector}"))})),
                tuple(sorted(set(lines_of(data.get(f"{name}-deny-{connector}"))))),
            )
            for connector in sorted(connectors)
        ]
        return [selection for selection in selections if selection.allow or selection.deny]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = {selection.connector_id: selection for selection in value or ()}
        offered: dict[str, list[KnownTool]] = defaultdict(list)
        for tool in known_tools():
            offered[tool.connector_id].append(tool)
        groups = [
            _group(name, connector, offered[str(connector.pk)], chosen.get(str(connector.pk)))
            for connector in Connector.objects.order_by("name")
        ]
        context = {"name": name, "groups": groups, "matching": MATCHING}
        return render_to_string("admin/pick_tools.html", context)


def _group(name: str, connector: Connector, tools: list[KnownTool], selection: Selection | None) -> dict[str, Any]:
    allow, deny = (selection.allow, selection.deny) if selection else ((), ())
    by_name = {tool.pattern for tool in tools}
    patterns = [pattern for pattern in allow if pattern not in by_name]
    by_pattern = {tool.id for tool in matched_in_connector(patterns, tools)}
    withheld = {tool.id for tool in matched_in_connector(deny, tools)}
    return {
        "id": str(connector.pk),
        "name": connector.name,
        "title": connector.title,
        "tools": [
            _offer(
                name,
                tool,
                is_ticked=tool.pattern in allow,
                by_pattern=tool.id in by_pattern,
                withheld=tool.id in withheld,
            )
            for tool in tools
        ],
        "chosen": sum(tool.pattern in allow for tool in tools),
        "allow": "\n".join(patterns),
        "deny": "\n".join(deny),
        "allow_matches": told(matched_in_connector(patterns, tools)) if patterns else "",
        "deny_matches": told(matched_in_connector(deny, tools)) if deny else "",
        "is_open": bool(selection),
    }


def _offer(name: str, tool: KnownTool, *, is_ticked: bool, by_pattern: bool, withheld: bool) -> SafeString:
    """One tick, made by hand: a template would take seconds for two thousand of them."""
    badges = [READS if tool.is_read_only else WRITES, RISKS[tool.risk]]
    if withheld or by_pattern:
        badges.append(WITHHELD if withheld else BY_PATTERN)
    if not tool.is_served:
        badges.append(NOT_SERVED)
    return format_html(
        '<li><label><input type="checkbox" name="{}" value="{}"{}><span class="gh-mono">{}</span>'
        '<span class="gh-row">{}</span><small>{}</small></label></li>',
        name,
        tool.id,
        mark_safe(" checked") if is_ticked else "",
        visible(tool.name),
        mark_safe("".join(badges)),  # noqa: S308 (badges of our own)
        visible(tool.description[:LONGEST_DESCRIPTION]),
    )


class ToolsField(forms.Field):
    """A list of Selections."""

    widget = ToolsWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)

    def clean(self, value: list[Selection]) -> list[Selection]:
        known = connector_names()
        for selection in value:
            check_selection(selection, known)
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(initial or ()) != set(data or ())


def connector_names() -> dict[str, str]:
    return {str(pk): name for pk, name in Connector.objects.values_list("pk", "name")}


def check_selection(selection: Selection, connectors: Mapping[str, str]) -> None:
    if selection.connector_id not in connectors:
        raise ValidationError("A system was chosen that is not there any more. Load the page again.")
    name = connectors[selection.connector_id]
    if selection.deny and not selection.allow:
        raise ValidationError(f"{name}: nothing is chosen that “without” could take away from.")
    patterns = [pattern for pattern in (*selection.allow, *selection.deny) if pattern]
    if any(len(pattern) > LONGEST_PATTERN for pattern in patterns):
        raise ValidationError(f"{name}: a pattern may have at most {LONGEST_PATTERN} characters.")


def _patterns_of(tool_ids: list[str]) -> dict[str, list[str]]:
    """Connector id -> exact patterns of the ticked tools."""
    found: dict[str, list[str]] = defaultdict(list)
    ticked = Tool.objects.filter(pk__in={text for text in tool_ids if _is_uuid(text)})
    for connector, name in ticked.values_list("connector_id", "name"):
        found[str(connector)].append(escape(name))
    return found


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def lines_of(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]
