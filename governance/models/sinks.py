"""Where evidence is sent to."""

from typing import ClassVar

from django.db import models

from governance.models.base import Governed, NameField
from governance.models.secrets import Secret


class Sink(Governed):
    """A destination outside: what kind it is, how it is reached, and what it may see. How far it is, evidence knows.

    `settings` are those of its kind; they hold nothing secret.
    """

    KINDS: ClassVar[dict[str, str]] = {
        "kafka": "Kafka",
        "otlp": "OpenTelemetry (OTLP)",
        "s3": "S3 or compatible",
        "sentinel": "Microsoft Sentinel",
        "splunk": "Splunk HEC",
        "syslog": "Syslog over TLS",
        "webhook": "Signed webhook",
    }

    class Format(models.TextChoices):
        NATIVE = "native", "Gatehouse JSON"
        OCSF = "ocsf", "OCSF 1.8"
        CEF = "cef", "CEF"

    class Redaction(models.TextChoices):
        AS_IS = "as_is", "As recorded"
        HASHED_PEOPLE = "hashed_people", "People as hashes"
        METADATA = "metadata", "Metadata only: no details, people as hashes"

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=16)
    format = models.CharField(max_length=8, choices=Format, default=Format.NATIVE)
    redaction = models.CharField("what it may see", max_length=16, choices=Redaction, default=Redaction.AS_IS)
    settings = models.JSONField(default=dict, blank=True)
    secret = models.ForeignKey(Secret, null=True, blank=True, on_delete=models.PROTECT, related_name="sinks")
    is_enabled = models.BooleanField("enabled", default=True, help_text="Switched off it waits and keeps its place.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title or self.name
