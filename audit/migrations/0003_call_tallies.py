from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="CallTally",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField()),
                ("agent", models.TextField(db_default="")),
                ("connector", models.TextField(db_default="")),
                ("tool", models.TextField(db_default="")),
                ("decision", models.TextField(db_default="")),
                ("outcome", models.TextField(db_default="")),
                ("calls", models.BigIntegerField(default=0)),
                ("upstream_ms", models.FloatField(default=0)),
                ("slowest_ms", models.FloatField(default=0)),
            ],
            options={
                "verbose_name_plural": "call tallies",
                "db_table": "audit_call_tally",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "agent", "connector", "tool", "decision", "outcome"), name="call_tally_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TallyCursor",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("next_leaf", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "audit_tally_cursor",
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_tally_cursor")],
            },
        ),
    ]
