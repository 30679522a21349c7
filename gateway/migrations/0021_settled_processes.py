"""Processes that ended before this was kept were looked at when they did: whatever they left open is closed."""

from datetime import timedelta

from django.db import migrations
from django.db.models.functions import Now

LOOKED_AT_FOR = timedelta(seconds=30)


def forwards(apps, schema_editor):
    ended = apps.get_model("gateway", "GatewayProcess").objects.filter(ended_at__lt=Now() - LOOKED_AT_FOR)
    ended.update(oldest_in_flight=None)


def backwards(apps, schema_editor):
    """Nobody reads it of a process that has ended."""


class Migration(migrations.Migration):
    dependencies = [("gateway", "0020_sent_rows")]

    operations = [migrations.RunPython(forwards, backwards)]
