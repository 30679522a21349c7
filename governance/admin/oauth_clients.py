"""Programs that people let in: what they are, and the queue of those that nobody has looked at yet."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from gateway.console.base import ReadOnlyModelAdmin, display, visible
from governance import oauth_clients
from governance.authorizations import live
from governance.client_documents import places_of
from governance.models import OAuthClient

Status = OAuthClient.Status
WAYS = {
    "authorization_code": "a person agrees in the browser",
    "refresh_token": "renews by itself",
    "client_credentials": "an agent proves itself",
    "urn:ietf:params:oauth:grant-type:device_code": "a person agrees for a device",
    "urn:ietf:params:oauth:grant-type:jwt-bearer": "the identity provider vouches for the person",
}


@admin.register(OAuthClient)
class OAuthClientAdmin(ReadOnlyModelAdmin):
    """Describing themselves they are strangers: what they call themselves proves nothing, where codes go does."""

    empty_hint = (
        "A client that people use here for the first time waits in this list, if the organization lets clients of its "
        "host describe themselves (Organization, in Operations). A client without a description is added by hand; "
        "agents that ask for tokens are here too."
    )
    list_display = ("shown_name", "shown_id", "state", "origin", "codes_go_to", "people", "created_at")
    list_filter = ("status", "origin")
    list_select_related = ("agent",)
    search_fields = ("client_id", "name")
    fields = (
        "shown_name", "shown_id", "state", "origin", "agent", "shown_redirects", "shown_ways", "people", "created_at",
        "created_by",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("approve", "disable")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OAuthClient]:
        standing = Count("authorizations", filter=live(timezone.now(), through="authorizations__"))
        return super().get_queryset(request).annotate(standing=standing)  # type: ignore[no-any-return]

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.approve_oauthclient")

    def has_disable_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.disable_oauthclient")

    def acts_on(self, row: OAuthClient) -> tuple[str, ...]:
        ends_in = {"approve": Status.APPROVED, "disable": Status.DISABLED}
        return tuple(act for act, status in ends_in.items() if row.status != status)

    @display(description="Calls itself", ordering="name")
    def shown_name(self, client: OAuthClient) -> str:
        return visible(client.name)

    @display(description="Client ID", ordering="client_id")
    def shown_id(self, client: OAuthClient) -> str:
        return visible(client.client_id)

    @display(description="State", label={"approved": "success", "pending": "warning", "disabled": "danger"})
    def state(self, client: OAuthClient) -> str:
        return client.status

    @display(description="Codes go to")
    def codes_go_to(self, client: OAuthClient) -> str:
        shown = sorted(places_of(client.redirect_uris))
        return visible(", ".join("the person's own machine" if place == "loopback" else place for place in shown))

    @display(description="Redirect URIs")
    def shown_redirects(self, client: OAuthClient) -> str:
        return visible(", ".join(client.redirect_uris))

    @display(description="Ways to a token")
    def shown_ways(self, client: OAuthClient) -> str:
        return visible(", ".join(WAYS.get(way, way) for way in client.grant_types))

    @display(description="People who use it", ordering="standing")
    def people(self, client: Any) -> str:
        return str(client.standing)

    @admin.action(description="Approve selected…", permissions=["approve"])
    def approve(self, request: HttpRequest, clients: QuerySet[OAuthClient]) -> HttpResponse | None:
        clients = clients.exclude(status=Status.APPROVED)
        if not self.confirmed(request):
            effect = "Everybody here can let them in from this moment, each for what she herself may."
            return self.preview(request, clients, action="approve", verb="Approve", effect=effect)
        act = self.by(request)
        count = sum(oauth_clients.approve(client, by=act["by"], record=act["record"]) for client in clients)
        self.message_user(request, f"{count} approved.", messages.SUCCESS)
        return None

    @admin.action(description="Disable selected…", permissions=["disable"])
    def disable(self, request: HttpRequest, clients: QuerySet[OAuthClient]) -> HttpResponse | None:
        clients = clients.filter(~Q(status=Status.DISABLED))
        if not self.confirmed(request):
            effect = "Nobody can let them in any more, and all tokens they hold end at once. That cannot be undone."
            return self.preview(request, clients, action="disable", verb="Disable", effect=effect)
        ended = sum(oauth_clients.disable(client, **self.performed(request)) for client in clients)
        self.message_user(request, f"Disabled; {ended} authorizations ended.", messages.SUCCESS)
        return None
