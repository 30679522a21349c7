"""What versions of bundles and policies share: the way from a draft to what is in force."""

from django.db import models


class State(models.TextChoices):
    DRAFT = "draft", "Draft"
    REVIEW = "review", "In review"
    STAGED = "staged", "Published to some agents"
    PUBLISHED = "published", "Published"
    SUPERSEDED = "superseded", "Superseded"
    DISCARDED = "discarded", "Discarded"


OPEN = (State.DRAFT, State.REVIEW, State.STAGED)
"""On their way; at most one version of a bundle or policy is."""
FROZEN = (State.STAGED, State.PUBLISHED, State.SUPERSEDED, State.DISCARDED)
"""Never edited again."""


class Reviewed(models.Model):
    """`based_on` is the number of the version that was in force when the draft was begun, 0 for none. `authors` are the
    ids of all accounts that wrote a part of it: none of these humans reviews it."""

    number = models.PositiveIntegerField()
    state = models.CharField(max_length=12, choices=State, default=State.PUBLISHED)
    based_on = models.PositiveIntegerField(default=0, db_default=0)
    summary = models.CharField(max_length=500, blank=True, db_default="", help_text="What changes, and why.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    authors = models.JSONField(default=list, blank=True, db_default=[])
    revision = models.PositiveIntegerField(default=0, db_default=0, help_text="Counts the edits of the draft.")
    submitted_at = models.DateTimeField(null=True, blank=True)
    submitted_by = models.CharField(max_length=300, blank=True, db_default="")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.CharField(max_length=300, blank=True, db_default="")
    review_note = models.CharField(max_length=500, blank=True, db_default="")
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
