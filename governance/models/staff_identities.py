"""Who the organisation's identity provider says a person is."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed
from governance.models.people import User


class StaffIdentity(Governed):
    """One account at one identity provider, bound to one person for good: a subject never becomes somebody else's.

    `groups` are what the provider said last; what they gave here is kept, so that exactly this is taken away again.
    """

    class Protocol(models.TextChoices):
        OIDC = "oidc", "OpenID Connect"
        SAML = "saml", "SAML"

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"last_used_at"})

    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="staff_identities")
    protocol = models.CharField(max_length=4, choices=Protocol)
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    groups = models.JSONField(default=list)
    given_teams = models.JSONField(default=list)
    given_duties = models.JSONField(default=list)
    given_admin_access = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = "staff identity"
        verbose_name_plural = "staff identities"
        ordering = ("issuer", "subject")
        constraints = (
            models.UniqueConstraint(fields=("issuer", "subject"), name="staff_identity_is_one_person"),
            models.CheckConstraint(
                condition=models.Q(ended_at=None, ended_by="") | ~models.Q(ended_at=None) & ~models.Q(ended_by=""),
                name="staff_identity_end_names_who",
            ),
        )

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"
