from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0004_offboardings"),
    ]

    operations = [
        migrations.AddField(
            model_name="tool",
            name="classified_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
