"""Roles: who gets which bundles, and when."""

from django.db import models

from governance.models.agents import Agent
from governance.models.base import Governed, NameField
from governance.models.bundles import Bundle
from governance.models.people import Team, User


class Role(Governed):
    """`schedule` is empty or {"days": ["mon", ...], "from": "08:00", "to": "19:00", "holidays": false} in the
    organisation's time zone. `scopes` limit the arguments of what the role gives: a list of
    {"tools": globs, "when": a CEL expression that must hold, "text": what an agent is told, e.g. "only project SUP"}.
    """

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    bundles = models.ManyToManyField(Bundle, blank=True, related_name="roles")
    agents = models.ManyToManyField(Agent, blank=True, related_name="roles")
    teams = models.ManyToManyField(Team, blank=True, related_name="roles")
    people = models.ManyToManyField(User, blank=True, related_name="roles")
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    schedule = models.JSONField(default=dict, blank=True)
    scopes = models.JSONField("data scopes", default=list, blank=True, db_default=[])

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(starts_at=None)
                | models.Q(ends_at=None)
                | models.Q(ends_at__gt=models.F("starts_at")),
                name="role_ends_after_start",
            ),
        )

    def __str__(self) -> str:
        return self.title or self.name
