"""Agents and the credentials by which they prove themselves to us."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed, NameField
from governance.models.people import User


class Agent(Governed):
    """A software principal with an answerable human owner."""

    class Status(models.TextChoices):
        LIVE = "live", "Live"
        SUSPENDED = "suspended", "Suspended"
        RETIRED = "retired", "Retired"

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    purpose = models.TextField(blank=True)
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="agents")
    status = models.CharField(max_length=16, choices=Status, default=Status.LIVE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=("live", "suspended", "retired")), name="agent_status_known"
            ),
        )

    def __str__(self) -> str:
        return self.name


class AgentCredential(Governed):
    """An agent key. Only its SHA-256 is kept: 256 random bits need no slow hash, and a look-up must be instant."""

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"digest"})

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="credentials")
    digest = models.BinaryField(max_length=32, unique=True)
    hint = models.CharField(max_length=24, help_text="First characters, enough to recognise a key by.")
    person = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="credentials_for",
        verbose_name="on behalf of",
        help_text="The key gives only what both the agent and this person may.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    not_before = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = "agent key"
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(revoked_at=None, revoked_by="")
                | ~models.Q(revoked_at=None) & ~models.Q(revoked_by=""),
                name="credential_revocation_names_who",
            ),
            models.CheckConstraint(
                condition=models.Q(expires_at=None)
                | models.Q(not_before=None)
                | models.Q(expires_at__gt=models.F("not_before")),
                name="credential_expires_after_start",
            ),
        )

    def __str__(self) -> str:
        return f"{self.hint}… of {self.agent}"
