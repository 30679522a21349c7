"""Reactions: what the gateway does by itself when something happens, declared beforehand."""

from django.db import models

from governance.models.base import Governed, NameField


class Reaction(Governed):
    """`denials`: an agent is refused `count` times in `minutes` -> it is frozen. `finding`: a finding of these kinds
    in a run -> the rest of the run needs a human. `drift`: a tool's definition changes -> quarantine."""

    class Trigger(models.TextChoices):
        DENIALS = "denials", "So many denials of an agent"
        FINDING = "finding", "A finding in a run"
        DRIFT = "drift", "A tool's definition changes"

    class Action(models.TextChoices):
        FREEZE_AGENT = "freeze_agent", "Freeze the agent"
        HOLD_RUN = "hold_run", "Hold the rest of the run for a human"
        QUARANTINE_TOOL = "quarantine_tool", "Quarantine the tool"

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    trigger = models.CharField(max_length=8, choices=Trigger)
    count = models.PositiveIntegerField(default=1)
    minutes = models.PositiveIntegerField(default=10, help_text="In which the count is reached.")
    findings = models.JSONField(default=list, blank=True)
    action = models.CharField(max_length=15, choices=Action)
    lasting_minutes = models.PositiveIntegerField(default=60, help_text="How long a freeze or hold lasts.")
    approvers = models.JSONField(default=dict, blank=True, help_text="Who may let a held run go on.")
    is_enabled = models.BooleanField("enabled", default=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(trigger="denials", action="freeze_agent")
                | models.Q(trigger="finding", action__in=("freeze_agent", "hold_run"))
                | models.Q(trigger="drift", action="quarantine_tool"),
                name="reaction_fits_its_trigger",
            ),
            models.CheckConstraint(
                condition=models.Q(count__gte=1, minutes__gte=1, minutes__lte=1440, lasting_minutes__gte=1),
                name="reaction_bounded",
            ),
        )

    def __str__(self) -> str:
        return self.title or self.name
