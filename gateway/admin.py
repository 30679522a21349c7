from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.paginator import InfinitePaginator

from gateway import sink_acts, staff_identities
from gateway.console.base import (
    AutocompleteSelectFilter,
    GovernedModelAdmin,
    ReadOnlyModelAdmin,
    Select,
    Switch,
    display,
    needs_fresh_login,
    visible,
)
from gateway.models import GatewayProcess, Notice
from gateway.notices.delivery import try_again
from gateway.recovery import DEAD_AFTER
from gateway.sink_progress import BEHIND, NOT_BEGUN, OFF, REFUSED, SENDS, WAITS, Progress, progress_of
from gateway.sinks import sink_faults
from governance.destinations import may_present
from governance.duties import may_sign_in_as
from governance.facts import Fact
from governance.models import NotificationChannel, Sink, StaffIdentity, User
from governance.staff_identities import NotBound, allow_again


@admin.register(GatewayProcess)
class GatewayProcessAdmin(ReadOnlyModelAdmin):
    list_display = ("__str__", "state", "applied_epoch", "calls_in_flight", "started_at", "beat_at", "ended_at")
    search_fields = ("host",)
    fields = ("id", "host", "pid", "started_at", "beat_at", "ended_at", "applied_epoch", "calls_in_flight")
    actions = None

    @display(description="State", label={"running": "success", "ended": "info", "lost": "danger"})
    def state(self, process: GatewayProcess) -> str:
        if process.ended_at:
            return "ended"
        return "running" if process.beat_at > timezone.now() - DEAD_AFTER else "lost"


class NoticeState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"
    STATES: ClassVar = {
        "given-up": ("Given up", ~Q(given_up_at=None)),
        "waiting": ("Waiting", Q(sent_at=None, given_up_at=None)),
        "sent": ("Sent", ~Q(sent_at=None)),
    }

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(key, title) for key, (title, _) in self.STATES.items()]

    def queryset(self, request: HttpRequest, notices: QuerySet[Notice]) -> QuerySet[Notice]:
        _, where = self.STATES.get(self.value() or "", ("", Q()))
        return notices.filter(where)


@admin.register(Notice)
class NoticeAdmin(ReadOnlyModelAdmin):
    """What was told, and what did not arrive."""

    list_display = ("subject", "kind", "receiver", "state", "written_at", "sent_at", "tries", "error")
    ordering = ("-id",)
    sortable_by = ()
    paginator = InfinitePaginator
    show_full_result_count = False
    list_filter = (NoticeState, "kind")
    search_fields = ("subject", "error")
    fields = ("subject", "kind", "receiver", "state", "written_at", "next_try_at", "tries", "sent_at", "error")
    readonly_fields = ("receiver", "state")
    actions = ("retry",)
    empty_hint = "Nobody had to be told of anything yet."

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.change_notificationchannel")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        people = User.objects.filter(pk=OuterRef("person_id")).values("email")
        channels = NotificationChannel.objects.filter(pk=OuterRef("channel_id")).values("name")
        named = Coalesce(Subquery(people), Subquery(channels), Value("gone meanwhile"), output_field=CharField())
        return super().get_queryset(request).annotate(receiver_name=named)  # type: ignore[no-any-return]

    @display(description="To")
    def receiver(self, notice: Any) -> str:
        return str(notice.receiver_name)

    @display(description="State", label={"sent": "success", "waiting": "info", "given up": "danger"})
    def state(self, notice: Notice) -> str:
        if notice.given_up_at:
            return "given up"
        return "sent" if notice.sent_at else "waiting"

    @admin.action(description="Try selected notices again", permissions=["retry"])
    def retry(self, request: HttpRequest, notices: QuerySet[Notice]) -> HttpResponse | None:
        dead = notices.exclude(given_up_at=None)
        if not self.confirmed(request):
            effect = "They are sent as things are now; what is over by then is not told."
            return self.preview(request, dead, action="retry", verb="Try again", effect=effect)
        count = try_again(dead, now=timezone.now())
        self.by(request)["record"](Fact("notice.retried", "notices", {"count": count}))
        self.message_user(request, f"{count} notices are tried again.", messages.SUCCESS)
        return None


class SignOnState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("live", "Live"), ("ended", "Ended")]

    def queryset(self, request: HttpRequest, rows: QuerySet[StaffIdentity]) -> QuerySet[StaffIdentity]:
        return rows.filter(ended_at__isnull=self.value() == "live") if self.value() else rows


@admin.register(StaffIdentity)
class StaffIdentityAdmin(ReadOnlyModelAdmin):
    """Connected by signing in; here they are seen, ended, and allowed again."""

    empty_hint = "Nobody has signed in by single sign-on yet. Who does so is connected with her account there."
    list_display = ("account", "person_email", "protocol", "provider", "state", "created_at", "last_used_at")
    list_filter = (SignOnState, "protocol", ("person", AutocompleteSelectFilter))
    list_filter_submit = True
    list_select_related = ("person",)
    search_fields = ("subject", "person__email", "person__name")
    fields = (
        "account", "person", "protocol", "provider", "state", "group_names", "created_at", "created_by", "last_used_at",
        "ended_at", "ended_by",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("end", "allow")

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.end_staffidentity")

    def has_allow_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.allow_staffidentity")

    def acts_on(self, row: StaffIdentity) -> tuple[str, ...]:
        return ("end",) if row.ended_at is None else ("allow",)

    @display(description="Account there", ordering="subject")
    def account(self, row: StaffIdentity) -> str:
        return visible(row.subject)

    @display(description="Person", ordering="person")
    def person_email(self, row: StaffIdentity) -> str:
        return visible(row.person.email)

    @display(description="Provider", ordering="issuer")
    def provider(self, row: StaffIdentity) -> str:
        return visible(row.issuer)

    @display(description="State", label={"live": "success", "ended": "danger"})
    def state(self, row: StaffIdentity) -> str:
        return "live" if row.ended_at is None else "ended"

    @display(description="Groups said last")
    def group_names(self, row: StaffIdentity) -> str:
        return visible(", ".join(row.groups))

    @admin.action(description="End selected…", permissions=["end"])
    def end(self, request: HttpRequest, rows: QuerySet[StaffIdentity]) -> HttpResponse | None:
        rows = rows.filter(ended_at=None).select_related("person")
        if not self.confirmed(request):
            effect = (
                "They sign nobody in any more. Sessions that rest on them are over at once, and what their groups gave "
                "is taken. Passwords, passkeys and agents stay: to end those, too, offboard the person."
            )
            return self.preview(request, rows, action="end", verb="End", effect=effect)
        ended = sum(staff_identities.end(row, **self.performed(request)) for row in rows)
        self.message_user(request, f"{ended} accounts ended.", messages.SUCCESS)
        return None

    @admin.action(description="Allow selected again…", permissions=["allow"])
    def allow(self, request: HttpRequest, rows: QuerySet[StaffIdentity]) -> HttpResponse | None:
        rows = rows.exclude(ended_at=None).select_related("person")
        effect = "Each signs in the person it was bound to, as before. Groups give again what they give at that time."
        preview = partial(self.preview, request, rows, action="allow", verb="Allow", effect=effect)
        if again := needs_fresh_login(request, "governance.allow_staffidentity", as_typed=preview):
            return again
        if not self.confirmed(request):
            return preview()
        for row in rows:
            self._allow(request, row)
        return None

    def _allow(self, request: HttpRequest, row: StaffIdentity) -> None:
        """Nobody opens a way in for somebody who may do more than she may herself."""
        if not may_sign_in_as(request.user, row.person):
            text = f"{row.person.email} may do more than you. Ask an owner."
            self.message_user(request, text, messages.WARNING)
            return
        try:
            allow_again(row, **self.by(request))
        except NotBound as refusal:
            self.message_user(request, f"{row.person.email}: {refusal}", messages.WARNING)
        else:
            self.message_user(request, f"{row.person.email} can sign in there again.", messages.SUCCESS)


class SinkForm(forms.ModelForm):  # type: ignore[type-arg]
    person: ClassVar[User]
    kind = forms.ChoiceField(choices=tuple(Sink.KINDS.items()), widget=Select)
    send_again_from = forms.CharField(
        required=False,
        max_length=40,
        help_text="A leaf's number or a moment (2026-11-21 14:00): everything from there on is sent once more.",
    )

    class Meta:
        widgets = {"is_enabled": Switch}

    def clean_send_again_from(self) -> int | None:
        text = str(self.cleaned_data["send_again_from"])
        try:
            return sink_acts.leaf_of(text) if text else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = self.instance.kind if self.instance.pk and "kind" not in cleaned else cleaned.get("kind")
        found = sink_faults(
            str(kind),
            str(cleaned.get("format")),
            cleaned.get("settings") or {},
            cleaned.get("secret"),
            before=Sink.objects.filter(pk=self.instance.pk).first(),
            may_show=lambda secret: may_present(secret, person=self.person),
        )
        for name, text in found:
            self.add_error(
                *((name, text) if name in self.fields else ("settings", f"{name.partition('.')[2]}: {text}"))
            )
        return cleaned


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

    form = SinkForm
    fixed_fields = ("name", "kind")
    fresh_login_for = "governance.change_sink"
    empty_hint = "Evidence stays here. A sink sends every leaf to a SIEM, an object store or a program of yours."
    list_display = ("name", "kind", "state", "lag", "dead_letters", "arrived_at", "last_error")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "title")
    actions = ("send_sample", "resume", "retry_dead_letters", "give_up_dead_letters")
    fieldsets = (
        (None, {"fields": ("name", "title", "kind", "is_enabled")}),
        (
            "Where to",
            {"fields": ("settings", "secret"), "description": "The settings of each kind are in docs/export.md."},
        ),
        ("What it sees", {"fields": ("format", "redaction")}),
        (
            "How far it is",
            {"fields": ("state", "lag", "arrived_at", "last_error", "dead_letters", "sample", "send_again_from")},
        ),
    )
    readonly_fields = HOW_FAR

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

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

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
