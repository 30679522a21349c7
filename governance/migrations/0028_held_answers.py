"""Answers that wait for humans, sealed beside the question about them."""

from django.db import migrations, models

from governance.migration_steps import InWordsOnly


class Migration(migrations.Migration):
    dependencies = [("governance", "0027_usual_destinations")]

    operations = [
        InWordsOnly(
            model_name="approvalrequest",
            name="kind",
            field=models.CharField(
                choices=[("call", "A call"), ("access", "Access for a time"), ("answer", "An answer")],
                default="call",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="answer",
            field=models.BinaryField(null=True),
        ),
    ]
