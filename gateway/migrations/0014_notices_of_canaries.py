from django.db import migrations, models

from governance.migration_steps import InWordsOnly


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0013_destinations"),
    ]

    operations = [
        InWordsOnly(
            model_name="notice",
            name="kind",
            field=models.CharField(
                choices=[
                    ("asked", "An approval is wanted"),
                    ("ended", "It is decided or over"),
                    ("escalated", "Nobody answered"),
                    ("break_glass", "Break-glass"),
                    ("review", "A draft waits for review"),
                    ("frozen", "A reaction froze something"),
                    ("directory", "A directory takes away from many"),
                    ("rotation", "Something is to be replaced"),
                    ("evidence", "Something is wrong with the evidence"),
                    ("attest", "Access is to be attested"),
                    ("canary", "A planted value turned up"),
                ],
                max_length=11,
            ),
        ),
    ]
