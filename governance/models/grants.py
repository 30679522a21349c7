"""Grants: extra rights that end by themselves."""

from django.db import models
from django.db.models import F, Q

from governance.models.agents import Agent
from governance.models.base import Governed
from governance.models.bundles import Bundle
from governance.models.people import User
from governance.models.registry import Tool


class Grant(Governed):
    """`consent` answers the asking `rules` beforehand for calls of one tool that meet `condition`; `elevation` and
    `break_glass` give a bundle, or one tool of it, which the subject's roles do not give."""

    class Kind(models.TextChoices):
        CONSENT = "consent", "Approval of a pattern"
        ELEVATION = "elevation", "Access for a time"
        BREAK_GLASS = "break_glass", "Break-glass"

    kind = models.CharField(max_length=11, choices=Kind)
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    person = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    bundle = models.ForeignKey(Bundle, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    tool = models.ForeignKey(Tool, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    condition = models.TextField(blank=True, help_text="A CEL expression over the call; empty means always.")
    rules = models.JSONField(default=list, blank=True, help_text="Of a consent: the asking rules that it answers.")
    definition_digest = models.CharField(
        max_length=64,
        blank=True,
        help_text="Of a consent: of the tool it was given for; it ends with it.",
    )
    session = models.CharField(max_length=200, blank=True, help_text="Of a consent: only for this run.")
    approvers = models.JSONField(default=list, blank=True, help_text="Ids of those who agreed; it ends with them.")
    reason = models.CharField(max_length=500, blank=True)
    request_number = models.BigIntegerField(null=True, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    max_uses = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=300, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.CharField(max_length=300, blank=True)
    review_note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(agent=None, person__isnull=False) | Q(agent__isnull=False, person=None),
                name="grant_has_one_subject",
            ),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="grant_ends_after_start"),
            models.CheckConstraint(condition=~Q(kind="consent", tool=None), name="consent_names_its_tool"),
            models.CheckConstraint(condition=Q(kind="consent") | ~Q(bundle=None), name="access_names_its_bundle"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} until {self.ends_at:%Y-%m-%d %H:%M}"


class GrantUse(models.Model):
    """How often a bounded grant was used; counted inside the intent commit, so no governed row."""

    grant = models.OneToOneField(Grant, primary_key=True, on_delete=models.CASCADE, related_name="use")
    used = models.PositiveIntegerField(default=0)
    max_uses = models.PositiveIntegerField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(used__lte=F("max_uses")), name="grant_not_overused"),)

    def __str__(self) -> str:
        return f"{self.used} of {self.max_uses}"
