"""The third step: how risky each tool is, whether it only reads, and what else rules ask of it."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from gateway.console.acting import act_in_epoch, since
from gateway.console.connecting.frame import ConnectorPage, step_url
from gateway.console.connecting.offer import Offered, offered
from gateway.console.wording import counted
from governance.facts import Fact, Recorder
from governance.models import Connector, Tool

TOOLS_PER_PAGE = 100
LONGEST_UNDO = 300


class Class(NamedTuple):
    """What a person says of a tool."""

    risk: str
    is_read_only: bool
    is_untrusted: bool
    is_egress: bool
    undo: str

    @classmethod
    def of(cls, tool: Tool) -> "Class":
        return cls(*(getattr(tool, name) for name in cls._fields))


class Classify(ConnectorPage):
    step = "classify"
    title = "Connect"
    template_name = "console/connecting/classify.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        rows = offered(self.connector)
        page, pages = _page(self.request), max(1, -(-len(rows) // TOOLS_PER_PAGE))
        shown = rows[(page - 1) * TOOLS_PER_PAGE : page * TOOLS_PER_PAGE]
        return {
            **context,
            "tools": shown,
            "total": len(rows),
            "differing": sum(not row.is_as_suggested for row in rows),
            "open": sum(not row.row.is_classified for row in rows),
            "flagged": sum(bool(row.remarks) for row in rows),
            "risks": Tool.Risk.choices,
            "page": page,
            "pages": range(1, pages + 1),
            "may_change": self.may("governance.change_tool"),
        }

    def post(self, request: HttpRequest, connector_id: UUID) -> HttpResponse:
        if again := self.refuse_unless("governance.change_tool"):
            return again
        accepts = "accept" in request.POST
        rows = offered(self.connector)
        said = ((row.row, _suggested(row) if accepts else _chosen(request, row)) for row in rows)
        wanted = {tool: classed for tool, classed in said if classed is not None}
        changed, epoch = classify(self.connector, wanted, by=self.by)
        if changed:
            messages.success(request, f"{counted(changed, 'tool')} classified.{since(epoch)}")
        return redirect(step_url("classify" if accepts or "save" in request.POST else "publish", self.connector))


def _page(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


def _suggested(tool: Offered) -> Class:
    """Nothing suggests what else it is: that stays as somebody said."""
    suggestion = tool.suggestion
    return Class.of(tool.row)._replace(risk=suggestion.risk, is_read_only=suggestion.is_read_only)


def _chosen(request: HttpRequest, tool: Offered) -> Class | None:
    """What the form says of a tool; tools of other pages stay as they are."""
    risk = request.POST.get(f"risk-{tool.row.pk}", "")
    if risk not in Tool.Risk.values:
        return None
    return Class(
        risk=risk,
        is_read_only=request.POST.get(f"reads-{tool.row.pk}") == "on",
        is_untrusted=request.POST.get(f"untrusted-{tool.row.pk}") == "on",
        is_egress=request.POST.get(f"egress-{tool.row.pk}") == "on",
        undo=request.POST.get(f"undo-{tool.row.pk}", "").strip()[:LONGEST_UNDO],
    )


def classify(connector: Connector, wanted: dict[Tool, Class], *, by: str) -> tuple[int, int]:
    """Sets it where it differs or was never said: how many tools, and in force since which epoch."""
    changes: dict[Class, list[Tool]] = {}
    for tool, classed in wanted.items():
        if not tool.is_classified or Class.of(tool) != classed:
            changes.setdefault(classed, []).append(tool)
    changed = sum(map(len, changes.values()))

    def work(record: Recorder, now: datetime) -> None:
        for classed, tools in changes.items():
            rows = Tool.objects.filter(pk__in=[tool.pk for tool in tools])
            rows.update(**classed._asdict(), classified_at=now)
        record(Fact("tools.classified", f"connector:{connector.name}", {"count": changed}))

    if not changed:
        return 0, 0
    _, epoch = act_in_epoch(work, by=by)
    return changed, epoch
