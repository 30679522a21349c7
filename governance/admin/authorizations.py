"""What people let in, of everybody: which client, for whom, where and until when; and the end of it."""

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from gateway.console.base import ReadOnlyModelAdmin, display, visible
from governance import authorizations
from governance.models import Authorization
from governance.oauth_resources import bundle_of, bundles_of


@admin.register(Authorization)
class AuthorizationAdmin(ReadOnlyModelAdmin):
    """Each is the root of all tokens that came of it."""

    empty_hint = "Nobody has let a client in yet. People do so from their client, by the address of an endpoint."
    list_display = ("shown_client", "person", "agent", "endpoint", "basis", "state", "created_at", "expires_at")
    list_filter = ("basis",)
    list_select_related = ("client", "person", "agent")
    search_fields = ("client__name", "client__client_id", "person__email", "agent__name")
    fields = (
        "shown_client", "person", "agent", "endpoint", "may_use", "basis", "state", "created_at", "created_by",
        "expires_at", "revoked_at", "revoked_by",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("end",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.revoke_authorization")

    def acts_on(self, row: Authorization) -> tuple[str, ...]:
        return () if row.revoked_at else ("end",)

    @display(description="Client", ordering="client__name")
    def shown_client(self, row: Authorization) -> str:
        return visible(str(row.client or row.agent))

    @display(description="Endpoint", ordering="resource")
    def endpoint(self, row: Authorization) -> str:
        return visible(bundle_of(row.resource, origin=settings.PUBLIC_URL) or "all that is held")

    @display(description="May use")
    def may_use(self, row: Authorization) -> str:
        return visible(", ".join(sorted(bundles_of(row.oauth_scopes))))

    @display(description="State", label={"live": "success", "ended": "danger"})
    def state(self, row: Authorization) -> str:
        return "live" if row.revoked_at is None and row.expires_at > timezone.now() else "ended"

    @admin.action(description="End selected…", permissions=["revoke"])
    def end(self, request: HttpRequest, rows: QuerySet[Authorization]) -> HttpResponse | None:
        rows = rows.filter(revoked_at=None).select_related("client", "person", "agent")
        if not self.confirmed(request):
            effect = "All tokens that came of them end at once, and what runs with one is cut off."
            return self.preview(request, rows, action="end", verb="End", effect=effect)
        ended = sum(authorizations.revoke(row, **self.performed(request)) for row in rows)
        self.message_user(request, f"{ended} ended.", messages.SUCCESS)
        return None
