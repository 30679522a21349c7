"""The group commit learns in which session an event was. On SQLite there is no function.

The function of before stays: processes of the release before still run while this one is brought in.
"""

from pathlib import Path

from django.db import migrations

from gateway import commit
from governance.fence import FENCE_KEY

SOURCE = Path(commit.__file__).parent / "postgresql_sessions.sql"
UNDO = """
DROP FUNCTION gatehouse_commit(uuid, text[], text[], text[], text[], text[], text[], text[], text[], text[], text[],
  text[], text[], text[], bytea[], text[], bytea[], text[], text[], text[]);
"""


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute(SOURCE.read_text().replace("{fence_key}", str(FENCE_KEY)))


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute(UNDO)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0008_identity"), ("audit", "0007_sessions")]
    operations = [migrations.RunPython(forwards, backwards)]
