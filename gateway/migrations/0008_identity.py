"""What the gateway keeps for a while about signed statements, probes, clients' documents and connections on their way."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

from governance.migration_steps import InWordsOnly


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0007_claims"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountConnection",
            fields=[
                ("digest", models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ("person_id", models.UUIDField(db_index=True)),
                ("sealed", models.BinaryField()),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name="ClientDocument",
            fields=[
                (
                    "digest",
                    models.BinaryField(help_text="Of its address.", max_length=32, primary_key=True, serialize=False),
                ),
                ("client_id", models.CharField(max_length=255)),
                ("fetched_at", models.DateTimeField(null=True)),
                ("tried_at", models.DateTimeField(db_index=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name="ClientRegistration",
            fields=[
                ("client_id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("registered_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="KeySetCopy",
            fields=[
                (
                    "source",
                    models.BinaryField(
                        help_text="Digest of the issuer and its address.",
                        max_length=32,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("issuer", models.CharField(max_length=500)),
                ("keys", models.JSONField(default=dict)),
                ("fetched_at", models.DateTimeField(null=True)),
                ("tried_at", models.DateTimeField(db_index=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
            ],
        ),
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
            name="SpentAssertion",
            fields=[
                (
                    "digest",
                    models.BinaryField(
                        help_text="Of its issuer and its id.", max_length=32, primary_key=True, serialize=False
                    ),
                ),
                ("keep_until", models.DateTimeField(db_index=True)),
            ],
        ),
        InWordsOnly(
            model_name="notice",
            name="kind",
            field=models.CharField(
                choices=[
                    ("asked", "An approval is wanted"),
                    ("ended", "It is decided or over"),
                    ("escalated", "Nobody answered"),
                    ("break_glass", "Break-glass"),
                    ("review", "A draft waits for review"),
                    ("frozen", "A reaction froze something"),
                    ("directory", "A directory takes away from many"),
                    ("rotation", "Something is to be replaced"),
                ],
                max_length=11,
            ),
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
