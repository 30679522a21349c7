"""What members of groups are called by the directory."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0016_uses_kept_since"),
    ]

    operations = [
        migrations.AddField(
            model_name="directorymember",
            name="display",
            field=models.CharField(blank=True, db_default="", max_length=300),
        ),
    ]
