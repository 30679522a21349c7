from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0014_notices_of_canaries"),
    ]

    operations = [
        migrations.CreateModel(
            name="MaskedValue",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("run", models.CharField(max_length=64)),
                ("label", models.CharField(max_length=80)),
                ("number", models.PositiveIntegerField()),
                ("fingerprint", models.CharField(max_length=64)),
                ("agent_id", models.UUIDField()),
                ("person_id", models.UUIDField(db_index=True)),
                ("session", models.UUIDField(db_index=True)),
                ("key_id", models.UUIDField()),
                ("sealed", models.BinaryField()),
                ("made_at", models.DateTimeField()),
                ("keep_until", models.DateTimeField(db_index=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("run", "label", "number"), name="masked_value_token_once"),
                    models.UniqueConstraint(fields=("run", "fingerprint"), name="masked_value_once"),
                ],
            },
        ),
    ]
