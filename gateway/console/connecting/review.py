"""Reading what an upstream changed, side by side, and deciding about it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from gateway.console.acting import act_in_epoch, since
from gateway.console.connecting.differences import compare
from gateway.console.connecting.frame import people_with
from gateway.console.connecting.offer import parsed
from gateway.console.connecting.publishing import selects
from gateway.console.pages import GovernedPage
from gateway.console.taken import TakenPage
from gateway.console.wording import few
from gateway.hostile_text import visible
from gateway.streams import CHUNK
from governance import registry
from governance.definition_findings import OF_CHANGES, read
from governance.facts import Recorder
from governance.models import Agent, BundleTool, Tool, ToolDefinition, User
from governance.registry import NotDecidable

SHOWN = 200
LONGEST_REASON = 300
MOST_AGENTS = 10_000
WAITING, PINNED = ToolDefinition.Status.WAITING, ToolDefinition.Status.PINNED
DONE = {"pin": "is approved and served from now on", "reject": "is rejected", "quarantine": "is in quarantine"}

Decide = Callable[[Recorder, datetime], None]


def waiting() -> Any:
    rows = ToolDefinition.objects.filter(status=WAITING).select_related("tool__connector").defer("body")
    return rows.order_by("seen_at", "id")


class Queue(TakenPage):
    permission = "governance.view_tooldefinition"
    title = "Tool definitions to review"
    template_name = "console/connecting/queue.html"
    taken_as = "review-queue"
    columns = ("id", "tool", "system", "what", "seen at (UTC)", "digest", "findings")

    def rows(self) -> Any:
        served = ToolDefinition.objects.filter(status=PINNED, tool=OuterRef("tool"))
        return waiting().annotate(is_known=Exists(served))

    def lines(self) -> Iterator[tuple[str, ...]]:
        for row in self.rows().iterator(chunk_size=CHUNK):
            what, seen_at = "changed" if row.is_known else "new", f"{row.seen_at:%Y-%m-%d %H:%M:%S}"
            found = ", ".join(dict.fromkeys(remark.rule for remark in read(row.findings)))
            yield str(row.pk), row.tool.name, row.tool.connector.name, what, seen_at, row.digest, found

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        rows: list[Any] = list(self.rows()[: SHOWN + 1])
        return {
            **super().get_context_data(**kwargs),
            "rows": [(row, visible(row.tool.name), row.is_known) for row in rows[:SHOWN]],
            "suspicious": sum(row.is_suspicious for row in rows[:SHOWN]),
            "is_cut": len(rows) > SHOWN,
        }


class Review(GovernedPage):
    """One definition that waits, beside the one that is served."""

    permission = "governance.view_tooldefinition"
    deciding = "governance.decide_tooldefinition"
    title = "Review"
    template_name = "console/connecting/review.html"

    @cached_property
    def definition(self) -> ToolDefinition:
        rows = ToolDefinition.objects.select_related("tool__connector")
        return get_object_or_404(rows, pk=self.kwargs["definition_id"])

    @cached_property
    def pinned(self) -> ToolDefinition | None:
        return ToolDefinition.objects.filter(tool=self.definition.tool_id, status=PINNED).first()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        definition, pinned = self.definition, self.pinned
        bundles = holding(definition.tool)
        before = parsed(pinned.body) if pinned else {}
        return {
            **super().get_context_data(**kwargs),
            "title": f"Review: {visible(str(definition.tool))}",
            "definition": definition,
            "tool_name": visible(definition.tool.name),
            "pinned": pinned,
            "difference": compare(before, parsed(definition.body)),
            "found": found_in(definition),
            "is_waiting": definition.status == WAITING,
            "affected": affected(bundles),
            "may_decide": self.may(self.deciding),
            "may_quarantine": self.may("governance.change_tool") and not definition.tool.quarantined_at,
            "who_decides": people_with(User.Duty.SECURITY),
            "remaining": waiting().exclude(pk=definition.pk).count(),
        }

    def post(self, request: HttpRequest, definition_id: UUID) -> HttpResponse:
        decision = request.POST.get("decision", "")
        if decision not in DONE:
            return redirect(request.path)
        needed = "governance.change_tool" if decision == "quarantine" else self.deciding
        if again := self.refuse_unless(needed):
            return again
        try:
            _, epoch = act_in_epoch(self._work(decision, request), by=self.by)
        except NotDecidable as reason:
            messages.error(request, visible(str(reason)))
            return redirect(request.path)
        messages.success(request, f"{visible(self.definition.tool.name)} {DONE[decision]}.{since(epoch)}")
        return redirect(self._next(decision))

    def _work(self, decision: str, request: HttpRequest) -> Decide:
        reason = request.POST.get("reason", "").strip()[:LONGEST_REASON]
        against = request.POST.get("against", "")

        def work(record: Recorder, now: datetime) -> None:
            tool = Tool.objects.select_for_update().select_related("connector").get(pk=self.definition.tool_id)
            if decision == "quarantine":
                registry.quarantine(tool, reason=reason or "Set in review", by=self.by, record=record, now=now)
                return
            if _pinned_digest(tool) != against:
                raise NotDecidable("Another definition is served by now. Compare again.")
            decide = registry.pin if decision == "pin" else registry.reject
            decide(self.definition, reason=reason, by=self.by, record=record)

        return work

    def _next(self, decision: str) -> Any:
        """The next that waits; after a quarantine the same, which still wants a decision."""
        if decision == "quarantine":
            return self.request.path
        following = waiting().first()
        return redirect("review_definition", following.pk).url if following else redirect("review_queue").url


def _pinned_digest(tool: Tool) -> str:
    row = ToolDefinition.objects.filter(tool=tool, status=PINNED).only("digest").first()
    return row.digest if row else ""


def found_in(definition: ToolDefinition) -> list[tuple[str, bool]]:
    """What inspection says of it, in words, and whether it is serious. That it changed is seen beside it."""
    return [
        (visible(remark.words), remark.is_serious)
        for remark in read(definition.findings)
        if remark.is_serious or remark.rule not in OF_CHANGES
    ]


def holding(tool: Tool) -> list[str]:
    """Names of the bundles whose published version selects the tool."""
    entries = BundleTool.objects.filter(connector=tool.connector_id, version__state="published")
    found = entries.select_related("version__bundle").order_by("version__bundle__name")
    return [entry.version.bundle.name for entry in found if selects(entry, tool.name)]


def affected(bundles: list[str]) -> str:
    """Who gets what is approved, in a sentence."""
    if not bundles:
        return "Nobody now: no published bundle holds this tool."
    agents = _agents(bundles)
    held = f"The bundle{'' if len(bundles) == 1 else 's'} {few(bundles)}"
    if not agents:
        return f"{held}, which no agent holds."
    return f"{held}, and by that {len(agents)} agent{'' if len(agents) == 1 else 's'}: {few(agents)}."


def _agents(bundles: list[str]) -> list[str]:
    rows = Agent.objects.filter(roles__bundles__name__in=bundles, status=Agent.Status.LIVE, owner__is_active=True)
    return list(rows.order_by("name").values_list("name", flat=True).distinct()[:MOST_AGENTS])
