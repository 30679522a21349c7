"""How much an agent, a team, a tool or everybody may use."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from governance.models.base import Governed, NameField
from governance.models.policies import match_all


class RateLimit(Governed):
    """A limit on calls to the tools its globs match, counted for each agent, team or tool apart, or for all together.

    Requests and bytes (arguments and results) are counted in a window, calls at once at every moment. With `labels` it
    counts and binds only calls of runs that have met any of these.
    """

    class Per(models.TextChoices):
        AGENT = "agent", "Each agent"
        TEAM = "team", "Each team of the owner"
        TOOL = "tool", "Each tool"
        EVERYBODY = "everybody", "All together"

    name = NameField()
    per = models.CharField(max_length=10, choices=Per, default=Per.AGENT)
    tools = models.JSONField(default=match_all)
    labels = models.JSONField(default=list, blank=True, db_default=[])
    window_seconds = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(1), MaxValueValidator(86400)]
    )
    max_requests = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    max_bytes = models.PositiveBigIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    max_running = models.PositiveIntegerField("calls at once", null=True, blank=True, validators=[MinValueValidator(1)])
    is_enabled = models.BooleanField("enabled", default=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=~models.Q(max_requests=None, max_bytes=None, max_running=None), name="rate_limit_limits"
            ),
        )

    def __str__(self) -> str:
        return self.name
