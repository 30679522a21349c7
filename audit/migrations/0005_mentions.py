from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0004_evidence_search"),
    ]

    operations = [
        migrations.CreateModel(
            name="Mention",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("object_id", models.CharField(max_length=32)),
                ("event_id", models.UUIDField()),
            ],
            options={
                "db_table": "audit_mention",
                "indexes": [models.Index(fields=["object_id", "id"], name="audit_mention_of_object")],
            },
        ),
    ]
