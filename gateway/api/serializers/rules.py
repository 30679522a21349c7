"""Bundles, policies, their versions and limits over the wire."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from gateway.api.fields import (
    Choice,
    Flag,
    Reference,
    References,
    Row,
    Strict,
    Text,
    WholeNumber,
    Written,
)
from gateway.api.serializers.named import Name, NamedRow
from governance.inspection.findings import DATA_CLASS, DETECTOR
from governance.inspection.tokens import MOST_SHOWN
from governance.manifest.rule_entries import FINDINGS, LABEL_PATTERN, FindingName
from governance.models import (
    Agent,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Policy,
    PolicyVersion,
    RateLimit,
    Tool,
)


def _amount(source: str, most: int, meaning: str) -> WholeNumber:
    text = f"{meaning} Null: not limited."
    return WholeNumber(source=source, required=False, allow_null=True, min_value=1, max_value=most, help_text=text)


class BundleRow(NamedRow):
    name = Name()
    published = serializers.SerializerMethodField(help_text="Number of the version in force; null when there is none.")

    class Meta:
        model: type[Model] = Bundle
        fields: tuple[str, ...] = ("id", "name", "title", "published")
        read_only_fields: tuple[str, ...] = ("id",)

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_published(self, row: Any) -> int | None:
        return next((version.number for version in row.in_force), None)


class PolicyRow(BundleRow):
    class Meta(BundleRow.Meta):
        model = Policy


class ToolsOfConnector(Strict):
    """Tools or prompts by name, resources by URI."""

    connector = Name()
    allow = serializers.ListField(child=Text(max_length=200), required=False, max_length=500, help_text="Globs.")
    deny = serializers.ListField(child=Text(max_length=200), required=False, max_length=500, help_text="Globs.")


class BundleContent(Strict):
    """What a version gives, as a manifest writes it."""

    inherits = serializers.ListField(child=Name(), required=False, max_length=50)
    tools = ToolsOfConnector(many=True, required=False, max_length=200)
    resources = ToolsOfConnector(many=True, required=False, max_length=200)
    prompts = ToolsOfConnector(many=True, required=False, max_length=200)
    names = Choice(choices=("plain", "prefixed"), required=False)
    policies = serializers.ListField(child=Name(), required=False, max_length=200)
    recording = Choice(choices=BundleVersion.Recording.choices, required=False)


def _texts(most: int, *, longest: int = 200, text: str = "") -> Any:
    return serializers.ListField(child=Text(max_length=longest), required=False, max_length=most, help_text=text)


class Escalation(Strict):
    after = Text(max_length=10, help_text="A duration such as 5m.")
    to = _texts(50, longest=63, text="Teams.")


class ApproversOfRule(Strict):
    """Whoever is any of these may decide; naming nobody means anybody with the duty approver."""

    team = Name(required=False)
    teams = _texts(50, longest=63)
    people = _texts(50, longest=254)
    on_call = _texts(50, longest=63, text="Teams, for whoever is on call for them.")
    duties = _texts(3, longest=20)
    manager = Flag(required=False, help_text="The manager of the agent's owner.")
    resource_owner = Flag(required=False, help_text="The owner of the system.")
    count = serializers.IntegerField(min_value=1, max_value=5, required=False, help_text="Distinct humans that agree.")
    denials = serializers.IntegerField(min_value=1, max_value=5, required=False)
    reason = Choice(choices=("optional", "required"), required=False)
    ticket = Text(required=False, max_length=200, help_text="A regular expression (RE2) that a ticket must match.")
    pending = Text(required=False, max_length=10, help_text="How long it is asked for, such as 15m.")
    use_within = Text(required=False, max_length=10)
    longest_grant = Text(required=False, max_length=10)
    step_up = Text(required=False, max_length=10)
    escalate = Escalation(required=False)
    in_chat = Flag(required=False)


class RuleContent(Strict):
    effect = Choice(choices=("permit", "ask", "deny", "mask", "flag", "restore"))
    tools = serializers.ListField(child=Text(max_length=200), required=False, min_length=1, max_length=500)
    connectors = _texts(100, text="Globs; empty means any.")
    data_classes = _texts(100, longest=64, text="Any of these.")
    risks = serializers.ListField(child=Choice(choices=Tool.Risk.choices), required=False, max_length=3)
    access = Choice(choices=("read", "write"), required=False)
    on = Choice(choices=("arguments", "result"), required=False)
    when = Text(required=False, allow_blank=True, max_length=4096, help_text="A CEL expression; empty means always.")
    findings = serializers.ListField(
        child=Written(FindingName()),
        required=False,
        max_length=50,
        help_text=f"{', '.join(FINDINGS)}, {DATA_CLASS}NAME or {DETECTOR}NAME.",
    )
    on_failure = Choice(
        choices=("closed", "open"), required=False, help_text="Whether what could not be looked at counts as found."
    )
    reversible = Flag(required=False, help_text="What is masked becomes tokens that a rule can have put back.")
    keep_last = serializers.IntegerField(required=False, min_value=0, max_value=MOST_SHOWN)
    approvers = ApproversOfRule(required=False)
    reason = Text(required=False, allow_blank=True, max_length=500)

    def get_fields(self) -> dict[str, Any]:
        """`fields` is what Django REST framework calls its own."""
        masked = _texts(100, text="What to mask in a result: globs over paths, e.g. *.iban.")
        return {**super().get_fields(), "fields": masked}


class PolicyContent(Strict):
    rules = RuleContent(many=True, max_length=500)
    tests = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        max_length=500,
        help_text="Calls, and what the rules must say of them, as a manifest writes them.",
    )


WAY = (
    *("number", "state", "based_on", "revision", "summary", "created_at", "created_by", "submitted_at", "submitted_by"),
    *("reviewed_at", "reviewed_by", "review_note", "published_at"),
)
"""How a version came to be."""


class BundleVersionRow(Row):
    bundle = Reference(Bundle, read_only=True)
    staged_agents = References(Agent, read_only=True, help_text="Those that have it while it is staged.")
    inherits = References(Bundle, source="parents", read_only=True)
    policies = References(Policy, read_only=True)
    tools = serializers.SerializerMethodField()
    resources = serializers.SerializerMethodField()
    prompts = serializers.SerializerMethodField()
    names = serializers.CharField(read_only=True)

    class Meta:
        model = BundleVersion
        fields = (
            "id", "bundle", "inherits", "tools", "resources", "prompts", "names", "policies", "recording",
            "staged_agents", *WAY,
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(ToolsOfConnector(many=True))
    def get_tools(self, version: BundleVersion) -> list[dict[str, Any]]:
        return _selected(version.tools.all())

    @extend_schema_field(ToolsOfConnector(many=True))
    def get_resources(self, version: BundleVersion) -> list[dict[str, Any]]:
        return _selected(entry for entry in version.selections.all() if entry.kind == entry.Kind.RESOURCE)

    @extend_schema_field(ToolsOfConnector(many=True))
    def get_prompts(self, version: BundleVersion) -> list[dict[str, Any]]:
        return _selected(entry for entry in version.selections.all() if entry.kind == entry.Kind.PROMPT)


def _selected(entries: Iterable[BundleTool | BundleSelection]) -> list[dict[str, Any]]:
    return [{"connector": entry.connector.name, "allow": entry.allow, "deny": entry.deny} for entry in entries]


class PolicyVersionRow(Row):
    policy = Reference(Policy, read_only=True)
    rules = serializers.SerializerMethodField(help_text="In order; members at their default are left out.")

    class Meta:
        model = PolicyVersion
        fields = ("id", "policy", "rules", "tests", *WAY)
        read_only_fields = fields

    @extend_schema_field(RuleContent(many=True))
    def get_rules(self, version: PolicyVersion) -> list[dict[str, Any]]:
        return [rule.manifest_entry() for rule in version.rules.all()]


class LimitRow(Row):
    name = Name()
    tools = serializers.ListField(
        child=Text(max_length=200), required=False, min_length=1, max_length=500, help_text="Globs."
    )
    labels = serializers.ListField(
        child=serializers.RegexField(f"^{LABEL_PATTERN}\\Z"), required=False, max_length=50,
        help_text="It counts and binds only calls of runs that have met any of these, e.g. flagged. Empty: all calls.",
    )  # fmt: skip
    requests = _amount("max_requests", 2**31 - 1, "Within the window.")
    bytes = _amount("max_bytes", 2**53, "Of arguments and results, within the window.")
    running = _amount("max_running", 2**31 - 1, "At once.")
    enabled = Flag(source="is_enabled", required=False)

    class Meta:
        model = RateLimit
        fields = ("id", "name", "per", "tools", "labels", "window_seconds", "requests", "bytes", "running", "enabled")
        read_only_fields = ("id",)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        amounts = ("max_requests", "max_bytes", "max_running")
        if not any(values.get(name, getattr(self.instance, name, None)) for name in amounts):
            message = "Limit at least one: requests, bytes or running."
            raise serializers.ValidationError({"requests": ErrorDetail(message, "rule")})
        return values
