"""Detectors of somebody else's, for rules about content."""

from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from governance.models.base import Governed, NameField
from governance.models.secrets import Secret

LEAST_MS, MOST_MS = 50, 10_000
MOST_BYTES = 1_000_000


class ExternalDetector(Governed):
    """Rules name it `detector:NAME`. Where it does not answer in time, each rule's failure mode decides.

    `settings` are those of its kind, which the gateway checks; they hold nothing secret. Each stored state is a version
    of its own; evidence says which one answered.
    """

    KINDS: ClassVar[dict[str, str]] = {
        "bedrock": "Amazon Bedrock Guardrails",
        "google_dlp": "Google Sensitive Data Protection (DLP)",
        "nightfall": "Nightfall",
        "onnx": "A model of your own (ONNX)",
        "presidio": "Microsoft Presidio",
    }

    class Severity(models.TextChoices):
        LOW = "low", "Low"
        MEDIUM = "medium", "Medium"
        HIGH = "high", "High"
        CRITICAL = "critical", "Critical"

    class Side(models.TextChoices):
        BOTH = "both", "Arguments and results"
        ARGUMENTS = "arguments", "Arguments only"
        RESULT = "result", "Results only"

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=16)
    settings = models.JSONField(default=dict, blank=True)
    secret = models.ForeignKey(Secret, null=True, blank=True, on_delete=models.PROTECT, related_name="detectors")
    side = models.CharField("asked about", max_length=9, choices=Side, default=Side.BOTH)
    timeout_ms = models.PositiveIntegerField(
        "milliseconds to answer",
        default=2_000,
        validators=[MinValueValidator(LEAST_MS), MaxValueValidator(MOST_MS)],
        help_text=f"From {LEAST_MS} to {MOST_MS:,}. What is late counts as no answer.",
    )
    most_bytes = models.PositiveIntegerField(
        "most bytes of text",
        default=25_000,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_BYTES)],
        help_text="It is not asked about more than this, and rules decide as if it had not answered.",
    )
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.MEDIUM)
    least_confidence = models.FloatField(
        default=0.5,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="From 0 to 1. What it is less sure of does not count.",
    )
    send_known_secrets = models.BooleanField(
        default=False,
        help_text="Keys and passwords that Gatehouse finds itself go along. Off: they are masked first. Values of the "
        "vault, canaries and agents' tokens never go.",
    )
    is_enabled = models.BooleanField(
        "enabled", default=True, help_text="Switched off it does not answer: rules decide."
    )
    number = models.PositiveIntegerField("version", default=0, editable=False)

    class Meta:
        ordering = ("name",)
        verbose_name = "detector"

    def __str__(self) -> str:
        return self.title or self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.number += 1
        super().save(*args, **kwargs)
