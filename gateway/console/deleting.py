"""Deleting: who loses by it and what goes along is seen first, and a row that something else needs stays."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from gateway.console.action_previews import MOST_ROWS_AT_ONCE, ActionPreviews, Stays, counted_rows
from gateway.console.impact import Impact, impact_of
from gateway.console.impact_panel import ImpactPanel
from governance.snapshot import Snapshot

NOT_YOURS = "Your duties do not let you delete it."
FOR_GOOD = "This cannot be undone. What was deleted stays in the history of changes."


class Deleting(ImpactPanel, ActionPreviews):
    """The same rules for one row, from its page, and for many, from the list."""

    def stays_because(self, row: Any) -> str:
        """What to do first, in a sentence, where something else needs the row; empty when it can go."""
        return ""

    def proposed_without(self, rows: Sequence[Any], snapshot: Snapshot) -> Snapshot | None:
        """The snapshot as it would be with these rows deleted; None when that is no matter of reach."""
        return None

    def impact_of_deleting(self, row: Any) -> Impact | None:
        return impact_of(partial(self.proposed_without, [row])) if self.changes_reach else None

    def refused_to_delete(self, request: HttpRequest, row: Any) -> HttpResponse | None:
        reason = self.stays_because(row)
        if not reason:
            return None
        title = f"This {self.opts.verbose_name} stays for now"
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, "original": row}
        status = 409 if request.method == "POST" else 200
        return TemplateResponse(request, "admin/stays.html", {**context, "stays": Stays(row, reason)}, status=status)

    def delete_chosen(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        staying = self._staying(request, rows)
        rows = rows.exclude(pk__in=[stays.row.pk for stays in staying])
        if not self.confirmed(request):
            going = list(rows[:MOST_ROWS_AT_ONCE])
            return self.preview(
                request,
                rows,
                action="delete_selected",
                verb="Delete",
                effect=self.effect_of_deleting(request, going),
                proposal=partial(self.proposed_without, going) if self.changes_reach else None,
                staying=staying,
            )
        for stays in staying:
            self.message_user(request, f"{stays.shown} stays. {stays.reason}", messages.WARNING)
        if count := rows.count():
            self.log_deletions(request, rows)
            self.delete_queryset(request, rows)
            self.message_user(request, f"Deleted: {counted_rows(self.model, count)}.", messages.SUCCESS)
        return None

    def _staying(self, request: HttpRequest, rows: QuerySet[Any]) -> list[Stays]:
        reasons = ((row, self._stays_because(request, row)) for row in rows[:MOST_ROWS_AT_ONCE])
        return [Stays(row, reason) for row, reason in reasons if reason]

    def _stays_because(self, request: HttpRequest, row: Model) -> str:
        return self.stays_because(row) or ("" if self.has_delete_permission(request, row) else NOT_YOURS)

    def effect_of_deleting(self, request: HttpRequest, rows: list[Any]) -> str:
        """What goes along, in sentences."""
        _, counts, _, _ = self.get_deleted_objects(rows, request)
        models = {str(model._meta.verbose_name_plural): model for model in apps.get_models()}
        others = [counted_rows(models[name], count) for name, count in counts.items() if models[name] is not self.model]
        together = f"With {'it' if len(rows) == 1 else 'them'} go: {', '.join(others)}. " if others else ""
        return f"{together}{FOR_GOOD}"


@admin.action(description="Delete…", permissions=["delete"])
def delete_chosen(screen: Deleting, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
    """Takes the place of Django's, which shows neither effects nor counts."""
    return screen.delete_chosen(request, rows)
