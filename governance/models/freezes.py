"""Freezes: the emergency switch."""

from django.db import models

from governance.models.agents import Agent
from governance.models.base import Governed
from governance.models.registry import Connector, Tool


class Freeze(Governed):
    """Stops everything, or one agent, connector or tool, until it ends or is lifted."""

    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.CASCADE, related_name="freezes")
    connector = models.ForeignKey(Connector, null=True, blank=True, on_delete=models.CASCADE, related_name="freezes")
    tool = models.ForeignKey(Tool, null=True, blank=True, on_delete=models.CASCADE, related_name="freezes")
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    ends_at = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(connector=None, tool=None)
                | models.Q(agent=None, tool=None)
                | models.Q(agent=None, connector=None),
                name="freeze_has_one_target",
            ),
        )

    def __str__(self) -> str:
        return f"Freeze of {self.target}"

    @property
    def target(self) -> str:
        if self.agent:
            return f"agent {self.agent.name}"
        if self.connector:
            return f"connector {self.connector.name}"
        if self.tool:
            return f"tool {self.tool}"
        return "everything"
