"""Access reviews: who held what when somebody asked, and what others decided about it."""

import uuid

from django.db import models

from governance.models.people import User


class AccessReview(models.Model):
    """One look at who holds what. It allows nobody anything, so it is no governed row; what it ends is."""

    class Scope(models.TextChoices):
        ALL = "all", "Everybody and every agent"
        TEAM = "team", "One team, with those below it, and its members' agents"
        BUNDLE = "bundle", "One bundle"
        ROLE = "role", "One role"

    class Reviewers(models.TextChoices):
        MANAGERS = "managers", "The managers of the people, and of the owners of agents"
        OWNERS = "owners", "The owners of agents, and the managers of people"
        NAMED = "named", "Named persons"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        CLOSED = "closed", "Signed off"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=200)
    scope = models.CharField(max_length=6, choices=Scope)
    scope_name = models.CharField(max_length=63, blank=True)
    reviewers = models.CharField(max_length=8, choices=Reviewers)
    state = models.CharField(max_length=6, choices=State, default=State.OPEN)
    started_by = models.CharField(max_length=300)
    started_at = models.DateTimeField()
    due_at = models.DateTimeField()
    reminded_at = models.DateTimeField()
    closed_by = models.CharField(max_length=300, blank=True)
    closed_at = models.DateTimeField(null=True)
    summary = models.CharField(max_length=2000, blank=True)
    counts = models.JSONField(default=dict)
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of all items as they were signed off.")

    class Meta:
        ordering = ("-started_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(state="open", closed_at=None) | models.Q(state="closed", closed_at__isnull=False),
                name="access_review_closed_at_a_time",
            ),
        )
        indexes = (models.Index(fields=("due_at",), condition=models.Q(state="open"), name="access_review_open"),)

    def __str__(self) -> str:
        return self.title


class AccessReviewItem(models.Model):
    """What one person or agent held, frozen as text when the review began: later changes do not rewrite it.

    The ids say what a revocation ends, if it is still there then. `human_id` is whose access it is: she does not
    attest it.
    """

    class Through(models.TextChoices):
        ROLE = "role", "Role"
        TEAM = "team", "Role of a team"
        GRANT = "grant", "Grant"

    class Decision(models.TextChoices):
        KEEP = "keep", "Keep"
        REVOKE = "revoke", "Revoke"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    review = models.ForeignKey(AccessReview, on_delete=models.PROTECT, related_name="items")
    reviewer = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="to_attest")
    agent_id = models.UUIDField(null=True)
    person_id = models.UUIDField(null=True)
    human_id = models.UUIDField(null=True)
    subject = models.CharField(max_length=300)
    owner = models.CharField(max_length=300, blank=True)
    through = models.CharField(max_length=5, choices=Through)
    through_id = models.UUIDField()
    team_id = models.UUIDField(null=True)
    held = models.CharField(max_length=300)
    bundles = models.CharField(max_length=1000, blank=True)
    tools = models.PositiveIntegerField()
    last_call_at = models.DateTimeField(null=True)
    decision = models.CharField(max_length=6, choices=Decision, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    decided_by = models.CharField(max_length=300, blank=True)
    decided_at = models.DateTimeField(null=True)
    effect = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("subject", "held", "id")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(agent_id=None, person_id__isnull=False)
                | models.Q(agent_id__isnull=False, person_id=None),
                name="access_review_item_has_one_subject",
            ),
            models.CheckConstraint(
                condition=models.Q(decision="", decided_at=None, decided_by="")
                | models.Q(decision__in=("keep", "revoke"), decided_at__isnull=False) & ~models.Q(decided_by=""),
                name="access_review_item_decided_by_somebody",
            ),
        )
        indexes = (models.Index(fields=("reviewer",), condition=models.Q(decision=""), name="access_review_to_attest"),)

    def __str__(self) -> str:
        return f"{self.subject}: {self.held}"
