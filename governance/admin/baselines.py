"""What is usual for each agent: seen here, and learned anew by deleting it."""

from django.contrib import admin
from django.http import HttpRequest

from gateway.console.base import GovernedModelAdmin, display, visible
from governance.models import AgentBaseline

SHOWN = 5
ANYWHERE = "*"
"""Too many to keep, so a new one is nothing new."""


@admin.register(AgentBaseline)
class AgentBaselineAdmin(GovernedModelAdmin):
    empty_hint = "The worker learns what is usual for each agent. Rules that name anomaly act on what is not."
    list_display = ("agent", "state", "tools_shown", "hours_shown", "busiest_hour", "learns_until", "learned_at")
    search_fields = ("agent__name",)
    list_select_related = ("agent",)
    fields = (
        "agent",
        "since",
        "learns_until",
        "all_tools",
        "hours_shown",
        "busiest_hour",
        "destinations_shown",
        "destinations_from",
        "learned_at",
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AgentBaseline | None = None) -> bool:
        return False

    def effect_of_deleting(self, request: HttpRequest, rows: list[AgentBaseline]) -> str:
        return "It is learned anew: for two weeks nothing the agent does is unusual."

    @display(description="State", label={"learning": "info", "learned": "success"})
    def state(self, row: AgentBaseline) -> str:
        is_learned = row.learned_at is not None and row.learned_at >= row.learns_until
        return "learned" if is_learned else "learning"

    @display(description="Tools")
    def tools_shown(self, row: AgentBaseline) -> str:
        more = f" and {len(row.tools) - SHOWN} more" if len(row.tools) > SHOWN else ""
        return ", ".join(map(visible, row.tools[:SHOWN])) + more

    @display(description="Tools")
    def all_tools(self, row: AgentBaseline) -> str:
        return ", ".join(map(visible, row.tools))

    @display(description="Destinations")
    def destinations_shown(self, row: AgentBaseline) -> str:
        """How many: what they are nobody can read."""
        return "any" if ANYWHERE in row.destinations else str(len(row.destinations))

    @display(description="Hours (UTC)")
    def hours_shown(self, row: AgentBaseline) -> str:
        return ", ".join(map(str, row.hours))
