from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from gateway.console.base import (
    ExactTextFilter,
    InfinitePaginator,
    ReadOnlyModelAdmin,
    copyable,
    display,
    moment,
    pretty_json,
)
from governance.fence.watched import WATCHED
from governance.models import Change

KINDS = tuple(sorted({(watched.kind, watched.kind.replace("_", " ").capitalize()) for watched in WATCHED}))


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return KINDS

    def queryset(self, request: HttpRequest, changes: QuerySet[Change]) -> QuerySet[Change]:
        return changes.filter(kind=self.value()) if self.value() else changes


@admin.register(Change)
class ChangeAdmin(ReadOnlyModelAdmin):
    """Written by database triggers: who changed which row, and what it was before."""

    list_display = ("time", "actor", "operation_shown", "kind", "relation", "row_id")
    export_columns = ("time", "actor", "operation_shown", "kind", "relation", "object_id")
    list_filter = (KindFilter, ExactTextFilter.on("actor", "who"), ExactTextFilter.on("object_id", "id"))
    ordering = ("-id",)
    sortable_by = ()
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    fields = ("time", "actor", "operation", "kind", "object_id", "relation", "before_shown", "after_shown")
    readonly_fields = ("time", "before_shown", "after_shown")

    @display(description="Time (UTC)")
    def time(self, change: Change) -> str:
        return moment(change.at)

    @display(description="What", label={"insert": "success", "update": "info", "delete": "danger"})
    def operation_shown(self, change: Change) -> str:
        return change.operation

    @display(description="Row")
    def row_id(self, change: Change) -> SafeString | str:
        return copyable(change.object_id, shown=f"{change.object_id[:8]}…") if change.object_id else ""

    @display(description="Before")
    def before_shown(self, change: Change) -> str:
        return pretty_json((change.before or "null").encode())

    @display(description="After")
    def after_shown(self, change: Change) -> str:
        return pretty_json((change.after or "null").encode())
