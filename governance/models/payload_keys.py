"""Keys that seal the bodies of evidence; themselves sealed by the vault."""

import uuid

from django.db import models


class PayloadKey(models.Model):
    """Keys of before each person had her own: kept to read what lies under them, and never used to seal again."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    key_id = models.CharField(max_length=16, db_index=True)
    wrapped_key = models.BinaryField()
    ciphertext = models.BinaryField()

    class Meta:
        ordering = ("created_at",)

    def __str__(self) -> str:
        return str(self.id)


class SubjectKey(models.Model):
    """One key for the payloads of one subject (`person:<id>`), one retention class and one month.

    A destroyed one keeps its row without the key: it says when and why what lies under it cannot be read any more.
    """

    class Cause(models.TextChoices):
        ERASED = "erased", "its subject was erased"
        EXPIRED = "expired", "its time was over"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject = models.CharField(max_length=80, db_index=True)
    retention = models.CharField(max_length=63)
    period = models.CharField(max_length=7)
    created_at = models.DateTimeField(auto_now_add=True)
    key_id = models.CharField(max_length=16, db_index=True)
    wrapped_key = models.BinaryField()
    ciphertext = models.BinaryField()
    destroyed_at = models.DateTimeField(null=True)
    cause = models.CharField(max_length=8, choices=Cause, default="", blank=True)
    is_emptied = models.BooleanField(default=False)
    """Whether the payloads that lay under it are gone as well."""

    class Meta:
        ordering = ("period", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("subject", "retention", "period"),
                condition=models.Q(destroyed_at=None),
                name="one_live_key_per_subject_class_and_period",
            ),
            models.CheckConstraint(
                condition=models.Q(destroyed_at=None) | models.Q(key_id=""),
                name="a_destroyed_key_is_under_no_kek",
            ),
        )

    def __str__(self) -> str:
        return str(self.id)
