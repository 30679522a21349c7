"""Whose accounts are connected where, of everybody, and the end of it. The tokens are nowhere to be read."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from gateway.console.base import ReadOnlyModelAdmin, display, visible
from governance.connected_accounts import end_grant
from governance.models import UpstreamGrant


@admin.register(UpstreamGrant)
class ConnectedAccountAdmin(ReadOnlyModelAdmin):
    """One row for each time that somebody connected one."""

    empty_hint = "Nobody has connected an account yet. People do so on their own page, once a connector wants accounts."
    list_display = ("whose", "connector", "provider", "state", "created_at", "renewed_at", "ended_at", "at_provider")
    list_filter = ("status", "revocation")
    list_select_related = ("client__server", "person", "connector")
    search_fields = ("person__email", "connector__name", "client__server__issuer")
    fields = (
        "whose", "connector", "provider", "resource", "may", "state", "problem", "created_at", "created_by",
        "renewed_at", "ended_at", "ended_by", "at_provider", "revocation_note",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("end",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.revoke_upstreamgrant")

    def get_queryset(self, request: HttpRequest) -> QuerySet[UpstreamGrant]:
        rows: QuerySet[UpstreamGrant] = super().get_queryset(request)
        return rows.defer("wrapped_key", "ciphertext")

    def acts_on(self, row: UpstreamGrant) -> tuple[str, ...]:
        return () if row.status == UpstreamGrant.Status.ENDED else ("end",)

    @display(description="Whose", ordering="person__email")
    def whose(self, row: UpstreamGrant) -> str:
        return visible(row.person.email if row.person else "shared by all")

    @display(description="Provider", ordering="client__server__issuer")
    def provider(self, row: UpstreamGrant) -> str:
        return visible(row.client.server.issuer)

    @display(description="May")
    def may(self, row: UpstreamGrant) -> str:
        return visible(", ".join(row.oauth_scopes))

    @display(description="State", label={"live": "success", "reconnect": "warning", "ended": "danger"})
    def state(self, row: UpstreamGrant) -> tuple[str, str]:
        return row.status, row.get_status_display()

    @display(description="At the provider", ordering="revocation")
    def at_provider(self, row: UpstreamGrant) -> str:
        return "" if row.revocation == UpstreamGrant.Revocation.NONE else row.get_revocation_display()

    @admin.action(description="End selected…", permissions=["revoke"])
    def end(self, request: HttpRequest, rows: QuerySet[UpstreamGrant]) -> HttpResponse | None:
        rows = rows.exclude(status=UpstreamGrant.Status.ENDED).select_related("client__server", "person", "connector")
        if not self.confirmed(request):
            effect = "No call can use them from then on, and their providers are told. Their people may connect again."
            return self.preview(request, rows, action="end", verb="End", effect=effect)
        ended = sum(end_grant(row, **self.performed(request)) for row in rows)
        self.message_user(request, f"{ended} connected accounts ended.", messages.SUCCESS)
        return None
