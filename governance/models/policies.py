"""Policies: named, versioned, ordered rules."""

from typing import Any

from django.db import models

from governance.models.base import Governed, NameField
from governance.models.versions import OPEN, Reviewed, State


class Policy(Governed):
    name = NameField()
    title = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name_plural = "policies"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title or self.name


class PolicyVersion(Reviewed, Governed):
    """A set of rules, frozen once published; at most one version of a policy is in force.

    `tests` are calls and what the rules must say of them before the version can be published, see `rule_tests.py`.
    """

    State = State

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="versions")
    tests = models.JSONField(default=list, blank=True, db_default=[])

    class Meta:
        ordering = ("policy__name", "-number")
        constraints = (
            models.UniqueConstraint(fields=("policy", "number"), name="policy_version_number_unique"),
            models.UniqueConstraint(
                fields=("policy",),
                condition=models.Q(state="published"),
                name="one_published_version_per_policy",
            ),
            models.UniqueConstraint(
                fields=("policy",), condition=models.Q(state__in=OPEN), name="one_open_version_per_policy"
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
        RESTORE = "restore", "Put real values back"

    class Side(models.TextChoices):
        ARGUMENTS = "arguments", "Arguments"
        RESULT = "result", "Result"

    class OnFailure(models.TextChoices):
        CLOSED = "closed", "Counts as found"
        OPEN = "open", "Does not count as found"

    class Access(models.TextChoices):
        ANY = "", "Reading and writing"
        READ = "read", "Reading"
        WRITE = "write", "Writing"

    version = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="rules")
    position = models.PositiveIntegerField()
    effect = models.CharField(max_length=8, choices=Effect)
    tools = models.JSONField(default=match_all, help_text="Globs over tool names.")
    connectors = models.JSONField(default=list, blank=True, db_default=[], help_text="Globs; empty means any.")
    data_classes = models.JSONField(default=list, blank=True, db_default=[], help_text="Any of these; empty means any.")
    risks = models.JSONField(default=list, blank=True, db_default=[], help_text="Any of these; empty means any.")
    access = models.CharField(max_length=5, choices=Access, default=Access.ANY, blank=True, db_default="")
    on = models.CharField(max_length=12, choices=Side, default=Side.ARGUMENTS)
    condition = models.TextField(blank=True, help_text="A CEL expression; empty means always.")
    findings = models.JSONField(default=list, blank=True)
    on_failure = models.CharField(
        "what could not be looked at",
        max_length=6,
        choices=OnFailure,
        default=OnFailure.CLOSED,
        db_default="closed",
    )
    fields = models.JSONField(
        default=list, blank=True, db_default=[], help_text="What to mask in a result: globs over paths, e.g. *.iban."
    )
    reversible = models.BooleanField(
        default=False, db_default=False, help_text="What is masked becomes tokens that a rule can have put back."
    )
    keep_last = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="So many letters of what is masked stay to be seen."
    )
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
                condition=models.Q(effect__in=("permit", "ask", "deny", "mask", "flag", "restore")),
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
        if self.on_failure != Rule.OnFailure.CLOSED:
            entry["on_failure"] = self.on_failure
        for key, value in (
            ("connectors", self.connectors),
            ("data_classes", self.data_classes),
            ("risks", self.risks),
            ("access", self.access),
            ("when", self.condition),
            ("findings", self.findings),
            ("fields", self.fields),
            ("reversible", self.reversible),
            ("keep_last", self.keep_last),
            ("approvers", self.approvers),
            ("reason", self.reason),
        ):
            if value:
                entry[key] = value
        return entry
