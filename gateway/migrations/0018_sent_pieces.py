"""What calls sent that may be pieces of something, kept in the group commit. On SQLite there is no function.

Processes of the release before still run while this one is brought in: what they send has none of it, and means the same.
"""

from pathlib import Path

from django.db import migrations, models

from gateway import commit
from governance.fence import FENCE_KEY

FOLDER = Path(commit.__file__).parent
UNDO = """
DROP FUNCTION gatehouse_keep_pieces(text[], text);
DROP FUNCTION gatehouse_lock_pieces(text[]);
"""


def forwards(apps, schema_editor):
    _execute(schema_editor, (FOLDER / "postgresql_pieces.sql").read_text())


def backwards(apps, schema_editor):
    before = (FOLDER / "postgresql_sessions.sql").read_text()
    _execute(schema_editor, before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    _execute(schema_editor, UNDO)


def _execute(schema_editor, sql):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute(sql.replace("{fence_key}", str(FENCE_KEY)))


class Migration(migrations.Migration):
    dependencies = [("gateway", "0017_owned_since")]

    operations = [
        migrations.CreateModel(
            name="SentPiece",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("agent_id", models.UUIDField()),
                ("person_id", models.UUIDField()),
                ("process_id", models.UUIDField()),
                ("sealed", models.BinaryField()),
                ("at", models.DateTimeField(db_index=True)),
            ],
            options={"indexes": [models.Index(fields=["agent_id", "id"], name="sent_piece_of_agent")]},
        ),
        migrations.RunPython(forwards, backwards),
    ]
