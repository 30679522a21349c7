"""Offboardings: planned for a date, under way, or done."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed
from governance.models.people import User


class Offboarding(Governed):
    """One ending of one person. `plan` maps each agent to its successor's e-mail, or to "" for suspending it.

    `items` is what it found and did; `enforcement` grows while live gateways confirm, and is what the receipt shows.
    """

    class State(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        ENFORCING = "enforcing", "Done here, waiting for every gateway"
        ENFORCED = "enforced", "Enforced everywhere"
        INCOMPLETE = "incomplete", "Withdrawn, but not confirmed everywhere"
        FAILED = "failed", "Could not be carried out"
        CANCELLED = "cancelled", "Cancelled"

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"enforcement", "finished_at"})

    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="offboardings")
    plan = models.JSONField(default=dict, blank=True)
    due_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    state = models.CharField(max_length=12, choices=State, default=State.SCHEDULED)
    items = models.JSONField(default=list, blank=True)
    enforcement = models.JSONField(default=dict, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=500, blank=True)

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

    def __str__(self) -> str:
        return f"Offboarding of {self.person}"
