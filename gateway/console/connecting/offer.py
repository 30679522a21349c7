"""The tools of a connector as the wizard shows them: what they are, what we suggest, what looks wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from gateway.hostile_text import visible
from governance.classification import Suggestion, suggest, suspicions, texts_of
from governance.models import Connector, Tool, ToolDefinition

SHOWN_DESCRIPTION = 600
HIDDEN = "It holds letters that cannot be seen; they are shown as ⟦U+…⟧."


@dataclass(frozen=True)
class Offered:
    """A tool beside its pinned (or else newest waiting) definition."""

    row: Tool
    definition: Mapping[str, Any]
    is_waiting: bool

    @property
    def name(self) -> str:
        return visible(self.row.name)

    @property
    def description(self) -> str:
        text = self.definition.get("description")
        shown = visible(text) if isinstance(text, str) else ""
        return f"{shown[:SHOWN_DESCRIPTION]}…" if len(shown) > SHOWN_DESCRIPTION else shown

    @property
    def claims(self) -> str:
        """What the upstream says of it, for display only."""
        hints = self._annotations
        said = [text for key, text in CLAIMS.items() if hints.get(key) is True]
        return ", ".join(said)

    @property
    def _annotations(self) -> Mapping[str, Any]:
        annotations = self.definition.get("annotations")
        return annotations if isinstance(annotations, Mapping) else {}

    @cached_property
    def suggestion(self) -> Suggestion:
        return suggest(self.row.name, self._annotations)

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        return remarks(self.definition)

    @property
    def is_as_suggested(self) -> bool:
        return (self.row.risk, self.row.is_read_only) == (self.suggestion.risk, self.suggestion.is_read_only)

    @property
    def filled_in(self) -> tuple[str, bool]:
        """Risk and whether it only reads, as the form shows them: our suggestion until somebody has said it."""
        said = self.row if self.row.is_classified else self.suggestion
        return said.risk, said.is_read_only

    @property
    def is_ticked_by_default(self) -> bool:
        is_harmless = self.row.is_read_only and self.row.risk == Tool.Risk.LOW
        return is_harmless and not self.remarks and not self.row.quarantined_at and not self.is_waiting


CLAIMS = {"readOnlyHint": "only reads", "destructiveHint": "may destroy", "openWorldHint": "reaches the outside world"}


def remarks(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Everything about the texts of a definition that a reviewer should not overlook."""
    hides = any(visible(text) != text for text in texts_of(definition))
    return (*((HIDDEN,) if hides else ()), *suspicions(definition))


def parsed(body: bytes | memoryview) -> dict[str, Any]:
    """Stored bodies are canonical JSON objects."""
    found = orjson.loads(bytes(body))
    return found if isinstance(found, dict) else {}


def offered(connector: Connector, *, names: Iterable[str] | None = None) -> list[Offered]:
    """By name; only those `names`, if given."""
    rows = connector.tools.order_by("name")
    rows = rows if names is None else rows.filter(name__in=names)
    tools = list(rows)
    definitions = ToolDefinition.objects.filter(tool__in=[tool.pk for tool in tools]).order_by("seen_at")
    waiting = {each.tool_id: each for each in definitions.filter(status=ToolDefinition.Status.WAITING)}
    pinned = {each.tool_id: each for each in definitions.filter(status=ToolDefinition.Status.PINNED)}
    return [_offered(tool, pinned.get(tool.pk), waiting.get(tool.pk)) for tool in tools]


def _offered(tool: Tool, pinned: ToolDefinition | None, waiting: ToolDefinition | None) -> Offered:
    definition = pinned or waiting
    return Offered(tool, parsed(definition.body) if definition else {}, pinned is None)
