"""Offboardings: planned for a date, under way, or done; and what is left to do after one."""

import uuid
from typing import ClassVar

from django.db import models

from governance.models.base import Governed
from governance.models.people import User


class Offboarding(Governed):
    """One ending of one person. `plan` says who gets each agent (see offboarding.Plan).

    `items` is what was found and done, `enforcement` grows while live gateways confirm, `receipt` is both as they were
    proven, in canonical JSON. They may be large: evidence has their digests and first lines. `former` is what undoing
    gives back until `undo_until`.
    """

    class State(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        ENFORCING = "enforcing", "Done here, waiting for every gateway"
        ENFORCED = "enforced", "Enforced everywhere"
        INCOMPLETE = "incomplete", "Withdrawn, but not confirmed everywhere"
        FAILED = "failed", "Could not be carried out"
        CANCELLED = "cancelled", "Cancelled"
        UNDONE = "undone", "Undone: she works here again"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"items", "enforcement", "receipt", "signature", "former"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"enforcement", "signature"})

    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="offboardings")
    plan = models.JSONField(default=dict, blank=True)
    due_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    reason = models.CharField(max_length=300, blank=True, default="", db_default="")
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
    edition = models.PositiveSmallIntegerField(default=0, db_default=0)
    issued_at = models.DateTimeField(null=True, blank=True)
    signature = models.TextField(blank=True, default="", db_default="")
    former = models.JSONField(default=dict, blank=True, db_default={})
    undo_until = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.CharField(max_length=300, blank=True, default="", db_default="")

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(
                    state__in=("scheduled", "enforcing", "enforced", "incomplete", "failed", "cancelled", "undone")
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


class OffboardingStep(models.Model):
    """One thing that is left after the withdrawal: the worker does it, or waits until a human has.

    It moves no epoch, because nobody is allowed anything by it; each end of one is evidence. `kind` says who does it
    (see `gateway/offboarding_steps.py`). `next_try_at` is a lease as well: a worker that was killed is followed by
    another once it is over.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DONE = "done", "Done"
        MANUAL = "manual", "Left to a human"
        VOID = "void", "Not needed any more"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    offboarding = models.ForeignKey(Offboarding, on_delete=models.PROTECT, related_name="steps")
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=300)
    subject_id = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    owner = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    todo = models.CharField(max_length=300, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    next_try_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    result = models.CharField(max_length=300, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    done_by = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("created_at", "kind", "name", "id")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(state__in=("waiting", "done", "manual", "void")), name="offboarding_step_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=("waiting", "manual"), done_at=None)
                | models.Q(state__in=("done", "void"), done_at__isnull=False),
                name="offboarding_step_done_at_a_time",
            ),
            models.UniqueConstraint(fields=("offboarding", "kind", "subject_id"), name="offboarding_step_once"),
        )
        indexes = (
            models.Index(fields=("next_try_at",), condition=models.Q(state="waiting"), name="offboarding_step_waiting"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
