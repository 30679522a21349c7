"""Questions to humans and their answers. Not governed rows: what they allow is consumed inside the intent commit."""

import uuid

from django.db import models
from django.db.models import Q


class ApprovalRequest(models.Model):
    """A held call, the answer of one that has run, or a wish for access, that waits for humans.

    `terms` are what must be agreed to, one for each rule that asks: {"rule", "reason", "approvers"}, see
    `approval_terms.py`. `asked_digest` finds the row when the same call comes again; `call_digest` is what was approved
    and runs: they differ once an approver has narrowed an argument. `wanted` is {"bundle" | "tool", "minutes"} where
    access is wished for. `arguments` and `asked_arguments` are sealed, and emptied a month after the end; where the
    bundle does not record them there are no `asked_arguments`, and `arguments` go with the end.
    """

    class Kind(models.TextChoices):
        CALL = "call", "A call"
        ACCESS = "access", "Access for a time"
        ANSWER = "answer", "An answer"

    class State(models.TextChoices):
        PENDING = "pending", "Waiting"
        APPROVED = "approved", "Approved"
        CONSUMED = "consumed", "Done"
        DENIED = "denied", "Denied"
        EXPIRED = "expired", "Expired"
        CANCELLED = "cancelled", "Withdrawn"
        VOID = "void", "Void"

    LIVE = (State.PENDING, State.APPROVED)

    number = models.BigAutoField(primary_key=True)
    key = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=6, choices=Kind, default=Kind.CALL)
    state = models.CharField(max_length=9, choices=State, default=State.PENDING)
    revision = models.PositiveIntegerField(default=0)
    """Grows with every change of the question or its state, so that a stale page cannot decide."""

    agent_id = models.UUIDField(null=True)
    agent = models.CharField(max_length=63, blank=True)
    owner_id = models.UUIDField(null=True)
    owner = models.CharField(max_length=254, blank=True)
    person_id = models.UUIDField(null=True)
    """On whose behalf, or who asks for herself."""
    person = models.CharField(max_length=254, blank=True)
    asked_by_id = models.UUIDField(null=True)
    """The human at the keyboard, if one asked."""
    credential_id = models.UUIDField(null=True)
    connector_id = models.UUIDField(null=True)
    connector = models.CharField(max_length=63, blank=True)
    tool_id = models.CharField(max_length=2200, blank=True)
    tool = models.CharField(max_length=2200, blank=True)
    method = models.CharField(max_length=32, default="tools/call")
    definition_digest = models.CharField(max_length=64, blank=True)
    secret_version = models.CharField(max_length=40, blank=True)
    bundle_id = models.UUIDField(null=True)
    bundle = models.CharField(max_length=63, blank=True)
    bundle_version = models.PositiveIntegerField(default=0)
    session = models.CharField(max_length=200, blank=True)
    run = models.UUIDField(null=True)
    """The session of evidence in which it was asked."""
    asking_call_id = models.UUIDField(null=True)
    source_ip = models.CharField(max_length=64, blank=True)
    client = models.CharField(max_length=130, blank=True)

    asked_digest = models.BinaryField(max_length=32)
    call_digest = models.BinaryField(max_length=32)
    asked_arguments = models.BinaryField(default=bytes)
    arguments = models.BinaryField(default=bytes)
    answer = models.BinaryField(null=True)
    """Sealed: what a call that has run got, and would be told. Goes with the end."""
    wanted = models.JSONField(default=dict)
    terms = models.JSONField(default=list)
    labels = models.JSONField(default=list)
    restores = models.JSONField(default=list, db_default=[])
    """Tokens in the arguments that become real values when it runs: {"token", "name", "kind", "fingerprint"}."""
    stated_reason = models.TextField(blank=True)
    """What the agent says it wants this for; never trusted."""
    reason = models.CharField(max_length=500, blank=True)
    """What the human who asks says."""
    ticket = models.CharField(max_length=100, blank=True)

    created_at = models.DateTimeField(db_index=True)
    expires_at = models.DateTimeField()
    use_before = models.DateTimeField(null=True)
    escalated_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_because = models.CharField(max_length=300, blank=True)
    call_id = models.UUIDField(null=True, db_index=True)
    """Of the call that consumed it."""
    grant_id = models.UUIDField(null=True)

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(
                fields=("asked_digest",),
                condition=Q(state__in=("pending", "approved")),
                name="one_live_approval_request_per_call",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("pending", "approved", "consumed", "denied", "expired", "cancelled", "void")),
                name="approval_request_state_known",
            ),
        )
        indexes = (
            models.Index(fields=("state", "expires_at"), name="approval_request_open"),
            models.Index(fields=("agent_id", "-created_at"), name="approval_request_of_agent"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """By which people and agents speak of it."""
        return f"APR-{self.number}"


class ApprovalDecision(models.Model):
    """One human's yes or no, never overwritten; `digest` is what she was shown.

    Once the arguments were narrowed she may decide again: what she said of the former question counts no more.
    """

    class Verdict(models.TextChoices):
        APPROVE = "approve", "Approve"
        DENY = "deny", "Deny"

    request = models.ForeignKey(ApprovalRequest, on_delete=models.CASCADE, related_name="decisions")
    human_id = models.UUIDField()
    person_id = models.UUIDField()
    person = models.CharField(max_length=254)
    verdict = models.CharField(max_length=7, choices=Verdict)
    reason = models.CharField(max_length=500, blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    channel = models.CharField(max_length=8)
    """web, api or slack."""
    authentication = models.JSONField(default=dict)
    """{"method", "at", "ip"} of the sign-in behind it."""
    digest = models.BinaryField(max_length=32)
    at = models.DateTimeField()

    class Meta:
        ordering = ("at",)
        constraints = (
            models.UniqueConstraint(fields=("request", "human_id", "digest"), name="one_approval_decision_per_human"),
            models.CheckConstraint(condition=Q(verdict__in=("approve", "deny")), name="approval_verdict_known"),
        )

    def __str__(self) -> str:
        return f"{self.person}: {self.verdict}"
