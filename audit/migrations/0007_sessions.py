"""Which run of an agent an event belongs to. The column may be empty, so no table is written anew."""

from importlib import import_module

from django.db import migrations, models

AddIndexWhileServing = import_module("audit.migrations.0004_evidence_search").AddIndexWhileServing


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("audit", "0006_sinks")]

    operations = [
        migrations.AddField("eventrow", "session", models.UUIDField(null=True)),
        AddIndexWhileServing(
            "eventrow",
            models.Index(
                fields=("session", "id"),
                condition=models.Q(session__isnull=False) & ~models.Q(kind="call.outcome"),
                name="audit_event_by_session",
            ),
        ),
    ]
