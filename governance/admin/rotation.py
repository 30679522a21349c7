"""The queue of what is to be replaced."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from gateway.console.base import AutocompleteSelectFilter, ReadOnlyModelAdmin, display, visible
from governance.models import RotationTask
from governance.rotation import LONGEST_NOTE, confirm, drop


class Why(forms.Form):
    note = forms.CharField(max_length=LONGEST_NOTE, help_text="Goes into the evidence.")


class DueFilter(admin.SimpleListFilter):
    title = "due"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("overdue", "Overdue"), ("nobody", "Nobody sees to it")]

    def queryset(self, request: HttpRequest, tasks: QuerySet[RotationTask]) -> QuerySet[RotationTask]:
        waiting = tasks.filter(state=RotationTask.State.OPEN)
        if self.value() == "overdue":
            return waiting.filter(due_at__lte=timezone.now())
        return waiting.exclude(owner__is_active=True) if self.value() == "nobody" else tasks


@admin.register(RotationTask)
class RotationTaskAdmin(ReadOnlyModelAdmin):
    """Tasks close by themselves when their subject has a new value; what happens out of our sight, a human says."""

    empty_hint = "Nothing is to be replaced. What is too old, or known to somebody who left, appears here by itself."
    list_display = ("subject_name", "kind", "reason", "status", "due_at", "owner_email", "asked_by", "done_by")
    list_filter = ("state", DueFilter, "reason", "subject_kind", ("owner", AutocompleteSelectFilter))
    list_filter_submit = True
    list_select_related = ("owner",)
    search_fields = ("subject_name", "note", "about", "owner__email")
    fields = (
        "subject_name", "kind", "reason", "note", "about", "owner", "created_at", "asked_by", "due_at", "told_at",
        "state", "done_at", "done_by", "evidence",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("mark_done", "drop")

    def has_settle_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.change_rotationtask")

    def acts_on(self, row: RotationTask) -> tuple[str, ...]:
        return ("mark_done", "drop") if row.state == RotationTask.State.OPEN else ()

    @display(description="What it is", ordering="subject_kind")
    def kind(self, task: RotationTask) -> str:
        return task.get_subject_kind_display()

    @display(description="State", label={"open": "info", "overdue": "danger", "done": "success", "dropped": "warning"})
    def status(self, task: RotationTask) -> str:
        is_overdue = task.state == RotationTask.State.OPEN and task.due_at <= timezone.now()
        return "overdue" if is_overdue else str(task.state)

    @display(description="Owner", ordering="owner")
    def owner_email(self, task: RotationTask) -> str:
        if task.owner is None:
            return "–"
        return visible(task.owner.email) if task.owner.is_active else f"{visible(task.owner.email)} (not active)"

    @admin.action(description="Mark as done…", permissions=["settle"])
    def mark_done(self, request: HttpRequest, tasks: QuerySet[RotationTask]) -> HttpResponse | None:
        effect = "You say that each was replaced where the gateway cannot see it, and answer for that."
        return self._settle(request, tasks, confirm, action="mark_done", verb="Mark as done:", effect=effect)

    @admin.action(description="Drop…", permissions=["settle"])
    def drop(self, request: HttpRequest, tasks: QuerySet[RotationTask]) -> HttpResponse | None:
        effect = "They will not be replaced. What is due by age is asked for again after a whole term."
        return self._settle(request, tasks, drop, action="drop", verb="Drop", effect=effect)

    def _settle(
        self, request: HttpRequest, tasks: QuerySet[RotationTask], settled_by: Callable[..., bool], **words: str
    ) -> HttpResponse | None:
        tasks = tasks.filter(state=RotationTask.State.OPEN)
        form = Why(request.POST) if self.confirmed(request) else Why()
        if not form.is_valid():
            answer = self.preview(request, tasks, action=words["action"], verb=words["verb"], effect=words["effect"])
            if isinstance(answer, TemplateResponse) and answer.context_data is not None:
                answer.context_data["form"] = form
            return answer
        note, acts = form.cleaned_data["note"], self.performed(request)
        settled = sum(settled_by(task, note=note, **acts) for task in tasks)
        self.message_user(request, f"{settled} settled.", messages.SUCCESS)
        return None
