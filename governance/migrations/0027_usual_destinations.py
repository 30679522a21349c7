from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("governance", "0026_external_detectors")]

    operations = [
        migrations.AddField(
            model_name="agentbaseline",
            name="destinations",
            field=models.JSONField(db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="agentbaseline",
            name="destinations_from",
            field=models.DateTimeField(null=True),
        ),
    ]
