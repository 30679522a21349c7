"""Where checkpoints are kept beyond the reach of whoever runs this installation."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from governance.models.base import Governed, NameField
from governance.models.secrets import Secret


class Anchor(Governed):
    """`secret` is of a bucket: access key id and secret key as user and password. `trust` is of a timestamp authority:
    the certificates its answers are believed under.

    `kept_size` is of the newest checkpoint that is surely there, `ahead_size` of one that is kept there and that this
    database has never got to: then the database is older than its anchor.
    """

    class Kind(models.TextChoices):
        S3 = "s3", "Bucket with Object Lock (S3)"
        RFC3161 = "rfc3161", "Timestamp authority (RFC 3161)"

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset(
        {"kept_size", "kept_at", "wanted_at", "tried_at", "failures", "error", "ahead_size"}
    )

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=8, choices=Kind)
    url = models.URLField("address", max_length=500, help_text="Of the S3 service, or of the timestamp authority.")
    bucket = models.CharField(max_length=63, blank=True, help_text="It must have been made with Object Lock.")
    region = models.CharField(max_length=40, blank=True, default="us-east-1")
    prefix = models.CharField(max_length=200, blank=True, help_text="A folder in the bucket.")
    retention_days = models.PositiveIntegerField(
        default=400,
        validators=[MinValueValidator(1), MaxValueValidator(36500)],
        help_text="So long nobody can delete a checkpoint, not even the bucket's owner.",
    )
    secret = models.ForeignKey(Secret, null=True, blank=True, on_delete=models.PROTECT, related_name="anchors")
    trust = models.TextField(
        "pinned certificates",
        blank=True,
        max_length=65536,
        help_text="PEM: the authority's root and what leads to it. Only these are believed.",
    )
    every_minutes = models.PositiveIntegerField(
        "minutes between two", default=60, validators=[MinValueValidator(1), MaxValueValidator(1440)]
    )
    every_leaves = models.PositiveIntegerField(
        "or events between two", default=100_000, validators=[MinValueValidator(1000)]
    )
    is_enabled = models.BooleanField("enabled", default=True)
    kept_size = models.BigIntegerField("kept up to leaf", default=0, editable=False)
    kept_at = models.DateTimeField("last kept", null=True, editable=False)
    wanted_at = models.DateTimeField(null=True, editable=False)
    tried_at = models.DateTimeField(null=True, editable=False)
    failures = models.PositiveIntegerField("failures in a row", default=0, editable=False)
    error = models.CharField("last error", max_length=300, blank=True, editable=False)
    ahead_size = models.BigIntegerField(default=0, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=(models.Q(kind="s3", secret__isnull=False) & ~models.Q(bucket=""))
                | (models.Q(kind="rfc3161", secret__isnull=True) & ~models.Q(trust="")),
                name="anchor_has_what_its_kind_needs",
            ),
        )

    def __str__(self) -> str:
        return self.title or self.name
