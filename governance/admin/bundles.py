from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch
from django.http import HttpRequest

from gateway.console.base import (
    AutocompleteSelectFilter,
    ReadOnlyInline,
    Select,
    Switch,
    choose_by_search,
    display,
    named,
)
from governance.admin.pattern_pickers import PatternsField
from governance.admin.pickers import Selection, ToolsField
from governance.admin.version_changes import bundle_changes
from governance.admin.versioned import VersionAdmin, VersionedAdmin, VersionedForm, VersionInline
from governance.bundles import BundleContent, cycle_in, withdraw_bundle
from governance.models import Bundle, BundleSelection, BundleTool, BundleVersion, Policy
from governance.snapshot_builder import Draft, as_if_saved

KINDS = {"resources": BundleSelection.Kind.RESOURCE, "prompts": BundleSelection.Kind.PROMPT}
"""Field -> what it selects."""
SETS = ("tools", *KINDS, "inherits", "policies")
IN_FORCE = BundleVersion.objects.filter(state=BundleVersion.State.PUBLISHED).prefetch_related(
    Prefetch("tools", BundleTool.objects.select_related("connector")),
    Prefetch("selections", BundleSelection.objects.select_related("connector")),
    "policies",
)


class BundleForm(VersionedForm):
    """A bundle with what it gives."""

    content_field, in_force_field = "tools", "is_published"
    parts = ("tools", "selections", "parents", "policies")

    is_published = forms.BooleanField(
        required=False,
        initial=True,
        label="Published",
        widget=Switch,
        help_text="Off: the bundle gives nothing to anybody. Its versions stay.",
    )
    tools = ToolsField(label="Tools")
    resources = PatternsField(
        label="Resources",
        kind=BundleSelection.Kind.RESOURCE,
        example="file:///handbook/*",
        never="file:///handbook/salaries/*",
        help_text="By their URIs. Without a pattern the bundle gives none.",
    )
    prompts = PatternsField(
        label="Prompts",
        kind=BundleSelection.Kind.PROMPT,
        example="summarize_*",
        never="summarize_salaries",
        help_text="By their names. Without a pattern the bundle gives none.",
    )
    inherits = forms.ModelMultipleChoiceField(
        Bundle.objects.all(),
        required=False,
        label="Inherits the rules of",
        help_text="A bundle can only be stricter than those it inherits from.",
    )
    policies = forms.ModelMultipleChoiceField(
        Policy.objects.all(), required=False, label="Policies", help_text="Their rules bind every call of these tools."
    )
    names = forms.ChoiceField(
        choices=BundleVersion.Names.choices, required=False, label="Names of the tools", widget=Select
    )
    recording = forms.ChoiceField(
        choices=BundleVersion.Recording.choices,
        label="Evidence keeps",
        widget=Select,
        help_text="Who called which tool when, and how it was decided, is kept of every call.",
    )

    class Meta:
        model = Bundle
        fields = ("name", "title")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, relation in (("inherits", "parents"), ("policies", "policies")):
            if name in self.fields:
                choose_by_search(cast(Any, self.fields[name]), BundleVersion._meta.get_field(relation))

    def fields_of(self, version: BundleVersion) -> dict[str, Any]:
        return content_of(version)

    def differs_from(self, version: BundleVersion) -> bool:
        return _comparable(content_of(version)) != _comparable(self.cleaned_data)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "inherits" in cleaned and (circle := _circle(self.instance, cleaned["inherits"])):
            self.add_error("inherits", f"These would inherit from each other in a circle: {' → '.join(circle)}.")
        return cleaned

    def content(self) -> BundleContent:
        cleaned = self.cleaned_data
        return BundleContent(
            tools=self.bundle_tools(),
            selections=self.bundle_selections(),
            parents=list(cleaned["inherits"]),
            policies=list(cleaned["policies"]),
            names=cleaned["names"],
            recording=cleaned["recording"],
        )

    def bundle_tools(self) -> list[BundleTool]:
        return [
            BundleTool(connector_id=UUID(chosen.connector_id), allow=list(chosen.allow), deny=list(chosen.deny))
            for chosen in self.cleaned_data["tools"]
        ]

    def bundle_selections(self) -> list[BundleSelection]:
        return [
            BundleSelection(
                kind=kind, connector_id=UUID(chosen.connector_id), allow=list(chosen.allow), deny=list(chosen.deny)
            )
            for name, kind in KINDS.items()
            for chosen in self.cleaned_data[name]
        ]


def content_of(version: BundleVersion) -> dict[str, Any]:
    """As the form's fields."""
    return {
        "tools": [_chosen(tool) for tool in version.tools.all()],
        **{
            name: [_chosen(entry) for entry in version.selections.all() if entry.kind == kind]
            for name, kind in KINDS.items()
        },
        "inherits": list(version.parents.all()),
        "policies": list(version.policies.all()),
        "names": version.names,
        "recording": version.recording,
    }


def _chosen(entry: BundleTool | BundleSelection) -> Selection:
    return Selection(str(entry.connector_id), tuple(sorted(entry.allow)), tuple(sorted(entry.deny)))


def _comparable(content: dict[str, Any]) -> tuple[Any, ...]:
    return (*(frozenset(content[name]) for name in SETS), content["names"], content["recording"])


def _circle(bundle: Bundle, inherits: Any) -> list[str]:
    links = BundleVersion.parents.through.objects.filter(bundleversion__state=BundleVersion.State.PUBLISHED)
    parents: dict[str, set[str]] = {}
    for child, parent in links.values_list("bundleversion__bundle__name", "bundle__name"):
        parents.setdefault(child, set()).add(parent)
    return cycle_in({**parents, bundle.name: {parent.name for parent in inherits}})


class BundleVersionInline(VersionInline):
    model = BundleVersion
    fk_name = "bundle"
    fields = ("number", "state", "recording", "created_at", "created_by")
    readonly_fields = fields


@admin.register(Bundle)
class BundleAdmin(VersionedAdmin):
    """What a bundle gives is in its versions, which are frozen; saving other content publishes the next one."""

    form = BundleForm
    shown = ("published", "gives", "rules")
    shown_from = (Prefetch("versions", IN_FORCE, "in_force"),)
    fresh_login_for = "governance.publish_bundle"
    parts = (BundleVersion, BundleTool, BundleSelection)
    empty_hint = "A bundle names tools that belong together. Connect a system first; then publish some of its tools."
    list_display = ("name", "title", "published", "gives", "rules")
    search_fields = ("name", "title")
    inlines = (BundleVersionInline,)
    fieldsets = (
        (
            None,
            {
                "fields": ("name", "title", "is_published", "as_draft", "seen", "seen_revision"),
                "description": "Agents see the name in their address, /mcp/NAME.",
            },
        ),
        ("Tools", {"fields": ("tools",), "description": "What agents with this bundle may call."}),
        (
            "Resources and prompts",
            {"fields": ("resources", "prompts"), "description": "What agents with this bundle may read and use."},
        ),
        ("Rules and records", {"fields": ("inherits", "policies", "names", "recording")}),
    )
    fields_to_look_at = (
        (None, {"fields": ("name", "title", "published")}),
        ("In force", {"fields": ("gives", "rules")}),
    )

    def stays_because(self, row: Bundle) -> str:
        """A bundle that others build on takes its rules along when it goes."""
        if roles := named("the role", row.roles.values_list("name", flat=True)):
            return f"It is given by {roles}. Take it off there first."
        builders = row.child_versions.filter(state=BundleVersion.State.PUBLISHED).order_by("bundle__name")
        if bundles := named("the bundle", builders.values_list("bundle__name", flat=True)):
            return f"Its rules are inherited by {bundles}. Publish without it there first."
        return ""

    def as_if_in_force(self, form: BundleForm, row: Bundle) -> Draft:
        return Draft(versions={row.pk.hex: None if form.withdraws else _draft(form)})

    def tell_published(self, request: HttpRequest, row: Bundle, version: BundleVersion) -> None:
        self.message_user(request, f"Version {version.number} is published.", messages.SUCCESS)

    def tell_withdrawn(self, request: HttpRequest, row: Bundle) -> None:
        if withdraw_bundle(row, record=self.by(request)["record"]):
            self.message_user(request, "The bundle is withdrawn: it gives nothing any more.", messages.SUCCESS)

    @display(description="Published", label=True)
    def published(self, bundle: Any) -> str:
        return ", ".join(f"v{version.number}" for version in bundle.in_force)

    @display(description="Gives")
    def gives(self, bundle: Any) -> str:
        entries = ((*version.tools.all(), *version.selections.all()) for version in bundle.in_force)
        return "; ".join(_given(entry) for given in entries for entry in given)

    @display(description="Rules")
    def rules(self, bundle: Any) -> str:
        return ", ".join(policy.name for version in bundle.in_force for policy in version.policies.all())


def _draft(form: BundleForm) -> BundleVersion:
    content = form.content()
    number = form.standing.newest + 1
    version = BundleVersion(bundle=form.instance, number=number, names=content.names, recording=content.recording)
    drafted: BundleVersion = as_if_saved(
        version,
        tools=content.tools,
        selections=content.selections,
        parents=content.parents,
        policies=content.policies,
    )
    return drafted


def _given(entry: BundleTool | BundleSelection) -> str:
    shown = [*entry.allow[:6], f"and {len(entry.allow) - 6} more"] if len(entry.allow) > 6 else entry.allow
    denied = f" without {', '.join(entry.deny)}" if entry.deny else ""
    kind = f" ({entry.get_kind_display().lower()})" if isinstance(entry, BundleSelection) else ""
    return f"{entry.connector.name}{kind}: {', '.join(shown)}{denied}"


class SelectedInline(ReadOnlyInline):
    fields: tuple[str, ...] = ("connector", "allowed", "denied")
    readonly_fields = fields
    show_change_link = False

    @display(description="Allows")
    def allowed(self, entry: BundleTool | BundleSelection) -> str:
        return ", ".join(entry.allow)

    @display(description="Without")
    def denied(self, entry: BundleTool | BundleSelection) -> str:
        return ", ".join(entry.deny)


class BundleToolInline(SelectedInline):
    model = BundleTool


class BundleSelectionInline(SelectedInline):
    model = BundleSelection
    verbose_name_plural = "resources and prompts"
    fields = ("kind", *SelectedInline.fields)
    readonly_fields = fields


@admin.register(BundleVersion)
class BundleVersionAdmin(VersionAdmin):
    of = "bundle"
    changes = staticmethod(bundle_changes)
    list_display = ("__str__", "state_shown", "recording", "created_at", "created_by")
    list_filter = ("state", ("bundle", AutocompleteSelectFilter))
    list_select_related = ("bundle",)
    search_fields = ("bundle__name",)
    fields = (
        "bundle", "number", "state", "page", "compared", "names", "recording", "parents", "policies", "created_at",
        "created_by",
    )  # fmt: skip
    inlines = (BundleToolInline, BundleSelectionInline)
