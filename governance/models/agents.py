"""Agents and the credentials by which they prove themselves to us."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Case, F, When
from django.utils import timezone

from governance.models.base import Governed, NameField
from governance.models.people import User


class Agents(models.QuerySet["Agent"]):
    def update(self, **changes: Any) -> int:
        """Whichever way an agent is handed over, its new owner's time begins then."""
        if "owner" in changes:
            stays = When(owner=changes["owner"], then=F("owned_since"))
            changes.setdefault("owned_since", Case(stays, default=timezone.now()))
        return super().update(**changes)


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
    takes_owner_roles = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Of a person's own client: what she holds, it may use on her behalf.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    owned_since = models.DateTimeField(
        null=True, editable=False, help_text="When its owner of today got it from another; empty for its first owner."
    )

    objects = Agents.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=("live", "suspended", "retired")), name="agent_status_known"
            ),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, **options: Any) -> None:
        named = options.get("update_fields")
        if not self._state.adding and (named is None or "owner" in named) and self._is_handed_over():
            self.owned_since = timezone.now()
            if named is not None:
                options["update_fields"] = {*named, "owned_since"}
        super().save(**options)

    def _is_handed_over(self) -> bool:
        return Agent.objects.filter(pk=self.pk).exclude(owner=self.owner_id).exists()


class AgentCredential(Governed):
    """By what an agent proves itself to us. Several live at once, so that one can follow another without a gap.

    Of a key or a client secret only its SHA-256 is kept: 256 random bits need no slow hash, and a look-up must be
    instant. Of a public key there is nothing to steal here. A workload has no secret at all: `issuer` says who vouches
    for it, `claims` which of the issuer's subjects it is.
    """

    class Kind(models.TextChoices):
        KEY = "key", "Agent key"
        CLIENT_SECRET = "client_secret", "Client secret"
        PUBLIC_KEY = "public_key", "Public key"
        WORKLOAD = "workload", "Workload identity"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"digest"})

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="credentials")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.KEY, db_default="key")
    label = models.CharField(max_length=100, blank=True, db_default="", help_text="Where it is used, for humans.")
    digest = models.BinaryField(max_length=32, unique=True, null=True)
    hint = models.CharField(max_length=24, help_text="First characters, enough to recognise it by.")
    public_key = models.JSONField(null=True, blank=True, help_text="A JSON Web Key without its private members.")
    thumbprint = models.CharField(
        max_length=43, blank=True, db_default="", help_text="Of the public key, after RFC 7638: it comes but once."
    )
    issuer = models.CharField(max_length=500, blank=True, db_default="", help_text="Who vouches for the workload.")
    claims = models.JSONField(default=dict, blank=True, db_default={}, help_text="What the issuer must say of it.")
    person = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="credentials_for",
        verbose_name="on behalf of",
        help_text="It gives only what both the agent and this person may.",
    )
    successor_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="successors",
        help_text="What it takes the place of; that one ends by itself when the overlap is over.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    not_before = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = "agent credential"
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
            models.CheckConstraint(
                condition=models.Q(kind__in=("key", "client_secret"), digest__isnull=False, thumbprint="", issuer="")
                | models.Q(kind="public_key", digest=None, public_key__isnull=False, issuer="")
                & ~models.Q(thumbprint="")
                | models.Q(kind="workload", digest=None, thumbprint="") & ~models.Q(issuer=""),
                name="credential_has_what_its_kind_needs",
            ),
            models.UniqueConstraint(
                fields=("thumbprint",), condition=~models.Q(thumbprint=""), name="public_key_registered_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.hint}… of {self.agent}" if self.digest else f"{self.hint} of {self.agent}"


class CredentialUse(models.Model):
    """When and from where a credential was last shown to us. It lags behind by a minute and allows nobody anything, so
    it is no governed row: it moves no epoch."""

    credential = models.OneToOneField(
        AgentCredential, primary_key=True, on_delete=models.CASCADE, related_name="use", db_constraint=False
    )
    first_used_at = models.DateTimeField()
    last_used_at = models.DateTimeField(db_index=True)
    last_used_from = models.CharField(
        max_length=45, blank=True, help_text="The address, as far as proxies are trusted."
    )
    last_client = models.CharField(max_length=200, blank=True, help_text="What the client called itself.")

    def __str__(self) -> str:
        return f"{self.credential_id} at {self.last_used_at}"
