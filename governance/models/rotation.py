"""What must be replaced by a human or the worker, and why."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed
from governance.models.people import User


class RotationTask(Governed):
    """One thing to replace. It is done when its subject has a new value or has ended, whoever saw to that.

    The subject is named, not referred to: the task outlives it. `about` is what asked for it, for instance
    `offboarding:<id>`; `evidence` says what made it done.
    """

    class Subject(models.TextChoices):
        AGENT = "agent", "Agent without a credential"
        CREDENTIAL = "credential", "Agent credential"
        SECRET = "secret", "Secret of a connector"
        SCIM_TOKEN = "scim_token", "SCIM token"
        OTHER = "other", "Something else"

    class Reason(models.TextChoices):
        AGE = "age", "Due by age"
        UNUSED = "unused", "Unused"
        OFFBOARDING = "offboarding", "Somebody who knew it has left"
        EMERGENCY = "emergency", "Emergency rotation"
        ASKED = "asked", "Asked for"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        DONE = "done", "Done"
        DROPPED = "dropped", "Dropped"

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"told_at"})

    subject_kind = models.CharField(max_length=16, choices=Subject)
    subject_id = models.UUIDField()
    subject_name = models.CharField(max_length=300)
    reason = models.CharField(max_length=16, choices=Reason)
    note = models.CharField(max_length=500, blank=True)
    about = models.CharField(max_length=100, blank=True)
    owner = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="rotation_tasks",
        help_text="Who sees to it.",
    )
    created_at = models.DateTimeField()
    asked_by = models.CharField(max_length=300)
    due_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    done_at = models.DateTimeField(null=True, blank=True)
    done_by = models.CharField(max_length=300, blank=True)
    evidence = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("due_at", "created_at")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(state__in=("open", "done", "dropped")), name="rotation_task_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state="open", done_at=None, done_by="")
                | ~models.Q(state="open") & ~models.Q(done_at=None) & ~models.Q(done_by=""),
                name="rotation_task_end_names_who",
            ),
            models.UniqueConstraint(
                fields=("subject_kind", "subject_id", "reason"),
                condition=models.Q(state="open"),
                name="one_open_rotation_task_per_reason",
            ),
        )
        indexes = (models.Index(fields=("due_at",), condition=models.Q(state="open"), name="rotation_task_open"),)

    def __str__(self) -> str:
        return f"{self.subject_name}: {self.get_reason_display().lower()}"
