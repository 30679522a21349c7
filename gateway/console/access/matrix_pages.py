"""Agent x tool and person x tool as pages, and who can call one tool. Never more than one page's cells at once."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from gateway import actions
from gateway.console.access.agent_pages import page_count, page_number
from gateway.console.access.moments import Moment
from gateway.console.acting import person_of
from gateway.console.pages import ConsolePage
from gateway.console.taken import TakenPage
from gateway.hostile_text import visible
from gateway.reach import matrix
from gateway.reach.current import current_snapshot
from gateway.reach.details import COLUMNS as DETAILS
from gateway.reach.details import Detail, detail_of
from gateway.reach.exports import export
from gateway.reach.matrix import Cell, Choice, Row
from gateway.reach.verdicts import Verdict
from gateway.streams import TYPES
from governance.facts import Fact
from governance.models import Team
from governance.models import Tool as ToolRow
from governance.snapshot import Agent, Person, Snapshot, Tool

ROWS_A_PAGE = 50
COLUMNS_A_PAGE = 30
CALLERS_A_PAGE = 100
RISKS = ("high", "medium", "low")


class MatrixPage(ConsolePage, ABC):
    permission = "governance.explain_agent"
    template_name = "console/access/matrix.html"
    http_method_names = ("get", "post", "head", "options")
    what: ClassVar[str]
    other: ClassVar[str]

    @cached_property
    def snapshot(self) -> Snapshot:
        return current_snapshot()

    @cached_property
    def moment(self) -> Moment:
        return Moment.of(self.request, self.snapshot)

    @cached_property
    def choice(self) -> Choice:
        given = self.request.POST if self.request.method == "POST" else self.request.GET
        wanted = Choice(
            connector=given.get("connector", ""),
            bundle=given.get("bundle", ""),
            team=given.get("team", ""),
            risk=given.get("risk", ""),
            only_writes=given.get("writes") == "1",
            text=given.get("q", "").strip(),
        )
        return wanted if wanted.connector or wanted.bundle else self._narrowed(wanted)

    def _narrowed(self, wanted: Choice) -> Choice:
        """Nobody wants thousands of columns: without a choice the first system is shown."""
        first = min((tool.connector.name for tool in self.snapshot.tools.values()), default="")
        return Choice(first, "", wanted.team, wanted.risk, wanted.only_writes, wanted.text)

    @cached_property
    def tools(self) -> list[Tool]:
        return matrix.tools_of(self.snapshot, self.choice)

    @abstractmethod
    def subjects(self) -> Sequence[Agent] | Sequence[Person]:
        """Of the choice, in the order of their rows."""

    @abstractmethod
    def rows(self, subjects: Any, tools: list[Tool]) -> Iterator[Row]:
        """One for each of these subjects, with a cell for each of these tools."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The export: of all rows and columns of the choice, and itself on record."""
        kind = request.POST.get("format", "")
        kind = kind if kind in TYPES else "csv"
        subjects = self.subjects()
        details = {"format": kind, "rows": len(subjects), "tools": len(self.tools), **self.query()}
        fact = Fact("access.exported", f"matrix:{self.what}", details)
        actions.act(lambda record, _: record(fact), by=person_of(request))
        rows = self.rows(subjects, self.tools)
        return export(request, rows, self.tools, name=f"{self.what}-by-tool", kind=kind)

    def query(self) -> dict[str, str]:
        """The choice as it stands in the address."""
        choice = self.choice
        fields = {"connector": choice.connector, "bundle": choice.bundle, "team": choice.team, "risk": choice.risk}
        fields |= {"writes": "1" if choice.only_writes else "", "q": choice.text}
        fields["at"] = self.moment.text
        return {name: value for name, value in fields.items() if value}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        subjects = self.subjects()
        page = page_number(self.request.GET.get("page"), total=len(subjects), size=ROWS_A_PAGE)
        part = page_number(self.request.GET.get("part"), total=len(self.tools), size=COLUMNS_A_PAGE)
        tools = self.tools[(part - 1) * COLUMNS_A_PAGE : part * COLUMNS_A_PAGE]
        rows = self.rows(subjects[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE], tools)
        return {
            **super().get_context_data(**kwargs),
            "what": self.what,
            "other": self.other,
            "choice": self.choice,
            "moment": self.moment,
            "fields": self.query(),
            "query": urlencode(self.query()),
            "columns": [(tool, UUID(tool.id)) for tool in tools],
            "rows": [(row, UUID(row.id), list(zip(row.cells, self.links(row, tools), strict=True))) for row in rows],
            "verdicts": list(Verdict),
            "total": len(subjects),
            "tool_total": len(self.tools),
            "page": page,
            "pages": page_count(len(subjects), ROWS_A_PAGE),
            "part": part,
            "parts": page_count(len(self.tools), COLUMNS_A_PAGE),
            "connectors": sorted({tool.connector.name for tool in self.snapshot.tools.values()}),
            "bundles": sorted(self.snapshot.bundle_ids),
            "teams": [(team.pk.hex, str(team)) for team in Team.objects.only("id", "name", "title")[:500]],
            "risks": RISKS,
            "explain": reverse("explain"),
        }

    def links(self, row: Row, tools: list[Tool]) -> Iterator[str]:
        """For each cell the query of its explanation; empty where no agent is concerned."""
        for tool, cell in zip(tools, row.cells, strict=True):
            agent = self.explained_agent(row, cell)
            at = {"at": self.moment.text} if self.moment.text else {}
            yield urlencode({"agent": agent, "tool": f"{tool.connector.name}/{tool.name}", **at}) if agent else ""

    @abstractmethod
    def explained_agent(self, row: Row, cell: Cell) -> str:
        """The name of the agent that the cell is about; empty if it is about none."""


class Agents(MatrixPage):
    title = "Agents and tools"
    what = "agents"
    other = "matrix_people"

    def subjects(self) -> list[Agent]:
        return matrix.agents_of(self.snapshot, self.choice)

    def rows(self, subjects: Any, tools: list[Tool]) -> Iterator[Row]:
        return matrix.agent_rows(subjects, tools, self.moment.view)

    def explained_agent(self, row: Row, cell: Cell) -> str:
        return row.name


class People(MatrixPage):
    title = "People and tools"
    what = "people"
    other = "matrix_agents"

    def subjects(self) -> list[Person]:
        return matrix.people_of(self.snapshot, self.choice)

    def rows(self, subjects: Any, tools: list[Tool]) -> Iterator[Row]:
        return matrix.people_rows(subjects, tools, self.moment.view)

    def explained_agent(self, row: Row, cell: Cell) -> str:
        return cell.through


class Callers(TakenPage):
    """Who can call this tool."""

    permission = "governance.explain_agent"
    template_name = "console/access/callers.html"
    taken_as = "callers"
    columns = ("tool", "agent", "owner", "verdict", *DETAILS)

    @cached_property
    def row(self) -> ToolRow:
        return get_object_or_404(ToolRow.objects.select_related("connector"), pk=self.kwargs["tool_id"])

    @cached_property
    def snapshot(self) -> Snapshot:
        return current_snapshot()

    @cached_property
    def moment(self) -> Moment:
        return Moment.of(self.request, self.snapshot)

    @cached_property
    def found(self) -> list[tuple[Agent, Verdict]]:
        tool = self.snapshot.tools.get(self.row.pk.hex)
        return matrix.callers_of(tool, self.moment.view) if tool else []

    def detail(self, agent: Agent, verdict: Verdict) -> Detail:
        return detail_of(agent, self.snapshot.tools[self.row.pk.hex], verdict, self.moment.view)

    def lines(self) -> Iterator[tuple[str, ...]]:
        for agent, verdict in self.found:
            detail = self.detail(agent, verdict)
            yield str(self.row), agent.name, agent.owner.email, verdict.words, *detail.columns

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        row, snapshot, found = self.row, self.snapshot, self.found
        page = page_number(self.request.GET.get("page"), total=len(found), size=CALLERS_A_PAGE)
        return {
            **super().get_context_data(**kwargs),
            "title": f"Who can call {visible(row.name)}?",
            "tool": row,
            "tool_name": f"{row.connector.name}/{row.name}",
            "is_served": row.pk.hex in snapshot.tools,
            "moment": self.moment,
            "bundles": sorted(b.name for b in snapshot.bundles.values() if row.pk.hex in b.tool_ids),
            "callers": [
                (agent, UUID(agent.id), verdict, self.detail(agent, verdict))
                for agent, verdict in found[(page - 1) * CALLERS_A_PAGE : page * CALLERS_A_PAGE]
            ],
            "total": len(found),
            "able": sum(verdict is not Verdict.STOPPED for _, verdict in found),
            "page": page,
            "pages": page_count(len(found), CALLERS_A_PAGE),
        }
