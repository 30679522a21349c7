"""Offboardings: planned for a date, under way, or done."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed
from governance.models.people import User


class Offboarding(Governed):
    """One ending of one person. `plan` says who gets each agent (see offboarding.Plan).

    `items` is what was found and done, `enforcement` grows while live gateways confirm, `receipt` is both as they were
    proven, in canonical JSON. They may be large: evidence has their digests and first lines.
    """

    class State(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        ENFORCING = "enforcing", "Done here, waiting for every gateway"
        ENFORCED = "enforced", "Enforced everywhere"
        INCOMPLETE = "incomplete", "Withdrawn, but not confirmed everywhere"
        FAILED = "failed", "Could not be carried out"
        CANCELLED = "cancelled", "Cancelled"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"items", "enforcement", "receipt"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"enforcement"})

    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="offboardings")
    plan = models.JSONField(default=dict, blank=True)
    due_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    state = models.CharField(max_length=12, choices=State, default=State.SCHEDULED)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=500, blank=True)
    receipt_digest = models.CharField(max_length=64, blank=True)
    receipt_event = models.UUIDField(null=True, blank=True)
    checked = models.JSONField(default=dict, blank=True)
    enforcement = models.JSONField(default=dict, blank=True)
    items = models.JSONField(default=list, blank=True)
    receipt = models.TextField(blank=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(
                    state__in=("scheduled", "enforcing", "enforced", "incomplete", "failed", "cancelled")
                ),
                name="offboarding_state_known",
            ),
            models.UniqueConstraint(
                fields=("person",),
                condition=models.Q(state__in=("scheduled", "enforcing")),
                name="one_open_offboarding_per_person",
            ),
        )
        indexes = (
            models.Index(
                fields=("due_at",),
                condition=models.Q(state__in=("scheduled", "enforcing", "incomplete")),
                name="offboarding_unfinished",
            ),
        )

    def __str__(self) -> str:
        return f"Offboarding of {self.person}"
