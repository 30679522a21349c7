from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0021_reversible_masks"),
    ]

    operations = [
        migrations.AddField(
            model_name="ratelimit",
            name="labels",
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
    ]
