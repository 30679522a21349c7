"""Planted values that nobody has any honest use for."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed, NameField


class Canary(Governed):
    """Its value is made by us, sealed, and shown once to whoever plants it. Where it turns up, somebody took it."""

    class Kind(models.TextChoices):
        AWS_KEY = "aws_key", "AWS access key"
        GITHUB_TOKEN = "github_token", "GitHub token"
        URL = "url", "Web address"
        EMAIL = "email", "E-mail address"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"wrapped_key", "ciphertext"})

    name = NameField()
    kind = models.CharField(max_length=12, choices=Kind)
    place = models.CharField(
        "address",
        max_length=200,
        blank=True,
        default="",
        help_text="Of a web address or e-mail address: where it lies, e.g. https://files.example.com/ or example.com.",
    )
    planted_in = models.CharField(
        max_length=500, blank=True, default="", help_text="Where you put it, for whoever reads the alarm."
    )
    key_id = models.CharField(max_length=16, editable=False)
    wrapped_key = models.BinaryField(editable=False)
    ciphertext = models.BinaryField(editable=False)
    created_by = models.CharField(max_length=300, editable=False)
    created_at = models.DateTimeField(editable=False)
    shown_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "canaries"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(kind__in=("aws_key", "github_token", "url", "email")), name="canary_kind_known"
            ),
        )

    def __str__(self) -> str:
        return self.name
