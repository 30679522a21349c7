from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch
from django.http import HttpRequest

from gateway.console.base import (
    AutocompleteSelectFilter,
    ReadOnlyInline,
    Switch,
    display,
    named,
)
from governance.admin.row_fields import RowsField
from governance.admin.rule_forms import RulesField, entry_of
from governance.admin.test_rows import TestRow, results_of
from governance.admin.version_changes import policy_changes, rule_sentence
from governance.admin.versioned import VersionAdmin, VersionedAdmin, VersionedForm, VersionInline
from governance.models import BundleVersion, Policy, PolicyVersion, Rule
from governance.policies import PolicyContent, counts, withdraw_policy
from governance.rule_world import rule_text
from governance.snapshot_builder import Draft

IN_FORCE = PolicyVersion.objects.filter(state=PolicyVersion.State.PUBLISHED).prefetch_related("rules")
BINDS_NOBODY = "It binds nobody yet. Put it on a bundle, on a team, or on the whole organization."


class PolicyForm(VersionedForm):
    """A policy with its rules and their tests."""

    content_field, in_force_field = "rules", "is_in_force"
    parts = ("rules",)

    is_in_force = forms.BooleanField(
        required=False,
        initial=True,
        label="In force",
        widget=Switch,
        help_text="Off: none of its rules binds anybody. Its versions stay.",
    )
    rules = RulesField(label="Rules")
    tests = RowsField(TestRow, one="test", template="admin/edit_tests.html", label="Tests")

    class Meta:
        model = Policy
        fields = ("name", "title")

    def fields_of(self, version: PolicyVersion) -> dict[str, Any]:
        return {"rules": _entries(version), "tests": version.tests}

    def differs_from(self, version: PolicyVersion) -> bool:
        return bool((_entries(version), version.tests) != (self.cleaned_data["rules"], self._tests))

    @property
    def _tests(self) -> list[dict[str, Any]]:
        said = self.cleaned_data["tests"]
        return said if said is not None else list(self.start.tests) if self.start is not None else []

    def content(self) -> PolicyContent:
        return PolicyContent([Rule(**entry) for entry in self.cleaned_data["rules"]], self._tests)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "rules" in cleaned and "tests" in cleaned:
            texts = [rule_text(row) for row in self.content().rules]
            self.fields["tests"].widget.results = results_of(self._tests, texts)
        return cleaned


def _entries(version: PolicyVersion) -> list[dict[str, Any]]:
    return [entry_of(rule) for rule in sorted(version.rules.all(), key=lambda rule: rule.position)]


class PolicyVersionInline(VersionInline):
    model = PolicyVersion
    fk_name = "policy"
    fields = ("number", "state", "created_at", "created_by")
    readonly_fields = fields


@admin.register(Policy)
class PolicyAdmin(VersionedAdmin):
    """The rules are in the versions, which are frozen; saving other rules puts the next version into force."""

    form = PolicyForm
    shown = ("in_force", "rule_effects", "bound")
    shown_from = (
        Prefetch("versions", IN_FORCE, "live_versions"),
        Prefetch("bundle_versions", BundleVersion.objects.select_related("bundle")),
        "teams",
        "organizations",
    )
    fresh_login_for = "governance.publish_policy"
    parts = (PolicyVersion, Rule)
    empty_hint = "A policy holds rules that deny a call or make it wait for a person, on top of what bundles give."
    list_display = ("name", "title", "in_force", "rule_effects", "bound")
    search_fields = ("name", "title")
    inlines = (PolicyVersionInline,)
    fieldsets = (
        (
            None,
            {
                "fields": ("name", "title", "is_in_force", "as_draft", "seen", "seen_revision"),
                "description": "A policy binds where it is put: on a bundle, on a team, or on the whole organization.",
            },
        ),
        ("Rules", {"fields": ("rules",)}),
        ("Tests", {"fields": ("tests",), "description": "Calls, and what the rules above must say of them."}),
    )
    fields_to_look_at = (
        (None, {"fields": ("name", "title", "in_force", "bound")}),
        ("Rules", {"fields": ("rule_effects",)}),
    )

    def stays_because(self, row: Policy) -> str:
        """What binds somebody is taken off first, where its reach is seen."""
        if row.organizations.exists():
            return "It binds the whole organization. Take it off there first."
        if teams := named("the team", row.teams.values_list("name", flat=True)):
            return f"It binds {teams}. Take it off there first."
        if bundles := _bundles_under(row, state=BundleVersion.State.PUBLISHED):
            return f"It is on {bundles}. Publish without it there first."
        if bundles := _bundles_under(row):
            return f"Earlier versions of {bundles} name it, and history stays. Withdraw it: then it binds nobody."
        return ""

    def as_if_in_force(self, form: PolicyForm, row: Policy) -> Draft:
        return Draft(rules={row.pk.hex: [] if form.withdraws else _drafted(form)})

    def tell_published(self, request: HttpRequest, row: Policy, version: PolicyVersion) -> None:
        self.message_user(request, f"Version {version.number} is in force.", messages.SUCCESS)
        if not counts(row):
            self.message_user(request, BINDS_NOBODY, messages.WARNING)

    def tell_withdrawn(self, request: HttpRequest, row: Policy) -> None:
        if withdraw_policy(row, record=self.by(request)["record"]):
            self.message_user(request, "The policy is withdrawn: its rules bind nobody.", messages.SUCCESS)

    @display(description="In force", label=True)
    def in_force(self, policy: Any) -> str:
        return ", ".join(f"v{version.number}" for version in policy.live_versions)

    @display(description="Rules")
    def rule_effects(self, policy: Any) -> str:
        return "; ".join(rule_sentence(rule) for version in policy.live_versions for rule in version.rules.all())

    @display(description="Binds")
    def bound(self, policy: Any) -> str:
        published = (version for version in policy.bundle_versions.all() if version.state == "published")
        places = [
            *("everybody" for _ in policy.organizations.all()),
            *(f"team {team.name}" for team in policy.teams.all()),
            *(f"bundle {version.bundle.name}" for version in published),
        ]
        return ", ".join(places) or "nobody yet"


def _bundles_under(policy: Policy, **version: Any) -> str:
    """Named; empty if there is none."""
    versions = policy.bundle_versions.filter(**version).order_by("bundle__name")
    return named("the bundle", versions.values_list("bundle__name", flat=True).distinct())


def _drafted(form: PolicyForm) -> list[Rule]:
    rows = list(form.content().rules)
    version = PolicyVersion(policy=form.instance, number=form.standing.newest + 1)
    for position, rule in enumerate(rows, start=1):
        rule.version, rule.position = version, position
    return rows


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
class PolicyVersionAdmin(VersionAdmin):
    of = "policy"
    changes = staticmethod(policy_changes)
    list_display = ("__str__", "state_shown", "created_at", "created_by")
    list_filter = ("state", ("policy", AutocompleteSelectFilter))
    list_select_related = ("policy",)
    search_fields = ("policy__name",)
    fields = ("policy", "number", "state", "page", "compared", "created_at", "created_by")
    inlines = (RuleInline,)
