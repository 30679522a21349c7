"""The one organisation this installation serves."""

from django.db import models

from governance.models.base import Governed
from governance.models.policies import Policy


class Organization(Governed):
    """A single row; its policies bind every call."""

    is_only = models.BooleanField(default=True, unique=True, editable=False)
    name = models.CharField(max_length=200, default="Example Corp")
    timezone = models.CharField(max_length=64, default="UTC")
    policies = models.ManyToManyField(Policy, blank=True, related_name="organizations")

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(is_only=True), name="one_organization"),)

    def __str__(self) -> str:
        return self.name
