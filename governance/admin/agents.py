from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from gateway.console.base import GovernedModelAdmin, ReadOnlyInline, ReadOnlyModelAdmin, display
from governance.agent_keys import NotIssuable, issue_key, retire_agent, revoke_key
from governance.models import Agent, AgentCredential

STATUS_COLOURS = {
    Agent.Status.LIVE: "success",
    Agent.Status.SUSPENDED: "warning",
    Agent.Status.RETIRED: "danger",
}


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Retiring ends the keys too, so it is an action with a preview and no choice of this form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "status" in self.fields:
            choices = [choice for choice in Agent.Status.choices if choice[0] != Agent.Status.RETIRED]
            self.fields["status"].choices = choices  # type: ignore[attr-defined]


class KeyInline(ReadOnlyInline):
    model = AgentCredential
    fields = ("hint", "created_at", "created_by", "expires_at", "revoked_at")
    readonly_fields = fields
    verbose_name_plural = "keys"


@admin.register(Agent)
class AgentAdmin(GovernedModelAdmin):
    """Agents are retired, never deleted: evidence names them."""

    form = AgentForm
    fixed_fields = ("name",)
    list_display = ("name", "title", "state", "owner", "role_names", "live_keys", "calls")
    list_filter = ("status", "roles")
    search_fields = ("name", "title", "purpose", "owner__email")
    autocomplete_fields = ("owner",)
    readonly_fields = ("created_at", "role_names")
    inlines = (KeyInline,)
    actions = ("issue_keys", "retire")
    fieldsets = (
        (None, {"fields": ("name", "title", "purpose", "owner")}),
        (
            "Access",
            {
                "fields": ("status", "role_names", "created_at"),
                "description": "A suspended agent is refused every call until it is live again; its keys stay.",
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        rows = super().get_queryset(request).select_related("owner").prefetch_related("roles")
        is_live = Q(credentials__id__isnull=False, credentials__revoked_at=None)
        return rows.annotate(live_key_total=Count("credentials", filter=is_live))  # type: ignore[no-any-return]

    def get_readonly_fields(self, request: HttpRequest, obj: Agent | None = None) -> tuple[str, ...]:
        is_retired = obj is not None and obj.status == Agent.Status.RETIRED
        return (*super().get_readonly_fields(request, obj), *(("status",) if is_retired else ()))

    def has_delete_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        return False

    @display(description="Status", label=STATUS_COLOURS, ordering="status")
    def state(self, agent: Agent) -> tuple[str, str]:
        return agent.status, agent.get_status_display()

    @display(description="Roles")
    def role_names(self, agent: Agent) -> str:
        return ", ".join(role.name for role in agent.roles.all())

    @display(description="Live keys", ordering="live_key_total")
    def live_keys(self, agent: Any) -> int:
        return int(agent.live_key_total)

    @display(description="Evidence")
    def calls(self, agent: Agent) -> str:
        link = reverse("admin:audit_eventrow_changelist")
        return format_html('<a class="text-primary-600" href="{}?agent={}">calls</a>', link, agent.name)

    @admin.action(description="Retire selected agents", permissions=["change"])
    def retire(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        agents = agents.exclude(status=Agent.Status.RETIRED)
        if not self.confirmed(request):
            keys = AgentCredential.objects.filter(agent__in=agents, revoked_at=None).count()
            effect = f"They are refused for good from this moment, and {keys} live keys of theirs end."
            return self.preview(request, agents, action="retire", verb="Retire", effect=effect)
        retired = list(agents)
        ended = sum(retire_agent(agent, **self.performed(request)) for agent in retired)
        self.message_user(request, f"{len(retired)} agents retired, {ended} keys ended.", messages.SUCCESS)
        return None

    @admin.action(description="Issue a key", permissions=["change"])
    def issue_keys(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        """For one agent; the answer to this POST is the only page that ever shows the key."""
        if agents.count() != 1:
            self.message_user(request, "Choose one agent to issue a key for.", messages.WARNING)
            return None
        if not self.confirmed(request):
            effect = "A new key is shown once, on the next page. Other keys of the agent stay as they are."
            return self.preview(request, agents, action="issue_keys", verb="Issue a key for", effect=effect)
        try:
            issued = issue_key(agents.get(), expires_at=None, **self.performed(request))
        except NotIssuable as reason:
            self.message_user(request, str(reason), messages.ERROR)
            return None
        context = {**self.admin_site.each_context(request), "title": "New agent key", "issued": issued}
        return TemplateResponse(request, "admin/issued_key.html", context)


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


@admin.register(AgentCredential)
class AgentKeyAdmin(ReadOnlyModelAdmin):
    """Keys are issued from the agent's screen and revoked here; nothing of them can be edited."""

    list_display = ("key", "agent", "state", "created_at", "created_by", "expires_at", "revoked_at", "revoked_by")
    list_filter = (KeyState,)
    list_select_related = ("agent",)
    search_fields = ("hint", "agent__name", "agent__owner__email")
    fields = ("id", "hint", "agent", "created_at", "created_by", "not_before", "expires_at", "revoked_at", "revoked_by")
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.change_agentcredential")

    @display(description="Key", ordering="hint")
    def key(self, credential: AgentCredential) -> str:
        return f"{credential.hint}…"

    @display(description="State", label={"live": "success", "expired": "warning", "revoked": "danger"})
    def state(self, credential: AgentCredential) -> str:
        if credential.revoked_at:
            return "revoked"
        is_expired = credential.expires_at is not None and credential.expires_at <= timezone.now()
        return "expired" if is_expired else "live"

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, keys: QuerySet[AgentCredential]) -> HttpResponse | None:
        keys = keys.filter(revoked_at=None)
        if not self.confirmed(request):
            agents = keys.order_by().values("agent").distinct().count()
            effect = f"{agents} agents can start no further call with them from this moment. It cannot be undone."
            return self.preview(request, keys, action="revoke", verb="Revoke", effect=effect)
        ended = sum(revoke_key(key, **self.performed(request)) for key in keys.select_related("agent"))
        self.message_user(request, f"{ended} keys revoked.", messages.SUCCESS)
        return None
