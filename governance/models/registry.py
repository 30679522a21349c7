"""Upstreams, their tools, and the definitions we pinned."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from governance.models.base import Governed, NameField
from governance.models.secrets import Secret


class Connector(Governed):
    """One upstream and how to reach it."""

    class Account(models.TextChoices):
        NONE = "", "The secret below, or none"
        PERSON = "person", "Each person's own account (OAuth)"
        SHARED = "shared", "The gateway's own account (OAuth client credentials)"

    class NewTools(models.TextChoices):
        REVIEW = "review", "Wait for review"
        ALLOW = "allow", "Pin at once"

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"last_error", "last_seen_at", "protocol_version"})

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=16, default="mcp")
    urls = models.JSONField(default=list, help_text="One address, or several replicas of the same upstream.")
    secret = models.ForeignKey(Secret, null=True, blank=True, on_delete=models.PROTECT, related_name="connectors")
    account = models.CharField(
        "account",
        max_length=8,
        choices=Account,
        blank=True,
        default=Account.NONE,
        db_default="",
        help_text="Whose account calls use. With OAuth, a secret of kind OAuth client says as which client.",
    )
    oauth_scopes = models.JSONField(
        "OAuth scopes",
        default=list,
        db_default=[],
        blank=True,
        help_text="To ask its authorization server for; empty asks for those the upstream names.",
    )
    new_tools = models.CharField(max_length=8, choices=NewTools, default=NewTools.REVIEW)
    relays = models.JSONField(
        default=list,
        db_default=[],
        blank=True,
        help_text="What this system may ask of the agent's side while it works: elicitation, sampling, roots.",
    )
    max_running = models.PositiveIntegerField(
        "calls at once", default=64, db_default=64, validators=[MinValueValidator(1)]
    )
    max_waiting = models.PositiveIntegerField("calls that may wait", default=256, db_default=256)
    command = models.JSONField(
        default=list, db_default=[], blank=True, help_text="Of a local server: the program and its arguments."
    )
    environment = models.JSONField(
        default=dict, db_default={}, blank=True, help_text="Variables of a local server; no secrets here."
    )
    secret_variable = models.CharField(
        max_length=100,
        blank=True,
        db_default="",
        help_text="The variable that gets the secret's value, of a local server.",
    )
    per_agent = models.BooleanField("one local server for each agent", default=False, db_default=False)
    memory_mb = models.PositiveIntegerField("memory of a local server (MB)", default=512, db_default=512)
    owner = models.ForeignKey(
        "governance.User",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="owned_connectors",
        verbose_name="resource owner",
        help_text="The human who answers for this system and may be asked to approve calls.",
    )
    stage = models.CharField(
        "environment",
        max_length=32,
        blank=True,
        db_default="",
        help_text="E.g. production; rules read tool.environment",
    )
    timeout_seconds = models.FloatField(default=60, validators=[MinValueValidator(0.1), MaxValueValidator(600)])
    is_enabled = models.BooleanField("enabled", default=True)
    last_error = models.TextField(blank=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    protocol_version = models.CharField(max_length=16, blank=True, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(timeout_seconds__gt=0, timeout_seconds__lte=600),
                name="connector_timeout_bounded",
            ),
            models.CheckConstraint(
                condition=models.Q(account__in=("", "person", "shared")), name="connector_account_known"
            ),
        )

    def __str__(self) -> str:
        return self.title or self.name


class Tool(Governed):
    """A callable of one upstream. Risk, data classes and read-only are the admin's word, never the upstream's."""

    class Risk(models.TextChoices):
        LOW = "low", "Low"
        MEDIUM = "medium", "Medium"
        HIGH = "high", "High"

    connector = models.ForeignKey(Connector, on_delete=models.CASCADE, related_name="tools")
    name = models.CharField(max_length=128)
    risk = models.CharField(max_length=8, choices=Risk, default=Risk.MEDIUM)
    is_read_only = models.BooleanField("only reads", default=False)
    classified_at = models.DateTimeField(null=True, blank=True)
    data_classes = models.JSONField(default=list, blank=True)
    is_untrusted = models.BooleanField(
        "returns untrusted content",
        default=False,
        db_default=False,
        help_text="Text of strangers, e.g. tickets or mail: labels the run in which an agent reads it.",
    )
    is_egress = models.BooleanField(
        "sends data out", default=False, db_default=False, help_text="Mail, posts, uploads: leaves the organisation."
    )
    undo = models.CharField(
        "how to undo",
        max_length=300,
        blank=True,
        db_default="",
        help_text='What approvers read, e.g. "Refunds cannot be taken back."',
    )
    timeout_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1), MaxValueValidator(3600)],
        help_text="Instead of the connector's.",
    )
    quarantined_at = models.DateTimeField(null=True, blank=True)
    quarantine_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("connector__name", "name")
        constraints = (models.UniqueConstraint(fields=("connector", "name"), name="tool_name_unique_in_connector"),)

    def __str__(self) -> str:
        return f"{self.connector.name}/{self.name}"

    @property
    def is_classified(self) -> bool:
        """Whether a person has said what it does; what nobody has looked at yet counts as medium and as writing."""
        return self.classified_at is not None or self.risk != self.Risk.MEDIUM or self.is_read_only


class ToolDefinition(Governed):
    """What an upstream said a tool is, as canonical JSON, unknown fields included. Only a pinned one is served."""

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting for review"
        PINNED = "pinned", "Pinned"
        SUPERSEDED = "superseded", "Superseded"
        REJECTED = "rejected", "Rejected"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"body"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"findings", "is_suspicious"})

    tool = models.ForeignKey(Tool, on_delete=models.CASCADE, related_name="definitions")
    digest = models.CharField(max_length=64)
    body = models.BinaryField()
    status = models.CharField(max_length=12, choices=Status, default=Status.WAITING)
    seen_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.CharField(max_length=300, blank=True)
    findings = models.JSONField(null=True, editable=False)
    """As `governance.definition_findings` keeps them; None: nobody has looked yet."""
    is_suspicious = models.BooleanField("something serious was found", default=False, db_default=False, editable=False)

    class Meta:
        ordering = ("-seen_at",)
        constraints = (
            models.UniqueConstraint(fields=("tool", "digest"), name="definition_once_per_tool"),
            models.UniqueConstraint(
                fields=("tool",), condition=models.Q(status="pinned"), name="one_pinned_definition_per_tool"
            ),
        )

    def __str__(self) -> str:
        return f"{self.tool} {self.digest[:8]} ({self.status})"
