"""The group commit learns to consume approvals, count uses and keep labels of runs. On SQLite there is no function.

The function of before stays: processes of the release before still run while this one is brought in.
"""

from pathlib import Path

from django.db import migrations

from gateway import commit
from governance.fence import FENCE_KEY

SOURCE = Path(commit.__file__).parent / "postgresql_claims.sql"
UNDO = """
DROP FUNCTION gatehouse_commit(uuid, text[], text[], text[], text[], text[], text[], text[], text[], text[], text[],
  text[], text[], bytea[], text[], bytea[], text[], text[], text[]);
DROP FUNCTION gatehouse_add_labels(text[], text[], text[]);
DROP FUNCTION gatehouse_is_labelled(jsonb);
DROP FUNCTION gatehouse_consume(jsonb, uuid, bigint[]);
DROP FUNCTION gatehouse_lock_claimed(text[]);
"""


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute(SOURCE.read_text().replace("{fence_key}", str(FENCE_KEY)))


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute(UNDO)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0006_held_calls"), ("governance", "0007_rules_and_approvals")]
    operations = [migrations.RunPython(forwards, backwards)]
