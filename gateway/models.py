"""What the gateway itself keeps in the database."""

import uuid
from datetime import timedelta

from django.apps import AppConfig
from django.db import connections, models
from django.db.models.signals import post_migrate
from django.dispatch import receiver

from governance.fence import triggers

IDEMPOTENCY_LIFETIME = timedelta(hours=24)


class GatewayProcess(models.Model):
    """A running gateway process: its heartbeat, the epoch it applies, and a bound on what it may have in flight.

    `oldest_in_flight` is an event id (time-ordered): no open intent of this process is older.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True)
    applied_epoch = models.BigIntegerField(default=0)
    calls_in_flight = models.IntegerField(default=0)
    oldest_in_flight = models.UUIDField(null=True)

    class Meta:
        ordering = ("-started_at",)
        verbose_name_plural = "gateway processes"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class IdempotentAnswer(models.Model):
    """What a write of the REST API answered, kept so that repeating its Idempotency-Key repeats the answer.

    `request_digest` is of method, path and body: the same key with another request is an error.
    """

    person_id = models.UUIDField()
    key = models.CharField(max_length=255)
    request_digest = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.BinaryField(default=bytes)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("person_id", "key"), name="idempotency_key_once_per_person"),)

    def __str__(self) -> str:
        return self.key


@receiver(post_migrate)
def install_triggers(app_config: AppConfig, using: str, **_: object) -> None:
    """After our own migrations, which come last: the tables and functions the triggers need are there then."""
    if app_config.label == "gateway":
        triggers.install(connections[using])
