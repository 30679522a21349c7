"""The epoch: one number that every governed change moves, and the log of what moved it.

Rows here are written by database triggers only (`governance/fence/`).
"""

from django.db import models


class Epoch(models.Model):
    """A single row. Changes up to `trimmed_to` are no longer in the log: an older snapshot counts as touched by all."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField(default=1)
    trimmed_to = models.BigIntegerField(default=0)

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_epoch"),)

    def __str__(self) -> str:
        return str(self.number)


class Advance(models.Model):
    """Epoch `epoch` is what transaction `txid` committed."""

    epoch = models.BigIntegerField(primary_key=True)
    txid = models.BigIntegerField(db_index=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"epoch {self.epoch}"


class Change(models.Model):
    """One changed row. `kind` and `object_id` say whom it touches; object_id `*` touches everybody."""

    id = models.BigAutoField(primary_key=True)
    txid = models.BigIntegerField(db_index=True)
    kind = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    relation = models.CharField(max_length=64)
    operation = models.CharField(max_length=8)
    before = models.TextField(null=True)  # noqa: DJ001  (no row before an insert)
    after = models.TextField(null=True)  # noqa: DJ001  (no row after a delete)
    actor = models.CharField(max_length=300)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.operation} {self.relation}"
