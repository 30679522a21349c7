from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.paginator import InfinitePaginator

from gateway import staff_identities
from gateway.console.base import (
    AutocompleteSelectFilter,
    ReadOnlyModelAdmin,
    display,
    needs_fresh_login,
    visible,
)
from gateway.models import GatewayProcess, Notice
from gateway.notices.delivery import try_again
from gateway.recovery import DEAD_AFTER
from governance.duties import may_sign_in_as
from governance.facts import Fact
from governance.models import NotificationChannel, StaffIdentity, User
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
