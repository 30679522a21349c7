"""Where agents send something, by digest, for learning what is usual for them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0018_sent_pieces")]

    operations = [
        migrations.CreateModel(
            name="SentTo",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("agent_id", models.UUIDField()),
                ("digest", models.CharField(max_length=16)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("agent_id", "digest"), name="sent_to_once")],
            },
        ),
    ]
