"""Policies: named, versioned, ordered rules."""

from typing import Any

from django.db import models

from governance.models.base import Governed, NameField


class Policy(Governed):
    name = NameField()
    title = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name_plural = "policies"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title or self.name


class PolicyVersion(Governed):
    """A frozen set of rules; at most one version of a policy is in force."""

    class State(models.TextChoices):
        PUBLISHED = "published", "In force"
        SUPERSEDED = "superseded", "Superseded"

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=12, choices=State, default=State.PUBLISHED)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)

    class Meta:
        ordering = ("policy__name", "-number")
        constraints = (
            models.UniqueConstraint(fields=("policy", "number"), name="policy_version_number_unique"),
            models.UniqueConstraint(
                fields=("policy",),
                condition=models.Q(state="published"),
                name="one_published_version_per_policy",
            ),
        )

    def __str__(self) -> str:
        return f"{self.policy.name} v{self.number}"


def match_all() -> list[str]:
    return ["*"]


class Rule(Governed):
    """One condition with an effect. Deny beats ask beats permit, wherever the rules stand."""

    class Effect(models.TextChoices):
        PERMIT = "permit", "Permit"
        ASK = "ask", "Ask a human"
        DENY = "deny", "Deny"
        MASK = "mask", "Mask"
        FLAG = "flag", "Flag"

    class Side(models.TextChoices):
        ARGUMENTS = "arguments", "Arguments"
        RESULT = "result", "Result"

    version = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="rules")
    position = models.PositiveIntegerField()
    effect = models.CharField(max_length=8, choices=Effect)
    tools = models.JSONField(default=match_all, help_text="Globs over tool names.")
    on = models.CharField(max_length=12, choices=Side, default=Side.ARGUMENTS)
    condition = models.TextField(blank=True, help_text="A CEL expression; empty means always.")
    findings = models.JSONField(default=list, blank=True)
    approvers = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    is_checked = models.BooleanField(
        default=True,
        help_text="Off while tools it names are unknown: a missing field then means the strictest outcome.",
    )

    class Meta:
        ordering = ("version", "position")
        constraints = (
            models.UniqueConstraint(fields=("version", "position"), name="rule_position_unique"),
            models.CheckConstraint(
                condition=models.Q(effect__in=("permit", "ask", "deny", "mask", "flag")),
                name="rule_effect_known",
            ),
            models.CheckConstraint(condition=models.Q(on__in=("arguments", "result")), name="rule_side_known"),
        )

    def __str__(self) -> str:
        return f"{self.version}#{self.position} {self.effect}"

    def manifest_entry(self) -> dict[str, Any]:
        """The rule as a manifest writes it; fields at their default are left out."""
        entry: dict[str, Any] = {"effect": self.effect}
        if self.tools != ["*"]:
            entry["tools"] = self.tools
        if self.on != Rule.Side.ARGUMENTS:
            entry["on"] = self.on
        for key, value in (
            ("when", self.condition),
            ("findings", self.findings),
            ("approvers", self.approvers),
            ("reason", self.reason),
        ):
            if value:
                entry[key] = value
        return entry
