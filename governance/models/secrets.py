"""What we present to upstreams: named secrets and their sealed values."""

from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models

from governance.models.base import Governed, NameField

HEADER_NAME_PATTERN = (
    r"(?i)^(?!(host|connection|content-length|content-type|transfer-encoding|te|trailer|upgrade|expect|keep-alive"
    r"|mcp-[a-z-]*)\Z)[a-z0-9!#$%&'*+.^_`|~-]{1,64}\Z"
)
"""An RFC 9110 token that neither frames the message nor belongs to MCP's own transport."""

header_name_validator = RegexValidator(HEADER_NAME_PATTERN, "This is no header name a secret may travel in.")


class Secret(Governed):
    """How an upstream wants its secret presented; the value lives in versions and is write-only."""

    class Kind(models.TextChoices):
        BEARER = "bearer", "Bearer token"
        HEADER = "header", "Header of your choice"
        BASIC = "basic", "User and password (HTTP Basic)"
        OAUTH_CLIENT = "oauth_client", "OAuth client"

    name = NameField()
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.BEARER)
    header_name = models.CharField(max_length=64, blank=True, validators=[header_name_validator])
    description = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(kind__in=("bearer", "header", "basic", "oauth_client")),
                name="secret_kind_known",
            ),
            models.CheckConstraint(
                condition=(models.Q(kind="header") & ~models.Q(header_name=""))
                | (~models.Q(kind="header") & models.Q(header_name="")),
                name="secret_header_named_only_for_header_kind",
            ),
        )

    def __str__(self) -> str:
        return self.name


class SecretVersion(Governed):
    """One value of a secret in its envelope. At most one is live; retired ones are kept."""

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"wrapped_key", "ciphertext"})

    secret = models.ForeignKey(Secret, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    key_id = models.CharField(max_length=16, db_index=True, editable=False)
    wrapped_key = models.BinaryField()
    ciphertext = models.BinaryField()
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("secret__name", "-number")
        constraints = (
            models.UniqueConstraint(fields=("secret", "number"), name="secret_version_number_unique"),
            models.UniqueConstraint(
                fields=("secret",),
                condition=models.Q(retired_at__isnull=True),
                name="one_live_version_per_secret",
            ),
            models.CheckConstraint(condition=models.Q(number__gte=1), name="secret_version_number_from_one"),
        )

    def __str__(self) -> str:
        return f"{self.secret.name} v{self.number}"
