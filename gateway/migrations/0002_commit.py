"""Evidence of governed changes and, on PostgreSQL, the group commit, both inside the database."""

from pathlib import Path

from django.db import migrations

from gateway import commit
from governance.fence import FENCE_KEY

UNDO = """
DROP TRIGGER record_changes ON governance_change;
DROP FUNCTION gatehouse_record_changes();
DROP FUNCTION gatehouse_uuid7();
DROP FUNCTION gatehouse_commit;
"""


def forwards(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    source = (Path(commit.__file__).parent / f"{vendor}.sql").read_text()
    schema_editor.connection.cursor().execute(source.replace("{fence_key}", str(FENCE_KEY)))


def backwards(apps, schema_editor):
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    schema_editor.connection.cursor().execute(UNDO if is_postgresql else "DROP TRIGGER record_changes")


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial"), ("governance", "0002_fence"), ("audit", "0002_append_only")]
    operations = [migrations.RunPython(forwards, backwards)]
