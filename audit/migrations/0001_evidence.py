from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("size", models.BigIntegerField(primary_key=True, serialize=False)),
                ("root", models.BinaryField(max_length=32)),
                ("frontier", models.BinaryField()),
                ("at", models.DateTimeField()),
                ("note", models.TextField()),
            ],
            options={
                "db_table": "audit_checkpoint",
            },
        ),
        migrations.CreateModel(
            name="Payload",
            fields=[
                ("event_id", models.UUIDField(primary_key=True, serialize=False)),
                ("key_id", models.TextField()),
                ("sealed", models.BinaryField()),
            ],
            options={
                "db_table": "audit_payload",
            },
        ),
        migrations.CreateModel(
            name="Pending",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField(unique=True)),
            ],
            options={
                "verbose_name_plural": "pending",
                "db_table": "audit_pending",
            },
        ),
        migrations.CreateModel(
            name="EventRow",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("kind", models.TextField()),
                ("at", models.DateTimeField()),
                ("call_id", models.UUIDField(null=True)),
                ("actor", models.TextField(db_default="")),
                ("agent", models.TextField(db_default="")),
                ("person", models.TextField(db_default="")),
                ("connector", models.TextField(db_default="")),
                ("tool", models.TextField(db_default="")),
                ("decision", models.TextField(db_default="")),
                ("outcome", models.TextField(db_default="")),
                ("process_id", models.UUIDField(null=True)),
                ("epoch", models.BigIntegerField(db_default=0)),
                ("decided_epoch", models.BigIntegerField(db_default=0)),
                ("header", models.BinaryField()),
            ],
            options={
                "verbose_name": "event",
                "db_table": "audit_event",
                "indexes": [
                    models.Index(fields=["agent", "id"], name="audit_event_by_agent"),
                    models.Index(fields=["tool", "id"], name="audit_event_by_tool"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("call_id__isnull", False)),
                        fields=("call_id", "kind"),
                        name="audit_event_once_per_call",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Leaf",
            fields=[
                ("index", models.BigIntegerField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField(unique=True)),
                ("hash", models.BinaryField(max_length=32)),
            ],
            options={
                "verbose_name_plural": "leaves",
                "db_table": "audit_leaf",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("index__gte", 0)), name="audit_leaf_index_not_negative")
                ],
            },
        ),
    ]
