from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest

from gateway.console.base import GovernedModelAdmin, ReadOnlyInline, ReadOnlyModelAdmin, display
from governance.models import Policy, PolicyVersion, Rule

STATE_COLOURS = {PolicyVersion.State.PUBLISHED: "success", PolicyVersion.State.SUPERSEDED: "info"}


class VersionInline(ReadOnlyInline):
    model = PolicyVersion
    fields = ("number", "state", "created_at", "created_by")
    readonly_fields = fields


@admin.register(Policy)
class PolicyAdmin(GovernedModelAdmin):
    """The rules are in the versions, which are frozen; a new one comes into force by `apply`."""

    parts = (PolicyVersion, Rule)
    fixed_fields = ("name",)
    list_display = ("name", "title", "in_force", "rule_effects")
    search_fields = ("name", "title")
    inlines = (VersionInline,)
    fieldsets = (
        (
            None,
            {
                "fields": ("name", "title"),
                "description": "Versions are frozen; the command “apply” brings a new one into force.",
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        in_force = PolicyVersion.objects.filter(state=PolicyVersion.State.PUBLISHED).prefetch_related("rules")
        return super().get_queryset(request).prefetch_related(Prefetch("versions", in_force, "live_versions"))  # type: ignore[no-any-return]

    def has_delete_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        """What binds somebody is taken off first, where its reach is seen."""
        return bool(super().has_delete_permission(request, obj)) and not (obj and _binds(obj))

    @display(description="In force", label=True)
    def in_force(self, policy: Any) -> str:
        return ", ".join(f"v{version.number}" for version in policy.live_versions)

    @display(description="Rules")
    def rule_effects(self, policy: Any) -> str:
        return ", ".join(
            f"{rule.effect} {' '.join(rule.tools)}" for version in policy.live_versions for rule in version.rules.all()
        )


def _binds(policy: Policy) -> bool:
    return policy.bundle_versions.exists() or policy.teams.exists() or policy.organizations.exists()


class RuleInline(ReadOnlyInline):
    model = Rule
    fields = ("position", "effect", "applies_to", "on", "condition", "found", "asks", "reason", "is_checked")
    readonly_fields = fields
    show_change_link = False
    ordering = ("position",)

    @display(description="Tools")
    def applies_to(self, rule: Rule) -> str:
        return ", ".join(rule.tools)

    @display(description="Findings")
    def found(self, rule: Rule) -> str:
        return ", ".join(rule.findings)

    @display(description="Approvers")
    def asks(self, rule: Rule) -> str:
        return ", ".join(f"{key}: {value}" for key, value in rule.approvers.items())


@admin.register(PolicyVersion)
class PolicyVersionAdmin(ReadOnlyModelAdmin):
    list_display = ("__str__", "state_shown", "created_at", "created_by")
    list_filter = ("state", "policy")
    list_select_related = ("policy",)
    search_fields = ("policy__name",)
    fields = ("policy", "number", "state", "created_at", "created_by")
    inlines = (RuleInline,)

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def state_shown(self, version: PolicyVersion) -> tuple[str, str]:
        return version.state, version.get_state_display()
