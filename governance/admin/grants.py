"""Rights that end by themselves: seen, ended early, and, where somebody took them without asking, reviewed."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway.console.base import AutocompleteSelectFilter, ReadOnlyModelAdmin, display, visible
from governance.grants import in_force, revoke_grant
from governance.models import Grant

REVIEW = "governance.review_grant"


class GrantState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in-force", "In force"), ("over", "Over"), ("unreviewed", "Break-glass without review")]

    def queryset(self, request: HttpRequest, grants: QuerySet[Grant]) -> QuerySet[Grant]:
        force = in_force(timezone.now())
        chosen = {
            "in-force": force,
            "over": ~force,
            "unreviewed": Q(kind=Grant.Kind.BREAK_GLASS, reviewed_at=None),
        }
        return grants.filter(chosen[wanted]) if (wanted := self.value() or "") in chosen else grants


@admin.register(Grant)
class GrantAdmin(ReadOnlyModelAdmin):
    """Given by approvals and taken by break-glass; here they are seen and ended."""

    empty_hint = (
        "Nobody has rights for a time. They come from an approved request for access, from the approval of a pattern,"
        " or from break-glass."
    )
    list_display = ("what", "subject", "kind", "state", "starts_at", "ends_at", "reason", "created_by", "review")
    list_filter = (GrantState, "kind", ("agent", AutocompleteSelectFilter), ("person", AutocompleteSelectFilter))
    list_filter_submit = True
    list_select_related = ("agent", "person", "bundle", "tool__connector")
    search_fields = ("agent__name", "person__email", "bundle__name", "tool__name", "reason", "created_by")
    fields = (
        "what", "subject", "kind", "state", "condition", "rules", "session", "reason", "asked_in", "starts_at",
        "ends_at", "max_uses", "used", "created_at", "created_by", "revoked_at", "revoked_by", "reviewed_at",
        "reviewed_by", "review_note",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.revoke_grant")

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return shown if request.user.has_perm(REVIEW) else tuple(column for column in shown if column != "review")

    @display(description="Gives")
    def what(self, grant: Grant) -> str:
        if grant.tool is not None and grant.bundle is not None:
            return visible(f"{grant.tool} of {grant.bundle.name}")
        return visible(str(grant.tool or (f"bundle {grant.bundle.name}" if grant.bundle else "")))

    @display(description="To")
    def subject(self, grant: Grant) -> str:
        return visible(grant.agent.name if grant.agent else str(grant.person))

    @display(
        description="State",
        label={"in force": "warning", "not reviewed": "danger", "revoked": "info", "ended": "info", "later": "info"},
    )
    def state(self, grant: Grant) -> str:
        """A break-glass that nobody has reviewed says so, however long it is over."""
        now = timezone.now()
        if grant.kind == Grant.Kind.BREAK_GLASS and grant.reviewed_at is None:
            return "not reviewed"
        if grant.revoked_at is not None:
            return "revoked"
        if grant.ends_at <= now:
            return "ended"
        return "in force" if grant.starts_at <= now else "later"

    @display(description="Request")
    def asked_in(self, grant: Grant) -> str:
        return f"APR-{grant.request_number}" if grant.request_number else ""

    @display(description="Used")
    def used(self, grant: Grant) -> str:
        use = getattr(grant, "use", None)
        return str(use) if use is not None else "not counted"

    @display(description="Review")
    def review(self, grant: Grant) -> SafeString | str:
        if grant.kind != Grant.Kind.BREAK_GLASS:
            return ""
        if grant.reviewed_at is not None:
            return visible(f"by {grant.reviewed_by}")
        return format_html('<a class="gh-button" href="{}">Review</a>', reverse("review_grant", args=[grant.pk]))

    @admin.action(description="End selected grants", permissions=["revoke"])
    def revoke(self, request: HttpRequest, grants: QuerySet[Grant]) -> HttpResponse | None:
        grants = grants.filter(in_force(timezone.now()))
        if not self.confirmed(request):
            effect = "No call that rests on them starts from this moment; calls under way go on. It cannot be undone."
            return self.preview(request, grants, action="revoke", verb="End", effect=effect)
        ended = sum(
            revoke_grant(grant, **self.performed(request)) for grant in grants.select_related("agent", "person")
        )
        self.message_user(request, f"{ended} grants ended.", messages.SUCCESS)
        return None
