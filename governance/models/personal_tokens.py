"""Tokens by which a person's own scripts speak to the REST API."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed
from governance.models.people import User


class PersonalToken(Governed):
    """Acts for its person within `scopes` and what her duties give; only its SHA-256 is kept."""

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"digest"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"last_used_at"})

    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="personal_tokens")
    name = models.CharField(max_length=100)
    digest = models.BinaryField(max_length=32, unique=True)
    hint = models.CharField(max_length=24, help_text="First characters, enough to recognise a token by.")
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(revoked_at=None, revoked_by="")
                | ~models.Q(revoked_at=None) & ~models.Q(revoked_by=""),
                name="personal_token_revocation_names_who",
            ),
        )

    def __str__(self) -> str:
        return f"{self.hint}… of {self.person}"
