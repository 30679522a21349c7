"""What is usual for an agent, learned from its calls."""

from typing import ClassVar

from django.db import models

from governance.models.agents import Agent
from governance.models.base import Governed


class AgentBaseline(Governed):
    """Made by the worker. Deleting one means that it is learned anew, for a whole learning period."""

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"learned_at"})
    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"destinations"})

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
    destinations = models.JSONField(default=list, db_default=[])
    """Hosts, addresses, accounts, as the gateway's digests of them; nobody can read them here."""
    destinations_from = models.DateTimeField(null=True)
    """From then on a new one is unusual; empty while nobody has looked where the agent sends."""
    learned_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("agent__name",)
        verbose_name = "baseline"

    def __str__(self) -> str:
        return f"baseline of {self.agent.name}"
