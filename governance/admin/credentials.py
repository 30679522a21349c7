"""Credentials of agents: seen, found and revoked; they are issued from the agent's own page."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from gateway.console.base import ReadOnlyModelAdmin, display, moment, visible
from governance.agent_keys import live, revoke_key
from governance.models import AgentCredential
from governance.rotation import open_tasks, terms
from governance.rotation_watch import unused


class KeyState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Live"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, keys: QuerySet[AgentCredential]) -> QuerySet[AgentCredential]:
        is_expired = Q(expires_at__lte=timezone.now())
        if self.value() == "live":
            return keys.filter(~is_expired, revoked_at=None)
        if self.value() == "expired":
            return keys.filter(is_expired, revoked_at=None)
        return keys.exclude(revoked_at=None) if self.value() == "revoked" else keys


class KeyDue(admin.SimpleListFilter):
    """As the organization's terms say."""

    title = "to be replaced"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("asked", "Asked for"), ("unused", "Unused"), ("old", "Older than the term")]

    def queryset(self, request: HttpRequest, keys: QuerySet[AgentCredential]) -> QuerySet[AgentCredential]:
        now, found = timezone.now(), terms()
        is_live = keys.filter(live(now))
        if self.value() == "asked":
            return is_live.filter(pk__in=open_tasks().values("subject_id"))
        if self.value() == "unused":
            return is_live.filter(pk__in=unused(is_live, found, now=now).values("pk"))
        if self.value() == "old":
            return is_live.filter(created_at__lte=now - found.rotate_after) if found.rotate_after else keys.none()
        return keys


@admin.register(AgentCredential)
class AgentKeyAdmin(ReadOnlyModelAdmin):
    """Keys are issued from the agent's screen and revoked here; nothing of them can be edited."""

    empty_hint = "Open an agent and choose “Issue a key”."
    list_display = (
        "key", "kind", "agent", "label", "state", "created_at", "created_by", "expires_at", "last_used", "used_from",
        "revoked_at", "revoked_by",
    )  # fmt: skip
    list_filter = (KeyState, KeyDue, "kind")
    list_select_related = ("agent", "use")
    search_fields = ("hint", "label", "agent__name", "agent__owner__email")
    fields = (
        "id", "kind", "hint", "label", "agent", "person", "thumbprint", "issuer", "claims", "successor_of",
        "created_at", "created_by", "not_before", "expires_at", "last_used", "used_from", "used_by", "revoked_at",
        "revoked_by",
    )  # fmt: skip
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.revoke_agentcredential")

    def acts_on(self, row: AgentCredential) -> tuple[str, ...]:
        return () if row.revoked_at else ("revoke",)

    @display(description="Key", ordering="hint")
    def key(self, credential: AgentCredential) -> str:
        return f"{credential.hint}…" if credential.digest else credential.hint

    @display(description="Last used (UTC)", ordering="use__last_used_at")
    def last_used(self, credential: AgentCredential) -> str:
        return moment(credential.use.last_used_at) if hasattr(credential, "use") else "never"

    @display(description="From", ordering="use__last_used_from")
    def used_from(self, credential: AgentCredential) -> str:
        return credential.use.last_used_from if hasattr(credential, "use") else ""

    @display(description="By the client")
    def used_by(self, credential: AgentCredential) -> str:
        return visible(credential.use.last_client) if hasattr(credential, "use") else ""

    @display(description="State", label={"live": "success", "expired": "warning", "revoked": "danger"})
    def state(self, credential: AgentCredential) -> str:
        if credential.revoked_at:
            return "revoked"
        is_expired = credential.expires_at is not None and credential.expires_at <= timezone.now()
        return "expired" if is_expired else "live"

    @admin.action(description="Revoke selected…", permissions=["revoke"])
    def revoke(self, request: HttpRequest, keys: QuerySet[AgentCredential]) -> HttpResponse | None:
        keys = keys.filter(revoked_at=None)
        if not self.confirmed(request):
            agents = keys.order_by().values("agent").distinct().count()
            effect = f"{agents} agents can start no further call with them from this moment. It cannot be undone."
            return self.preview(request, keys, action="revoke", verb="Revoke", effect=effect)
        ended = sum(revoke_key(key, **self.performed(request)) for key in keys.select_related("agent"))
        self.message_user(request, f"{ended} keys revoked.", messages.SUCCESS)
        return None
