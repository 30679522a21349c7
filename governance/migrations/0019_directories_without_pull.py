"""Nothing compares directories by asking them yet, so nothing is kept for it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0018_clients_that_describe_themselves"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="directory",
            name="pull_changes",
        ),
        migrations.RemoveField(
            model_name="directory",
            name="pull_mark",
        ),
        migrations.RemoveField(
            model_name="directory",
            name="pull_problem",
        ),
        migrations.RemoveField(
            model_name="directory",
            name="pull_secret",
        ),
        migrations.RemoveField(
            model_name="directory",
            name="pull_url",
        ),
        migrations.RemoveField(
            model_name="directory",
            name="pulled_at",
        ),
        migrations.RemoveField(
            model_name="directory",
            name="serves_agents",
        ),
        migrations.RemoveField(
            model_name="directoryuser",
            name="missed",
        ),
    ]
