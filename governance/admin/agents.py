from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from gateway.console.base import (
    AutocompleteSelectFilter,
    GovernedModelAdmin,
    display,
    last_seen,
    moment,
    needs_fresh_login,
    visible,
)
from governance.agent_keys import live, retire_agent, revoke_all_keys
from governance.agents import resume_agent, suspend_agent, transfer_agent
from governance.freezes import LASTING, FreezeTarget, freeze, in_force
from governance.models import Agent, AgentCredential, Freeze, User
from governance.proposals import with_agent
from governance.snapshot import Snapshot

STATUS_COLOURS = {
    Agent.Status.LIVE: "success",
    Agent.Status.SUSPENDED: "warning",
    Agent.Status.RETIRED: "danger",
    "frozen": "danger",
}
EXPIRES_SOON = timedelta(days=14)


def live_keys_of_agent() -> QuerySet[AgentCredential]:
    """Of the agent in the outer query: a subquery for each row shown, where a join would count all keys there are."""
    return AgentCredential.objects.filter(live(timezone.now()), agent=OuterRef("pk")).order_by()


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Retiring ends the keys too, so it is an action with a preview and no choice of this form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "status" in self.fields:
            choices = [choice for choice in Agent.Status.choices if choice[0] != Agent.Status.RETIRED]
            self.fields["status"].choices = choices  # type: ignore[attr-defined]


class FreezeAgents(forms.Form):
    reason = forms.CharField(max_length=500)
    lasting = forms.ChoiceField(label="For how long", choices=tuple(LASTING.items()), required=False)


class TransferAgents(forms.Form):
    to = forms.EmailField(label="E-mail of the new owner")
    ends_keys = forms.BooleanField(
        label="End their keys",
        required=False,
        initial=True,
        help_text="The former owners may have kept them.",
    )

    def clean_to(self) -> User:
        person = User.objects.filter(email__iexact=self.cleaned_data["to"], is_active=True).first()
        if person is None:
            raise ValidationError("There is no active person with this e-mail.")
        return person


class KeysFilter(admin.SimpleListFilter):
    title = "keys"
    parameter_name = "keys"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("none", "No live key"), ("soon", "A key expires within 14 days"), ("forever", "A key never expires")]

    def queryset(self, request: HttpRequest, agents: QuerySet[Agent]) -> QuerySet[Agent]:
        live = live_keys_of_agent()
        if self.value() == "none":
            return agents.filter(~Exists(live))
        if self.value() == "soon":
            return agents.filter(Exists(live.filter(expires_at__lte=timezone.now() + EXPIRES_SOON)))
        return agents.filter(Exists(live.filter(expires_at=None))) if self.value() == "forever" else agents


class OwnerFilter(admin.SimpleListFilter):
    title = "who answers"
    parameter_name = "answers"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("nobody", "Nobody: the owner is not active")]

    def queryset(self, request: HttpRequest, agents: QuerySet[Agent]) -> QuerySet[Agent]:
        gone = agents.filter(owner__is_active=False).exclude(status=Agent.Status.RETIRED)
        return gone if self.value() == "nobody" else agents


class AgentList(ChangeList):
    def url_for_result(self, result: Model) -> str:
        return reverse("agent_overview", args=[result.pk])


@admin.register(Agent)
class AgentAdmin(GovernedModelAdmin):
    """Agents are retired, never deleted: evidence names them. A row leads to the agent's own page."""

    form = AgentForm
    changes_reach = True
    fixed_fields = ("name",)
    change_form_before_template = "console/access/before_agent.html"
    empty_hint = "An agent is a program that calls tools. It has an owner who answers for it, roles, and keys."
    list_display = ("name", "state", "owner_email", "role_names", "live_keys", "oldest_key", "seen")
    list_filter = (
        "status",
        KeysFilter,
        OwnerFilter,
        ("owner", AutocompleteSelectFilter),
        ("roles", AutocompleteSelectFilter),
    )
    search_fields = ("name", "title", "purpose", "owner__email")
    autocomplete_fields = ("owner",)
    readonly_fields = ("created_at", "role_names")
    actions = ("suspend", "resume", "freeze", "transfer", "revoke_keys", "retire")
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
        keys = live_keys_of_agent().values("agent")
        frozen = Freeze.objects.filter(in_force(timezone.now()), agent=OuterRef("pk"))
        return rows.annotate(  # type: ignore[no-any-return]
            key_total=Coalesce(Subquery(keys.annotate(n=Count("pk")).values("n")), 0, output_field=IntegerField()),
            oldest=Subquery(live_keys_of_agent().order_by("created_at").values("created_at")[:1]),
            is_frozen=Exists(frozen),
            seen_at=last_seen(),
        )

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return AgentList

    def get_readonly_fields(self, request: HttpRequest, obj: Agent | None = None) -> tuple[str, ...]:
        is_retired = obj is not None and obj.status == Agent.Status.RETIRED
        return (*super().get_readonly_fields(request, obj), *(("status",) if is_retired else ()))

    def has_delete_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        return False

    def proposed(self, form: AgentForm, snapshot: Snapshot) -> Snapshot | None:
        known = snapshot.agents.get(form.instance.pk.hex)
        owner = snapshot.people.get(form.instance.owner_id.hex)
        if known is None or owner is None:
            return snapshot
        return with_agent(snapshot, replace(known, status=form.instance.status, owner=owner))

    def has_freeze_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.add_freeze")

    def has_transfer_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.transfer_agent")

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.retire_agent")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.revoke_agentcredential")

    def response_post_save_add(self, request: HttpRequest, obj: Agent) -> HttpResponseRedirect:
        """On to what comes next: its roles and its first key."""
        return HttpResponseRedirect(reverse("agent_overview", args=[obj.pk]))

    def response_post_save_change(self, request: HttpRequest, obj: Agent) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("agent_overview", args=[obj.pk]))

    # Columns

    @display(description="State", label=STATUS_COLOURS, ordering="status")
    def state(self, agent: Any) -> tuple[str, str]:
        is_frozen = agent.is_frozen and agent.status == Agent.Status.LIVE
        return ("frozen", "Frozen") if is_frozen else (agent.status, agent.get_status_display())

    @display(description="Owner")
    def owner_email(self, agent: Agent) -> str:
        email = visible(agent.owner.email)
        return email if agent.owner.is_active else f"{email} (not active)"

    @display(description="Roles")
    def role_names(self, agent: Agent) -> str:
        return ", ".join(role.name for role in agent.roles.all())

    @display(description="Live keys")
    def live_keys(self, agent: Any) -> int:
        return int(agent.key_total)

    @display(description="Oldest key")
    def oldest_key(self, agent: Any) -> str:
        return timesince(agent.oldest, depth=1) if agent.oldest else "–"

    @display(description="Last seen (UTC)")
    def seen(self, agent: Any) -> str:
        return moment(agent.seen_at) if agent.seen_at else "never"

    # Actions

    @admin.action(description="Suspend…", permissions=["change"])
    def suspend(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        agents = agents.filter(status=Agent.Status.LIVE)
        effect = "No further call of them starts. Their keys stay and work again when they are resumed."
        if not self.confirmed(request):
            return self.preview(request, agents, action="suspend", verb="Suspend", effect=effect)
        record = self.by(request)["record"]
        self._done(request, sum(suspend_agent(agent, record=record) for agent in agents), "suspended")
        return None

    @admin.action(description="Resume…", permissions=["change"])
    def resume(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        agents = agents.filter(status=Agent.Status.SUSPENDED)
        effect = "They can call again at once, as far as roles and rules allow."
        if not self.confirmed(request):
            return self.preview(request, agents, action="resume", verb="Resume", effect=effect)
        record = self.by(request)["record"]
        self._done(request, sum(resume_agent(agent, record=record) for agent in agents), "live again")
        return None

    @admin.action(description="Freeze…", permissions=["freeze"])
    def freeze(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        agents = agents.exclude(status=Agent.Status.RETIRED)
        form = self._form(request, FreezeAgents)
        if not form.is_valid():
            effect = "No further call of them starts until the freeze ends or is lifted. Keys and roles stay."
            return self._ask(request, agents, form, action="freeze", verb="Freeze", effect=effect)
        acts, seconds = self.performed(request), form.cleaned_data["lasting"]
        ends_at = acts["now"] + timedelta(seconds=int(seconds)) if seconds else None
        names = [agent.name for agent in agents]
        for name in names:
            freeze(FreezeTarget(agent=name), **acts, ends_at=ends_at, reason=form.cleaned_data["reason"])
        self._done(request, len(names), "frozen")
        return None

    @admin.action(description="Transfer to another owner…", permissions=["transfer"])
    def transfer(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        agents = agents.exclude(status=Agent.Status.RETIRED)
        form = self._form(request, TransferAgents)
        if not form.is_valid():
            effect = f"Another person answers for them from then on. They have {self._live(agents)} live keys."
            return self._ask(request, agents, form, action="transfer", verb="Transfer", effect=effect)
        to, ends_keys = form.cleaned_data["to"], form.cleaned_data["ends_keys"]
        moving, acts = list(agents.exclude(owner=to)), self.performed(request)
        ended = sum(transfer_agent(agent, to=to, ends_keys=ends_keys, **acts) for agent in moving)
        self._done(request, len(moving), f"transferred to {visible(to.email)}, {ended} keys ended")
        return None

    @admin.action(description="Revoke all their keys…", permissions=["revoke"])
    def revoke_keys(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        agents = agents.filter(Exists(live_keys_of_agent()))
        if not self.confirmed(request):
            effect = f"{self._live(agents)} keys end at once. The agents are refused until they get new ones."
            return self.preview(request, agents, action="revoke_keys", verb="Revoke all keys of", effect=effect)
        chosen = list(agents)
        ended = sum(revoke_all_keys(agent, **self.performed(request)) for agent in chosen)
        self._done(request, len(chosen), f"without keys now, {ended} keys ended")
        return None

    @admin.action(description="Retire…", permissions=["retire"])
    def retire(self, request: HttpRequest, agents: QuerySet[Agent]) -> HttpResponse | None:
        agents = agents.exclude(status=Agent.Status.RETIRED)
        effect = f"They are refused for good from this moment, and {self._live(agents)} live keys of theirs end."
        preview = partial(self.preview, request, agents, action="retire", verb="Retire", effect=effect)
        if again := needs_fresh_login(request, "governance.retire_agent", as_typed=preview):
            return again
        if not self.confirmed(request):
            return preview()
        chosen = list(agents)
        ended = sum(retire_agent(agent, **self.performed(request)) for agent in chosen)
        self._done(request, len(chosen), f"retired, {ended} keys ended")
        return None

    def _live(self, agents: QuerySet[Agent]) -> int:
        return AgentCredential.objects.filter(live(timezone.now()), agent__in=agents.values("pk")).count()

    def _form(self, request: HttpRequest, form: Callable[..., forms.Form]) -> forms.Form:
        """Empty, and so not valid, as long as the preview was not confirmed."""
        return form(request.POST) if self.confirmed(request) else form()

    def _ask(self, request: HttpRequest, agents: QuerySet[Agent], form: forms.Form, **words: str) -> HttpResponse:
        """The preview, with what else must be known before it can be done."""
        answer = self.preview(request, agents, action=words["action"], verb=words["verb"], effect=words["effect"])
        if isinstance(answer, TemplateResponse) and answer.context_data is not None:
            answer.context_data["form"] = form
        return answer

    def _done(self, request: HttpRequest, count: int, what: str) -> None:
        self.message_user(request, f"{count} agent{'' if count == 1 else 's'} {what}.", messages.SUCCESS)
