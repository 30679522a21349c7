"""The epoch's row and, on PostgreSQL, the functions behind the fence."""

from pathlib import Path

from django.db import migrations

from governance import fence

UNDO = """
DROP TABLE governance_ticket;
DROP FUNCTION gatehouse_note_change() CASCADE;
DROP FUNCTION gatehouse_queue_last_act() CASCADE;
DROP FUNCTION gatehouse_last_act() CASCADE;
"""


def forwards(apps, schema_editor):
    apps.get_model("governance", "Epoch").objects.get_or_create(id=1)
    if schema_editor.connection.vendor == "postgresql":
        source = (Path(fence.__file__).parent / "postgresql.sql").read_text()
        source = source.replace("{fence_key}", str(fence.FENCE_KEY)).replace("{epoch_channel}", fence.EPOCH_CHANNEL)
        schema_editor.connection.cursor().execute(source)


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute(UNDO)


class Migration(migrations.Migration):
    dependencies = [("governance", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
