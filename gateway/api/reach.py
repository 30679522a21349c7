"""Who reaches which tool, and why: worked out from the snapshot that decides calls."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.bodies import CsvAccepted, JsonRenderer
from gateway.api.fields import Choice, Moment, Parameters, QueryFlag, Strict, Text
from gateway.api.pagination import page_of
from gateway.api.resource import Endpoint
from gateway.reach import matrix
from gateway.reach.current import current_snapshot
from gateway.reach.details import Detail, detail_of
from gateway.reach.effective import Line, explained, held_by
from gateway.reach.exports import export
from gateway.reach.verdicts import Verdict, View
from governance.facts import Fact
from governance.models import Agent, Team, Tool
from governance.snapshot import Agent as KnownAgent
from governance.snapshot import Person, Rule, Snapshot
from governance.snapshot import Tool as KnownTool

PERMISSION = "governance.explain_agent"
MOST_CELLS = 20_000
"""Of one page: with many tools it has fewer rows than asked for."""
VERDICTS = {verdict.name.lower(): verdict.words for verdict in Verdict}
MEANING = "; ".join(f"`{name}`: {words}" for name, words in VERDICTS.items())

NO_TEAM = "no such team"

Tools = list[KnownTool]


class VerdictField(serializers.ChoiceField):  # type: ignore[misc]
    def __init__(self, **options: Any) -> None:
        super().__init__(choices=tuple(VERDICTS), help_text=MEANING, **options)


class RuleShown(Strict):
    policy = serializers.CharField()
    version = serializers.IntegerField()
    rule = serializers.IntegerField(help_text="Its place in the policy, from 1.")
    effect = serializers.CharField()
    when = serializers.CharField(help_text="A CEL expression; empty means always.")
    origin = serializers.CharField(help_text="What put it there.")
    reason = serializers.CharField()


class ThroughShown(Strict):
    role = serializers.CharField()
    times = serializers.CharField()


class GrantReachShown(Strict):
    kind = serializers.CharField(help_text="elevation or break_glass")
    ends_at = serializers.DateTimeField()


class PersonReachShown(Strict):
    email = serializers.CharField()
    holds = serializers.BooleanField(help_text="Whether she holds the tool too; without that the agent may not use it.")


class Detailed(Strict):
    """What a verdict rests on."""

    reason = serializers.CharField(help_text="What stops or limits it; empty if nothing does.")
    scopes = serializers.ListField(child=serializers.CharField(), help_text="The data scopes that the agent is told.")
    grants = GrantReachShown(many=True, help_text="Access for a time that gives it.")
    on_behalf_of = PersonReachShown(many=True, help_text="For whom keys of the agent act.")


class ReachShown(Detailed):
    """One tool, or pattern of resources or prompts, through one bundle."""

    tool = serializers.CharField(help_text="connector/tool, connector/resource:pattern or connector/prompt:pattern")
    tool_id = serializers.UUIDField(allow_null=True, help_text="Of a tool; a pattern has none.")
    exposed_name = serializers.CharField(help_text="What the agent calls it in this bundle.")
    bundle = serializers.CharField()
    roles = ThroughShown(many=True, help_text="Those that bring the bundle.")
    verdict = VerdictField()
    stopped_now = serializers.CharField(help_text="Why it cannot be called at this moment; empty if it can.")
    risk = serializers.CharField()
    read_only = serializers.BooleanField()
    rules = RuleShown(many=True, help_text="Those that take part.")


class CallerShown(Detailed):
    agent = serializers.CharField()
    id = serializers.UUIDField()
    owner = serializers.CharField()
    verdict = VerdictField()


class CellShown(Detailed):
    tool = serializers.CharField(help_text="connector/tool")
    verdict = VerdictField()
    through = serializers.CharField(help_text="The agent by which a person reaches what her roles would not give her.")


class RowShown(Strict):
    name = serializers.CharField(help_text="The agent's name, or the person's address.")
    id = serializers.UUIDField()
    cells = CellShown(many=True, help_text="By connector and tool; what cannot be reached is left out.")


class AtParameters(Parameters):
    at = Moment(required=False, help_text="What can be called at this moment; left out, what can be from now on.")


class SnapshotView(Endpoint):
    """A list that is cut out of the present snapshot."""

    queryset = Agent.objects.all()
    parameters: ClassVar[type[Parameters]] = AtParameters
    permissions = {"list": PERMISSION}

    @cached_property
    def view(self) -> View:
        at = self.asked.get("at")
        return View(current_snapshot(), at or datetime.now(UTC), is_exact=at is not None)


class AgentReach(SnapshotView):
    """What an agent can call, read and use, through which bundle and role, and under which rules."""

    @extend_schema(responses=ReachShown(many=True), operation_id="agents_reach_list")
    def list(self, request: Request, agent_id: UUID) -> Response:
        get_object_or_404(Agent, pk=agent_id)
        snapshot = self.view.snapshot
        agent = snapshot.agents[agent_id.hex]
        held, link = page_of(
            held_by(agent, snapshot), key=lambda each: (each[0].name, each[1]), request=request, asked=self.asked
        )
        lines = explained(held, agent, self.view)
        return Response({"results": [_line(line) for line in lines], "next": link})


def _line(line: Line) -> dict[str, Any]:
    return {
        "tool": line.full_name,
        "tool_id": None if line.is_pattern else UUID(line.tool.id),
        "exposed_name": line.exposed_name,
        "bundle": line.bundle.name,
        "roles": [{"role": through.role, "times": through.times} for through in line.through],
        "verdict": line.verdict.name.lower(),
        "stopped_now": line.now,
        "risk": line.risk,
        "read_only": not line.writes,
        "rules": [_rule(rule) for rule in line.rules],
        **_detailed(line.detail),
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "policy": rule.policy,
        "version": rule.version,
        "rule": rule.position,
        "effect": rule.effect,
        "when": getattr(rule.condition, "source", ""),
        "origin": rule.origin,
        "reason": rule.reason,
    }


class Callers(SnapshotView):
    """The agents that can call a tool, or have it but are stopped, by name."""

    @extend_schema(responses=CallerShown(many=True), operation_id="tools_callers_list")
    def list(self, request: Request, tool_id: UUID) -> Response:
        get_object_or_404(Tool, pk=tool_id)
        tool = self.view.snapshot.tools.get(tool_id.hex)
        found = matrix.callers_of(tool, self.view) if tool else []
        page, link = page_of(found, key=lambda each: (each[0].name,), request=request, asked=self.asked)
        return Response({"results": [self._caller(tool, *each) for each in page if tool], "next": link})

    def _caller(self, tool: KnownTool, agent: KnownAgent, verdict: Verdict) -> dict[str, Any]:
        return {
            "agent": agent.name,
            "id": UUID(agent.id),
            "owner": agent.owner.email,
            "verdict": verdict.name.lower(),
            **_detailed(detail_of(agent, tool, verdict, self.view)),
        }


def _detailed(detail: Detail) -> dict[str, Any]:
    return {
        "reason": detail.reason,
        "scopes": list(detail.scopes),
        "grants": [{"kind": grant.kind, "ends_at": grant.ends_at} for grant in detail.grants],
        "on_behalf_of": [{"email": person.email, "holds": person.holds} for person in detail.people],
    }


class MatrixParameters(AtParameters):
    connector = Text(required=False, max_length=63, help_text="Tools of this one only.")
    bundle = Text(required=False, max_length=63, help_text="Tools of this one only.")
    team = Text(required=False, max_length=63, help_text="The person's, or the agent's owner's.")
    risk = Choice(choices=Tool.Risk.choices, required=False)
    writes = QueryFlag(required=False, help_text="true: only tools that can change data.")
    q = Text(required=False, max_length=254, help_text="Part of a name or address.")


class Matrix(SnapshotView):
    """As pages of JSON or, with `Accept: text/csv`, whole as a file; that is recorded as an export."""

    parameters = MatrixParameters
    renderer_classes = (JsonRenderer, CsvAccepted)
    what: ClassVar[str]

    @abstractmethod
    def subjects(self, snapshot: Snapshot, choice: matrix.Choice) -> Sequence[Any]:
        """Of the choice, in the order of their names."""

    @abstractmethod
    def rows(self, subjects: Any, tools: Tools) -> Iterator[matrix.Row]:
        """One for each of these subjects, with a cell for each of these tools."""

    @staticmethod
    @abstractmethod
    def name_of(subject: Any) -> str:
        """What its row is called."""

    def list(self, request: Request) -> HttpResponseBase:
        snapshot, choice = self.view.snapshot, _choice(self.asked)
        tools, subjects = matrix.tools_of(snapshot, choice), self.subjects(snapshot, choice)
        if request.accepted_renderer.format == "csv":
            return self._exported(subjects, tools)
        limit = min(self.asked["limit"], max(1, MOST_CELLS // max(1, len(tools))))
        asked = {**self.asked, "limit": limit}
        page, link = page_of(subjects, key=lambda each: (self.name_of(each),), request=request, asked=asked)
        answer: HttpResponseBase = Response(
            {"results": [_row(row, tools) for row in self.rows(page, tools)], "next": link}
        )
        return answer

    def _exported(self, subjects: Sequence[Any], tools: Tools) -> HttpResponseBase:
        chosen = {name: value for name, value in self.request.query_params.items() if name not in ("limit", "cursor")}
        details = {"format": "csv", "rows": len(subjects), "tools": len(tools), **chosen}
        self.note(Fact("access.exported", f"matrix:{self.what}", details))
        rows = self.rows(subjects, tools)
        return export(self.request._request, rows, tools, name=f"{self.what}-by-tool", kind="csv")


class AgentMatrix(Matrix):
    """Agents and tools."""

    what = "agents"

    @extend_schema(
        responses={(200, "application/json"): RowShown(many=True), (200, "text/csv"): OpenApiTypes.STR},
        operation_id="reach_agents_list",
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Which agent can call which tool; a whole matrix as `text/csv`."""
        return super().list(request)

    def subjects(self, snapshot: Snapshot, choice: matrix.Choice) -> Sequence[KnownAgent]:
        return matrix.agents_of(snapshot, choice)

    def rows(self, subjects: Any, tools: Tools) -> Iterator[matrix.Row]:
        return matrix.agent_rows(subjects, tools, self.view)

    @staticmethod
    def name_of(subject: KnownAgent) -> str:
        return subject.name


class PeopleMatrix(Matrix):
    """People and tools."""

    what = "people"

    @extend_schema(
        responses={(200, "application/json"): RowShown(many=True), (200, "text/csv"): OpenApiTypes.STR},
        operation_id="reach_people_list",
    )
    def list(self, request: Request) -> HttpResponseBase:
        """What each person's roles give her, and what she reaches through her agents; whole as `text/csv`."""
        return super().list(request)

    def subjects(self, snapshot: Snapshot, choice: matrix.Choice) -> Sequence[Person]:
        return matrix.people_of(snapshot, choice)

    def rows(self, subjects: Any, tools: Tools) -> Iterator[matrix.Row]:
        return matrix.people_rows(subjects, tools, self.view)

    @staticmethod
    def name_of(subject: Person) -> str:
        return subject.email


def _choice(asked: Any) -> matrix.Choice:
    return matrix.Choice(
        connector=asked.get("connector", ""),
        bundle=asked.get("bundle", ""),
        team=_team_id(asked["team"]) if asked.get("team") else "",
        risk=asked.get("risk", ""),
        only_writes=asked.get("writes", False),
        text=asked.get("q", ""),
    )


def _team_id(name: str) -> str:
    """As in the snapshot; of a team that is not there, what is no id."""
    found = Team.objects.filter(name=name).values_list("pk", flat=True).first()
    return found.hex if found else NO_TEAM


def _row(row: matrix.Row, tools: Tools) -> dict[str, Any]:
    cells = zip(tools, row.cells, strict=True)
    return {
        "name": row.name,
        "id": UUID(row.id),
        "cells": [_cell(tool, cell) for tool, cell in cells if cell.verdict is not Verdict.NO],
    }


def _cell(tool: KnownTool, cell: matrix.Cell) -> dict[str, Any]:
    name = f"{tool.connector.name}/{tool.name}"
    return {"tool": name, "verdict": cell.verdict.name.lower(), "through": cell.through, **_detailed(cell.detail)}
