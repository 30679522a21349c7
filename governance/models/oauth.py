"""Clients of our authorization server, what they were let in for, and the tokens that rest on it.

Of codes and tokens only SHA-256 is kept: they are 256 random bits. Their rows are not governed, because issuing a token
allows nothing that its authorization or credential did not allow; what ends one is a governed row of its own.
"""

import uuid
from typing import ClassVar

from django.db import models

from governance.models.agents import Agent, AgentCredential
from governance.models.base import Governed
from governance.models.people import User


class OAuthClient(Governed):
    """A program that asks for tokens: a person's MCP client, or with `agent` an agent that proves itself."""

    class Status(models.TextChoices):
        PENDING = "pending", "Waits for approval"
        APPROVED = "approved", "Approved"
        DISABLED = "disabled", "Disabled"

    class Origin(models.TextChoices):
        ADMIN = "admin", "Added by an administrator"
        CIMD = "cimd", "Its own metadata document"
        DCR = "dcr", "Registered itself"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"secret_digest"})

    client_id = models.CharField("client ID", max_length=255, unique=True)
    name = models.CharField(max_length=100, help_text="What people read when they are asked to let it in.")
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    origin = models.CharField(max_length=8, choices=Origin, default=Origin.ADMIN, editable=False)
    agent = models.ForeignKey(
        Agent,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="oauth_clients",
        help_text="Whose own client this is; empty for a client that people let in.",
    )
    redirect_uris = models.JSONField("redirect URIs", default=list, blank=True)
    grant_types = models.JSONField(default=list, blank=True)
    secret_digest = models.BinaryField(max_length=32, null=True, blank=True, editable=False)
    registered_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="registered_oauth_clients"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)

    class Meta:
        verbose_name = "OAuth client"
        ordering = ("name", "client_id")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=("pending", "approved", "disabled")), name="oauth_client_status_known"
            ),
        )

    def __str__(self) -> str:
        return self.name or self.client_id

    @property
    def is_confidential(self) -> bool:
        """Whether it has to prove itself."""
        return self.agent_id is not None or self.secret_digest is not None


class Authorization(Governed):
    """A client was let in, once: all tokens that come of it are one family and end with it.

    Without a `person` it is for the agent itself (an assertion of a workload); without a `client` there was none.
    """

    class Basis(models.TextChoices):
        CONSENT = "consent", "A person agreed"
        DEVICE = "device", "A person agreed for a device"
        ASSERTION = "assertion", "An identity provider vouched"
        WORKLOAD = "workload", "A workload proved itself"

    client = models.ForeignKey(
        OAuthClient, null=True, blank=True, on_delete=models.PROTECT, related_name="authorizations"
    )
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="authorizations")
    person = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="authorizations")
    basis = models.CharField(max_length=16, choices=Basis, default=Basis.CONSENT)
    resource = models.CharField(max_length=300)
    oauth_scopes = models.JSONField("OAuth scopes", default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(revoked_at=None, revoked_by="")
                | ~models.Q(revoked_at=None) & ~models.Q(revoked_by=""),
                name="authorization_revocation_names_who",
            ),
        )

    def __str__(self) -> str:
        return f"{self.client or self.agent} for {self.person or self.agent}"


class TokenRevocation(Governed):
    """Ends one access token before its time; everything else about tokens moves no epoch."""

    token_id = models.UUIDField(unique=True)
    digest = models.BinaryField(max_length=32)
    token_expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField()
    revoked_by = models.CharField(max_length=300)

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"digest"})

    def __str__(self) -> str:
        return f"of access token {self.token_id}"


class Issued(models.Model):
    """What we handed out; only its digest is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.BinaryField(max_length=32, unique=True)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        abstract = True


class AccessToken(Issued):
    """Rests on an authorization, or on the credential that an agent proved itself by."""

    authorization = models.ForeignKey(Authorization, null=True, on_delete=models.CASCADE, related_name="access_tokens")
    credential = models.ForeignKey(AgentCredential, null=True, on_delete=models.CASCADE, related_name="access_tokens")
    client = models.ForeignKey(OAuthClient, null=True, on_delete=models.CASCADE, related_name="access_tokens")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="access_tokens")
    person = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="access_tokens")
    resource = models.CharField(max_length=300)
    oauth_scopes = models.JSONField(default=list)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(authorization=None, credential__isnull=False)
                | models.Q(authorization__isnull=False, credential=None),
                name="access_token_rests_on_one",
            ),
        )

    def __str__(self) -> str:
        return f"access token {self.id}"


class RefreshToken(Issued):
    """Used once: whoever shows it again has stolen it, or was stolen from."""

    authorization = models.ForeignKey(Authorization, on_delete=models.CASCADE, related_name="refresh_tokens")
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"refresh token {self.id}"


class AuthorizationCode(Issued):
    authorization = models.ForeignKey(Authorization, on_delete=models.CASCADE, related_name="codes")
    redirect_uri = models.CharField(max_length=2000)
    code_challenge = models.CharField(max_length=128)
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"authorization code {self.id}"


class DeviceCode(Issued):
    """A device waits until a person types the user code elsewhere."""

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        APPROVED = "approved", "Approved"
        DENIED = "denied", "Denied"
        USED = "used", "Used"

    client = models.ForeignKey(OAuthClient, on_delete=models.CASCADE, related_name="device_codes")
    user_code_digest = models.BinaryField(max_length=32, unique=True)
    resource = models.CharField(max_length=300)
    oauth_scopes = models.JSONField(default=list)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    authorization = models.ForeignKey(Authorization, null=True, on_delete=models.CASCADE, related_name="device_codes")
    polled_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"device code {self.id}"
