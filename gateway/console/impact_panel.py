"""Below a form: who gains or loses what, were it saved as it stands."""

from typing import Any, ClassVar

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from gateway.console.impact import Impact, impact_of
from gateway.console.skin import ModelAdmin
from governance.snapshot import Snapshot

PREVIEW = "_preview"
"""The Preview button of a form, and what it says is to come: a POST with it is checked and shown, never saved."""


class ImpactPanel(ModelAdmin):  # type: ignore[misc]
    """`changes_reach` says that saving or deleting a row may change what agents may call."""

    changes_reach: ClassVar[bool] = False

    def get_urls(self) -> list[URLPattern]:
        name, view = f"{self.opts.app_label}_{self.opts.model_name}", self.admin_site.admin_view(self.impact_view)
        return [
            path("impact/", view, name=f"{name}_impact_of_new"),
            path("<path:object_id>/impact/", view, name=f"{name}_impact"),
            *super().get_urls(),
        ]

    def proposed(self, form: Any, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot as it would be with this valid form saved; None when that is no matter of reach."""
        return None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change=change, **options)
        return _never_saved(form) if PREVIEW in request.POST else form

    def impact_view(self, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        """The panel below the form, asked for anew while somebody types. Changes nothing."""
        if request.method != "POST" or not self.changes_reach:
            raise PermissionDenied
        return TemplateResponse(request, "admin/impact.html", {"impact": self.impact_of_saving(request, object_id)})

    def impact_of_saving(self, request: HttpRequest, object_id: str | None) -> Impact | None:
        if not self.changes_reach:
            return None
        row = self.get_object(request, unquote(object_id)) if object_id else None
        if not (self.has_change_permission(request, row) if row else self.has_add_permission(request)):
            raise PermissionDenied
        form = self.get_form(request, row, change=row is not None)(request.POST, request.FILES, instance=row)
        form.full_clean()
        if form.errors:
            return Impact(problem="Fill in the form first; then you see here who gains or loses what.")
        return impact_of(lambda snapshot: self.proposed(form, snapshot))


def _never_saved(form: type[Any]) -> type[Any]:
    """Checked as ever, and shown again whatever comes of it: the answer to the Preview button."""

    class Previewed(form):  # type: ignore[misc]
        def is_valid(self) -> bool:
            super().is_valid()
            return False

    return Previewed
