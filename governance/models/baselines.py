"""What is usual for an agent, learned from its calls."""

from typing import ClassVar

from django.db import models

from governance.models.agents import Agent
from governance.models.base import Governed


class AgentBaseline(Governed):
    """Made by the worker. Deleting one means that it is learned anew, for a whole learning period."""

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"learned_at"})

    agent = models.OneToOneField(Agent, on_delete=models.CASCADE, related_name="baseline")
    since = models.DateTimeField()
    """Of calls before it nothing is learned."""
    learns_until = models.DateTimeField()
    """Until then nothing is unusual."""
    tools = models.JSONField(default=list)
    """As connector/tool."""
    hours = models.JSONField(default=list)
    """Of the day, UTC."""
    busiest_hour = models.PositiveIntegerField(default=0)
    """Calls in it."""
    learned_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("agent__name",)
        verbose_name = "baseline"

    def __str__(self) -> str:
        return f"baseline of {self.agent.name}"
