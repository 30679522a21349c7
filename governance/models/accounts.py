"""Us as an OAuth client: who authorizes at upstreams, as whom we are known there, and whose account we may use."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from governance.models.base import Governed
from governance.models.people import User
from governance.models.registry import Connector
from governance.models.secrets import Secret


class UpstreamAuthServer(Governed):
    """An authorization server that protects upstreams. `metadata` is what it said of itself, cut to what we use."""

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"fetched_at"})

    issuer = models.CharField(max_length=500, unique=True)
    metadata = models.JSONField(default=dict)
    fetched_at = models.DateTimeField()

    class Meta:
        verbose_name = "authorization server"
        ordering = ("issuer",)

    def __str__(self) -> str:
        return self.issuer


class UpstreamClient(Governed):
    """As whom one connector is known to one authorization server.

    The issuer is pinned: an upstream that names another one later gets neither our client secret nor a person's code
    before an administrator has agreed. The row outlives its connector, because accounts are revoked as this client.
    """

    class Source(models.TextChoices):
        SECRET = "secret", "Client id and secret from the vault"
        DOCUMENT = "document", "Our published client document"
        REGISTERED = "registered", "Registered by ourselves"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"wrapped_key", "ciphertext"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"key_id", "wrapped_key"})

    connector = models.OneToOneField(
        Connector, null=True, blank=True, on_delete=models.SET_NULL, related_name="upstream_client"
    )
    server = models.ForeignKey(UpstreamAuthServer, on_delete=models.PROTECT, related_name="clients")
    source = models.CharField(max_length=10, choices=Source)
    secret = models.ForeignKey(Secret, null=True, blank=True, on_delete=models.SET_NULL, related_name="clients")
    client_id = models.CharField(max_length=500, blank=True, help_text="Unless the vault's secret says it.")
    auth_method = models.CharField(max_length=24, default="none")
    resource = models.CharField(max_length=500, help_text="What tokens are asked for: the upstream's canonical URL.")
    oauth_scopes = models.JSONField(default=list, blank=True)
    key_id = models.CharField(max_length=16, blank=True, editable=False)
    wrapped_key = models.BinaryField(default=bytes, blank=True)
    ciphertext = models.BinaryField(default=bytes, blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=300)

    class Meta:
        verbose_name = "OAuth client of a connector"
        ordering = ("server", "created_at")
        constraints = (
            models.CheckConstraint(
                condition=Q(source__in=("secret", "document", "registered")), name="upstream_client_source_known"
            ),
            models.CheckConstraint(condition=Q(source="secret") | ~Q(client_id=""), name="upstream_client_has_an_id"),
        )

    def __str__(self) -> str:
        return f"{self.connector or 'a removed connector'} at {self.server}"


class UpstreamGrant(Governed):
    """A person's account at an upstream, or the one all share, that the gateway may use.

    Its tokens lie sealed in one envelope and are emptied once the provider has revoked them. Renewing them is nobody's
    act and moves no epoch; that the account may be used no more does, so every call that rests on it is fenced.
    `renewing_until` is the lease of the one process that renews.
    """

    class Status(models.TextChoices):
        LIVE = "live", "Connected"
        RECONNECT = "reconnect", "Must be connected again"
        ENDED = "ended", "Disconnected"

    class Revocation(models.TextChoices):
        NONE = "none", "Nothing to revoke"
        DUE = "due", "Being revoked at the provider"
        DONE = "done", "Revoked at the provider"
        MANUAL = "manual", "A human must revoke it at the provider"
        SETTLED = "settled", "A human has seen to it"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"wrapped_key", "ciphertext"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset(
        {
            *("key_id", "wrapped_key", "ciphertext", "generation", "expires_at", "renewed_at", "renewing_until"),
            *("renewing_by", "revocation_attempts", "revocation_due_at", "revocation_note"),
        }
    )

    client = models.ForeignKey(UpstreamClient, on_delete=models.PROTECT, related_name="grants")
    connector = models.ForeignKey(
        Connector, null=True, blank=True, on_delete=models.SET_NULL, related_name="upstream_grants"
    )
    person = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="connected_accounts")
    resource = models.CharField(max_length=500)
    oauth_scopes = models.JSONField(default=list, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.LIVE)
    problem = models.CharField(max_length=300, blank=True)
    key_id = models.CharField(max_length=16, blank=True, db_index=True, editable=False)
    wrapped_key = models.BinaryField(default=bytes, blank=True)
    ciphertext = models.BinaryField(default=bytes, blank=True)
    generation = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Of the access token at hand.")
    renewed_at = models.DateTimeField(null=True, blank=True)
    renewing_until = models.DateTimeField(null=True, blank=True)
    renewing_by = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=300)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=300, blank=True)
    revocation = models.CharField(max_length=8, choices=Revocation, default=Revocation.NONE)
    revocation_attempts = models.PositiveSmallIntegerField(default=0)
    revocation_due_at = models.DateTimeField(null=True, blank=True)
    revocation_note = models.CharField(max_length=500, blank=True)

    class Meta:
        verbose_name = "connected account"
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("revocation_due_at",), condition=Q(revocation="due"), name="grant_revocation_due"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=("live", "reconnect", "ended")), name="upstream_grant_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status="ended", ended_at__isnull=False) & ~Q(ended_by="")
                | ~Q(status="ended") & Q(ended_at=None, ended_by=""),
                name="upstream_grant_end_names_who",
            ),
            models.CheckConstraint(
                condition=Q(revocation__in=("none", "due", "done", "manual", "settled")),
                name="upstream_grant_revocation_known",
            ),
            models.UniqueConstraint(
                fields=("connector", "person"),
                condition=~Q(status="ended"),
                name="one_account_per_person_and_connector",
            ),
            models.UniqueConstraint(
                fields=("connector",),
                condition=~Q(status="ended") & Q(person=None),
                name="one_shared_account_per_connector",
            ),
        )

    def __str__(self) -> str:
        whose = self.person.email if self.person else "shared"
        return f"{whose} at {self.connector.name if self.connector else 'a removed connector'}"
