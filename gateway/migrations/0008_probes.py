"""Questions to all gateway processes whether a credential still works, and their answers."""

import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0007_claims"),
    ]

    operations = [
        migrations.CreateModel(
            name="Probe",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("asked_at", models.DateTimeField(db_index=True)),
                ("asked_by", models.CharField(max_length=300)),
                ("credentials", models.JSONField(default=list)),
            ],
        ),
        migrations.CreateModel(
            name="ProbeAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("process_id", models.UUIDField()),
                ("epoch", models.BigIntegerField()),
                ("tried", models.PositiveIntegerField()),
                ("live", models.JSONField(default=list)),
                ("answered_at", models.DateTimeField()),
                (
                    "probe",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="answers", to="gateway.probe"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("probe", "process_id"), name="probe_answered_once")],
            },
        ),
    ]
