from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.paginator import InfinitePaginator

from gateway.console.base import ReadOnlyModelAdmin, display
from gateway.models import GatewayProcess, Notice
from gateway.notices.delivery import try_again
from gateway.recovery import DEAD_AFTER
from governance.facts import Fact
from governance.models import NotificationChannel, User


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
