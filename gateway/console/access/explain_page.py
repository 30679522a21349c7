"""Why can, why can't: one call that nobody makes, decided and told in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponseBase

from gateway.console.access.moments import BadMoment, moment
from gateway.console.pages import ConsolePage
from gateway.explain import (
    OUTCOMES,
    SCOPE_OUTCOMES,
    Circumstances,
    Explanation,
    NotExplainable,
    Path,
    explain_in,
)
from gateway.hostile_text import visible
from gateway.reach.current import current_snapshot
from governance import canonical
from governance.snapshot import Snapshot, Tool

LONGEST_ARGUMENTS = 100_000
MOST_FIELDS = 12
MOST_SUGGESTED = 300
MOST_LABELS = 50
AROUND = ("person", "labels", "source")
"""What of the call's circumstances stands in the address."""
DEPENDS = ("It depends on the arguments", "info")
HEADLINES = {"permit": ("Yes", "good"), "ask": ("Only with a human's yes", "warn"), "deny": ("No", "bad")}


class BadInput(Exception):
    """What was typed cannot be understood; the message says what."""


@dataclass(frozen=True, slots=True)
class Field:
    """One argument of a tool with a simple schema. `name` and `help` are the upstream's words."""

    id: str
    name: str
    kind: str
    help: str
    is_required: bool
    choices: tuple[str, ...]
    value: str

    def parsed(self, text: str) -> Any:
        """Raises BadInput."""
        if self.kind == "string":
            return text
        if self.kind == "boolean":
            return text == "true"
        try:
            return int(text) if self.kind == "integer" else float(text)
        except ValueError:
            raise BadInput(f"{visible(self.name)}: '{text[:40]}' is no number.") from None


class Explain(ConsolePage):
    """Agent and tool may stand in the address, to link to; arguments may be confidential, so they are posted."""

    permission = "governance.explain_agent"
    template_name = "console/access/explain.html"
    title = "Why can, why can’t"
    http_method_names = ("get", "post", "head", "options")

    @cached_property
    def snapshot(self) -> Snapshot:
        return current_snapshot()

    @property
    def given(self) -> Mapping[str, str]:
        return self.request.POST if self.request.method == "POST" else self.request.GET

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.render_to_response(self.get_context_data())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        agent, wanted = self.given.get("agent", "").strip(), self.given.get("tool", "").strip()
        tool = tool_called(wanted, self.snapshot)
        tool_name = full_name(tool) if tool else wanted
        fields = fields_of(tool, self.given) if tool else ()
        found, problem = self._explained(agent, tool_name, fields) if agent and tool_name else (None, "")
        return {
            **super().get_context_data(**kwargs),
            "agent": visible(agent),
            "tool": visible(tool_name),
            "fields": fields,
            "json": self.given.get("json", ""),
            "example": example_for(tool) if tool else "{}",
            "at": self.given.get("at", ""),
            "around": {name: self.given.get(name, "").strip() for name in AROUND},
            "timezone": str(self.snapshot.timezone),
            "found": found,
            **(self._told(found) if found else {}),
            "problem": problem,
            "agents": self._suggested([agent.name for agent in self.snapshot.agents.values()]),
            "tools": self._suggested([visible(full_name(tool)) for tool in self.snapshot.tools.values()]),
        }

    def _told(self, found: Explanation) -> dict[str, Any]:
        """Remedies name rows; those that the viewer may not see are only hinted at."""
        allowed = [remedy.text for remedy in found.remedies if self.request.user.has_perm(remedy.needs)]
        return {
            "depends": found.depends_on_arguments,
            "headline": DEPENDS if found.depends_on_arguments else HEADLINES[found.decision],
            "paths": [_shown(path) for path in found.paths],
            "told": found.words[1:],
            "remedies": allowed,
            "is_more": len(allowed) < len(found.remedies),
        }

    def _explained(self, agent: str, tool: str, fields: tuple[Field, ...]) -> tuple[Explanation | None, str]:
        try:
            at = moment(self.given.get("at", ""), self.snapshot.timezone)
            return explain_in(self.snapshot, agent, tool, self._around(fields), at=at), ""
        except (BadInput, BadMoment, NotExplainable) as reason:
            return None, str(reason)

    def _around(self, fields: tuple[Field, ...]) -> Circumstances:
        """Raises BadInput."""
        labels = self.given.get("labels", "").replace(",", " ").split()
        return Circumstances(
            arguments=self._arguments(fields) if self.request.method == "POST" else None,
            on_behalf_of=self.given.get("person", "").strip(),
            labels=frozenset(labels[:MOST_LABELS]),
            source_ip=self.given.get("source", "").strip(),
        )

    def _arguments(self, fields: tuple[Field, ...]) -> dict[str, Any]:
        text = self.given.get("json", "").strip()
        if text:
            return parsed_json(text)
        return {field.name: field.parsed(field.value) for field in fields if field.value != ""}

    def _suggested(self, names: list[str]) -> list[str]:
        """A short list helps to type; a part of a long one would mislead."""
        return sorted(names) if len(names) <= MOST_SUGGESTED else []


def _shown(path: Path) -> dict[str, Any]:
    """A path with its outcomes in words."""
    return {
        "path": path,
        "tone": HEADLINES[path.effect][1],
        "given_by": [
            (given, [(scope, SCOPE_OUTCOMES[scope.outcome]) for scope in given.scopes]) for given in path.given_by
        ],
        "rules": [(rule, OUTCOMES[rule.outcome]) for rule in path.considered],
        "unnamed": path.passed_over_count - len(path.passed_over),
    }


def tool_called(name: str, snapshot: Snapshot) -> Tool | None:
    """By its full name, also as it is shown: with its unseen letters spelt out."""
    tools = snapshot.tools.values()
    return next((tool for tool in tools if name in (full_name(tool), visible(full_name(tool)))), None)


def full_name(tool: Tool) -> str:
    return f"{tool.connector.name}/{tool.name}"


def fields_of(tool: Tool, given: Mapping[str, str]) -> tuple[Field, ...]:
    """Empty when the schema is more than a few plain values: then JSON is easier."""
    schema = tool.definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(properties) > MOST_FIELDS:
        return ()
    required = schema.get("required") if isinstance(schema, dict) else ()
    fields = [
        _field(number, name, detail, required if isinstance(required, list) else [], given)
        for number, (name, detail) in enumerate(properties.items())
    ]
    known = [field for field in fields if field is not None]
    return tuple(known) if len(known) == len(fields) else ()


def _field(number: int, name: str, detail: Any, required: list[Any], given: Mapping[str, str]) -> Field | None:
    kind = detail.get("type") if isinstance(detail, dict) else None
    if kind not in ("string", "integer", "number", "boolean"):
        return None
    choices = detail.get("enum")
    is_plain = isinstance(choices, list) and len(choices) <= 50 and all(isinstance(each, str) for each in choices)
    field_id = f"argument-{number}"
    return Field(
        id=field_id,
        name=name,
        kind=kind,
        help=str(detail.get("description", ""))[:300],
        is_required=name in required,
        choices=("true", "false") if kind == "boolean" else tuple(choices or ()) if is_plain else (),
        value=given.get(field_id, ""),
    )


def example_for(tool: Tool) -> str:
    """The arguments' shape, to start from."""
    samples = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    schema = tool.definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    found = properties if isinstance(properties, dict) else {}
    example = {
        name: samples.get(str(detail.get("type")) if isinstance(detail, dict) else "", "text")
        for name, detail in list(found.items())[:MOST_FIELDS]
    }
    return orjson.dumps(example, option=orjson.OPT_INDENT_2).decode()


def parsed_json(text: str) -> dict[str, Any]:
    """Raises BadInput."""
    if len(text) > LONGEST_ARGUMENTS:
        raise BadInput(f"The arguments are longer than {LONGEST_ARGUMENTS:,} characters.")
    try:
        value = canonical.parse(text.encode(errors="surrogatepass"))
    except canonical.NotCanonical as error:
        raise BadInput(f"The arguments are no JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput('The arguments must be a JSON object, like {"id": 7}.')
    return value
