from django.db import migrations, models

from governance.migration_steps import InWordsOnly, RemoveNarrower


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0020_canaries"),
    ]

    operations = [
        RemoveNarrower(
            model_name="rule",
            name="rule_effect_known",
        ),
        migrations.AddField(
            model_name="approvalrequest",
            name="restores",
            field=models.JSONField(db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="rule",
            name="keep_last",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="So many letters of what is masked stay to be seen."
            ),
        ),
        migrations.AddField(
            model_name="rule",
            name="reversible",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="What is masked becomes tokens that a rule can have put back.",
            ),
        ),
        InWordsOnly(
            model_name="rule",
            name="effect",
            field=models.CharField(
                choices=[
                    ("permit", "Permit"),
                    ("ask", "Ask a human"),
                    ("deny", "Deny"),
                    ("mask", "Mask"),
                    ("flag", "Flag"),
                    ("restore", "Put real values back"),
                ],
                max_length=8,
            ),
        ),
        migrations.AddConstraint(
            model_name="rule",
            constraint=models.CheckConstraint(
                condition=models.Q(("effect__in", ("permit", "ask", "deny", "mask", "flag", "restore"))),
                name="rule_effect_known",
            ),
        ),
    ]
