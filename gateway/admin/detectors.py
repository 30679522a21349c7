"""Detectors of somebody else's on screen: set up field by field, tried on their own page."""

from functools import partial
from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from connectors.detectors import DETECTOR_KINDS
from gateway.admin.detector_forms import form_of, names_of
from gateway.console.base import GovernedModelAdmin, display, needs_fresh_login, visible
from governance.data_classes import stays_because
from governance.inspection.findings import DETECTOR
from governance.models import ExternalDetector, User

ADD, CHANGE = "governance.add_externaldetector", "governance.change_externaldetector"


@admin.register(ExternalDetector)
class ExternalDetectorAdmin(GovernedModelAdmin):
    """One that stops finding what it found loosens every rule that names it: who changes it signs in again."""

    fixed_fields = ("name", "kind")
    fresh_login_for = CHANGE
    empty_hint = "Rules look for much by themselves. A service or a model that you have may be asked as well."
    list_display = ("name", "kind_shown", "side", "timeout_ms", "in_rules", "is_enabled", "number")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "title")
    readonly_fields = ("settings_shown", "number", "trial")

    @display(description="Kind")
    def kind_shown(self, row: ExternalDetector) -> str:
        return ExternalDetector.KINDS.get(row.kind, row.kind)

    @display(description="Rules name it")
    def in_rules(self, row: ExternalDetector) -> str:
        return f"{DETECTOR}{row.name}"

    @display(description="Does it answer?")
    def trial(self, row: ExternalDetector) -> SafeString:
        address = reverse("try_detector", args=[row.pk])
        return format_html('<a class="text-primary-600" href="{}">Try it with a text of nobody\'s</a>', address)

    @display(description="Settings")
    def settings_shown(self, row: ExternalDetector) -> SafeString:
        """For who may look only."""
        kind = DETECTOR_KINDS.get(row.kind)
        labels = {setting.name: setting.label for setting in kind.settings} if kind is not None else {}
        told = [(labels.get(name, name), visible(str(value))) for name, value in row.settings.items()]
        return format_html_join("", "<div>{}: {}</div>", told)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if self._kind(request, None):
            shown: HttpResponse = super().add_view(request, form_url, extra_context)
            return shown
        if not self.has_add_permission(request):
            raise PermissionDenied
        choose = partial(self._choose_kind, request)
        return needs_fresh_login(request, ADD, as_typed=choose) or choose()

    def _choose_kind(self, request: HttpRequest) -> HttpResponse:
        kinds = [(name, DETECTOR_KINDS[name]) for name in sorted(DETECTOR_KINDS)]
        context = {**self.admin_site.each_context(request), "title": "Add detector", "opts": self.opts, "kinds": kinds}
        return TemplateResponse(request, "admin/governance/externaldetector/kinds.html", context)

    def _kind(self, request: HttpRequest, row: ExternalDetector | None) -> str:
        """Empty while nobody has chosen one, and for one that this release does not know."""
        name = row.kind if row else request.POST.get("kind") or request.GET.get("kind", "")
        return name if name in DETECTOR_KINDS else ""

    def _may_save(self, request: HttpRequest, row: ExternalDetector | None) -> bool:
        return bool(self.has_change_permission(request, row) if row else self.has_add_permission(request))

    def get_form(
        self, request: HttpRequest, obj: ExternalDetector | None = None, change: bool = False, **options: Any
    ) -> Any:
        kind = self._kind(request, obj)
        if kind and self._may_save(request, obj):
            options["form"] = form_of(kind, person=cast(User, request.user), is_new=obj is None)
        return super().get_form(request, obj, change=change, **options)

    def get_fieldsets(self, request: HttpRequest, obj: ExternalDetector | None = None) -> Any:
        kind = self._kind(request, obj)
        told = names_of(kind) if kind and self._may_save(request, obj) else ("settings_shown",)
        may_try = obj is not None and self.has_change_permission(request, obj)
        return (
            (None, {"fields": ("name", "title", "kind", "is_enabled", *(("number", "trial") if may_try else ()))}),
            ("Whom to ask", {"fields": (*told, "secret")}),
            ("What to ask", {"fields": ("side", "most_bytes", "timeout_ms", "send_known_secrets")}),
            ("What its findings are", {"fields": ("severity", "least_confidence")}),
        )

    def stays_because(self, row: ExternalDetector) -> str:
        return stays_because(row)
