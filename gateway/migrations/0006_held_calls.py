"""Tasks that wait for humans, what runs have met, and messages to be sent."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0005_protocol"),
    ]

    operations = [
        migrations.CreateModel(
            name="Notice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("asked", "An approval is wanted"),
                            ("ended", "It is decided or over"),
                            ("escalated", "Nobody answered"),
                            ("break_glass", "Break-glass"),
                            ("review", "A draft waits for review"),
                            ("frozen", "A reaction froze something"),
                        ],
                        max_length=11,
                    ),
                ),
                ("channel_id", models.UUIDField(null=True)),
                ("person_id", models.UUIDField(null=True)),
                ("request_number", models.BigIntegerField(db_index=True, null=True)),
                ("subject", models.CharField(max_length=300)),
                ("body", models.JSONField(default=dict)),
                ("written_at", models.DateTimeField()),
                ("next_try_at", models.DateTimeField(db_index=True)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("sent_at", models.DateTimeField(null=True)),
                ("given_up_at", models.DateTimeField(null=True)),
                ("reference", models.CharField(blank=True, max_length=200)),
                ("error", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.AddField(
            model_name="mcptask",
            name="approval_key",
            field=models.UUIDField(help_text="It waits for this approval; then nobody runs it yet.", null=True),
        ),
        migrations.AddField(
            model_name="mcptask",
            name="held_call",
            field=models.BinaryField(help_text="Sealed: what is to run then.", null=True),
        ),
        migrations.CreateModel(
            name="RunLabel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("agent_id", models.UUIDField()),
                ("session", models.CharField(max_length=64)),
                ("label", models.CharField(max_length=64)),
                ("at", models.DateTimeField(db_index=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("agent_id", "session", "label"), name="run_label_once")
                ],
            },
        ),
    ]
