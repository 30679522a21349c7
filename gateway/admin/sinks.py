"""Sinks on screen: set up field by field, watched, tested, replayed."""

from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from audit.sinks import SINK_KINDS
from audit.sinks.fields import SETTINGS
from gateway import sink_acts
from gateway.admin.sink_forms import form_of, names_of
from gateway.console.base import GovernedModelAdmin, display, needs_fresh_login, visible
from gateway.sink_progress import BEHIND, NOT_BEGUN, OFF, REFUSED, SENDS, WAITS, Progress, progress_of
from governance.models import Sink, User

HOW_FAR = ("state", "lag", "arrived_at", "last_error", "dead_letters", "sample")
TONES = {
    SENDS: "success",
    WAITS: "warning",
    BEHIND: "danger",
    REFUSED: "danger",
    OFF: "info",
    NOT_BEGUN: "info",
}


@admin.register(Sink)
class SinkAdmin(GovernedModelAdmin):
    """Where evidence is sent, and how far it is. What is asked for here, the worker does within a second."""

    fixed_fields = ("name", "kind")
    fresh_login_for = "governance.change_sink"
    empty_hint = "Evidence stays here. A sink sends every leaf to a SIEM, an object store or a program of yours."
    list_display = ("name", "kind", "state", "lag", "dead_letters", "arrived_at", "last_error")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "title")
    actions = ("send_sample", "resume", "retry_dead_letters", "give_up_dead_letters")
    readonly_fields = ("settings_shown", *HOW_FAR)

    @display(description="State", label=TONES)
    def state(self, sink: Sink) -> str:
        return self._progress(sink).state

    @display(description="Lag")
    def lag(self, sink: Sink) -> str:
        found = self._progress(sink)
        if found.place is None:
            return "not begun"
        return f"{found.behind:,} records, {found.behind_seconds:,.0f} s"

    @display(description="Arrived last")
    def arrived_at(self, sink: Sink) -> Any:
        return self._progress(sink).arrived_at

    @display(description="Last error")
    def last_error(self, sink: Sink) -> str:
        return self._progress(sink).last_error

    @display(description="Dead letters")
    def dead_letters(self, sink: Sink) -> SafeString | str:
        waiting = self._progress(sink).dead_letters
        if not waiting:
            return "none"
        link = f"{reverse('admin:audit_deadletter_changelist')}?sink={sink.pk}"
        return format_html('<a class="text-primary-600" href="{}">{} wait</a>', link, f"{waiting:,}")

    @display(description="Sample")
    def sample(self, sink: Sink) -> str:
        return self._progress(sink).sample

    @display(description="Settings")
    def settings_shown(self, sink: Sink) -> SafeString:
        """For who may look only."""
        labels = {setting.name: setting.label for setting in SETTINGS.get(sink.kind, ())}
        told = [(labels.get(name, name), visible(str(value))) for name, value in sink.settings.items()]
        return format_html_join("", "<div>{}: {}</div>", told)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if self._kind(request, None):
            shown: HttpResponse = super().add_view(request, form_url, extra_context)
            return shown
        if not self.has_add_permission(request):
            raise PermissionDenied
        choose = partial(self._choose_kind, request)
        return needs_fresh_login(request, self.fresh_login_for, as_typed=choose) or choose()

    def _choose_kind(self, request: HttpRequest) -> HttpResponse:
        kinds = [(name, SINK_KINDS[name]) for name in sorted(SINK_KINDS)]
        context = {**self.admin_site.each_context(request), "title": "Add sink", "opts": self.opts, "kinds": kinds}
        return TemplateResponse(request, "admin/governance/sink/kinds.html", context)

    def _kind(self, request: HttpRequest, sink: Sink | None) -> str:
        """Empty while nobody has chosen one, and for one that this release does not know."""
        name = sink.kind if sink else request.POST.get("kind") or request.GET.get("kind", "")
        return name if name in SINK_KINDS else ""

    def _may_save(self, request: HttpRequest, sink: Sink | None) -> bool:
        return bool(self.has_change_permission(request, sink) if sink else self.has_add_permission(request))

    def get_form(self, request: HttpRequest, obj: Sink | None = None, change: bool = False, **options: Any) -> Any:
        kind = self._kind(request, obj)
        if kind and self._may_save(request, obj):
            options["form"] = form_of(kind, person=cast(User, request.user), is_new=obj is None)
        return super().get_form(request, obj, change=change, **options)

    def get_fieldsets(self, request: HttpRequest, obj: Sink | None = None) -> Any:
        kind = self._kind(request, obj)
        told = names_of(kind) if kind and self._may_save(request, obj) else ("settings_shown",)
        usual = (
            (None, {"fields": ("name", "title", "kind", "is_enabled")}),
            ("Where to", {"fields": (*told, "secret")}),
            ("What it sees", {"fields": ("format", "redaction")}),
        )
        if obj is None:
            return usual
        again = ("send_again_from",) if kind and self._may_save(request, obj) else ()
        return (*usual, ("How far it is", {"fields": (*HOW_FAR, *again)}))

    def _progress(self, sink: Sink) -> Progress:
        if not hasattr(sink, "_progress"):
            sink._progress = progress_of([sink], now=timezone.now())[sink.pk]  # type: ignore[attr-defined]
        found: Progress = sink._progress  # type: ignore[attr-defined]
        return found

    def stays_because(self, row: Sink) -> str:
        return sink_acts.stays_because(row)

    def delete_model(self, request: HttpRequest, obj: Sink) -> None:
        sink_acts.delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Sink]) -> None:
        for sink in queryset:
            sink_acts.delete(sink)

    def save_model(self, request: HttpRequest, obj: Sink, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if (leaf := form.cleaned_data.get("send_again_from")) is not None:
            sink_acts.replay(obj, leaf=leaf, record=self.by(request)["record"])

    @admin.action(description="Test selected: send a sample", permissions=["change"])
    def send_sample(self, request: HttpRequest, sinks: QuerySet[Sink]) -> HttpResponse | None:
        effect = "Each gets the newest checkpoint, which discloses nothing. What came of it stands on the sink's page."
        return self._do(request, sinks, "send_sample", "Send a sample to", effect)

    @admin.action(description="Resume selected", permissions=["change"])
    def resume(self, request: HttpRequest, sinks: QuerySet[Sink]) -> HttpResponse | None:
        effect = "Those that were refused, or wait after a failure, are tried again at once."
        return self._do(request, sinks, "resume", "Resume", effect)

    @admin.action(description="Retry dead letters of selected", permissions=["change"])
    def retry_dead_letters(self, request: HttpRequest, sinks: QuerySet[Sink]) -> HttpResponse | None:
        effect = "Leaves that were not taken are written anew, as the sink is set up now, and sent one by one."
        return self._do(request, sinks, "retry_dead_letters", "Retry dead letters of", effect)

    @admin.action(description="Give up dead letters of selected", permissions=["change"])
    def give_up_dead_letters(self, request: HttpRequest, sinks: QuerySet[Sink]) -> HttpResponse | None:
        effect = "Leaves that were not taken are not tried again. Which they were stays in the evidence."
        return self._do(request, sinks, "give_up_dead_letters", "Give up dead letters of", effect)

    def _do(
        self, request: HttpRequest, sinks: QuerySet[Sink], action: str, verb: str, effect: str
    ) -> HttpResponse | None:
        preview = partial(self.preview, request, sinks, action=action, verb=verb, effect=effect)
        if again := needs_fresh_login(request, "governance.change_sink", as_typed=preview):
            return again
        if not self.confirmed(request):
            return preview()
        for sink in sinks:
            SINK_ACTS[action](sink, record=self.by(request)["record"])
        text = "Given up." if action == "give_up_dead_letters" else "The worker does it within a second or two."
        self.message_user(request, text, messages.SUCCESS)
        return None


SINK_ACTS = {
    "send_sample": sink_acts.test,
    "resume": sink_acts.resume,
    "retry_dead_letters": sink_acts.retry,
    "give_up_dead_letters": sink_acts.give_up,
}
