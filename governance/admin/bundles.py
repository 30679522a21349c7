from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest

from gateway.console.base import GovernedModelAdmin, ReadOnlyInline, ReadOnlyModelAdmin, display
from governance.models import Bundle, BundleTool, BundleVersion

STATE_COLOURS = {BundleVersion.State.PUBLISHED: "success", BundleVersion.State.SUPERSEDED: "info"}


class VersionInline(ReadOnlyInline):
    model = BundleVersion
    fields = ("number", "state", "recording", "created_at", "created_by")
    readonly_fields = fields


@admin.register(Bundle)
class BundleAdmin(GovernedModelAdmin):
    """What a bundle gives is in its versions, which are frozen; a new one is published by `apply`."""

    parts = (BundleVersion, BundleTool)
    fixed_fields = ("name",)
    list_display = ("name", "title", "published", "gives", "rules")
    search_fields = ("name", "title")
    inlines = (VersionInline,)
    fieldsets = (
        (
            None,
            {
                "fields": ("name", "title"),
                "description": "Agents see the name in their address, /mcp/<name>. "
                "Versions are frozen; the command “apply” publishes a new one.",
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bundle]:
        in_force = BundleVersion.objects.filter(state=BundleVersion.State.PUBLISHED)
        in_force = in_force.prefetch_related("tools__connector", "policies")
        return super().get_queryset(request).prefetch_related(Prefetch("versions", in_force, "in_force"))  # type: ignore[no-any-return]

    def has_delete_permission(self, request: HttpRequest, obj: Bundle | None = None) -> bool:
        """A bundle that others build on takes its rules along when it goes."""
        return bool(super().has_delete_permission(request, obj)) and not (obj and _is_in_use(obj))

    @display(description="Published", label=True)
    def published(self, bundle: Any) -> str:
        return ", ".join(f"v{version.number}" for version in bundle.in_force)

    @display(description="Gives")
    def gives(self, bundle: Any) -> str:
        return "; ".join(_tools(tool) for version in bundle.in_force for tool in version.tools.all())

    @display(description="Rules")
    def rules(self, bundle: Any) -> str:
        return ", ".join(policy.name for version in bundle.in_force for policy in version.policies.all())


def _is_in_use(bundle: Bundle) -> bool:
    return bundle.roles.exists() or bundle.child_versions.filter(state=BundleVersion.State.PUBLISHED).exists()


def _tools(tool: BundleTool) -> str:
    denied = f" without {', '.join(tool.deny)}" if tool.deny else ""
    return f"{tool.connector.name}: {', '.join(tool.allow)}{denied}"


class BundleToolInline(ReadOnlyInline):
    model = BundleTool
    fields = ("connector", "allowed", "denied")
    readonly_fields = fields
    show_change_link = False

    @display(description="Allows")
    def allowed(self, tool: BundleTool) -> str:
        return ", ".join(tool.allow)

    @display(description="Without")
    def denied(self, tool: BundleTool) -> str:
        return ", ".join(tool.deny)


@admin.register(BundleVersion)
class BundleVersionAdmin(ReadOnlyModelAdmin):
    list_display = ("__str__", "state_shown", "recording", "created_at", "created_by")
    list_filter = ("state", "bundle")
    list_select_related = ("bundle",)
    search_fields = ("bundle__name",)
    fields = ("bundle", "number", "state", "names", "recording", "parents", "policies", "created_at", "created_by")
    inlines = (BundleToolInline,)

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def state_shown(self, version: BundleVersion) -> tuple[str, str]:
        return version.state, version.get_state_display()
