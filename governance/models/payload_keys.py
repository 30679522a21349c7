"""Keys that seal the bodies of evidence; themselves sealed by the vault."""

import uuid

from django.db import models


class PayloadKey(models.Model):
    """A new key seals new payloads; older ones stay to read older payloads."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    key_id = models.CharField(max_length=16, db_index=True)
    wrapped_key = models.BinaryField()
    ciphertext = models.BinaryField()

    class Meta:
        ordering = ("created_at",)

    def __str__(self) -> str:
        return str(self.id)
