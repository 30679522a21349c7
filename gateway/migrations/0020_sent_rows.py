"""One row for the pieces that several records of a group send. On SQLite there is no function.

Processes of the release before still run while this one is brought in: each of their records has a row of its own.
"""

from pathlib import Path

from django.db import migrations

from gateway import commit

FOLDER = Path(commit.__file__).parent
KEEP_PIECES = "CREATE FUNCTION gatehouse_keep_pieces"


def forwards(apps, schema_editor):
    _execute(schema_editor, (FOLDER / "postgresql_sent_rows.sql").read_text())


def backwards(apps, schema_editor):
    before = (FOLDER / "postgresql_pieces.sql").read_text()
    start = before.index(KEEP_PIECES)
    until = before.index("END $$;", start) + len("END $$;")
    _execute(schema_editor, before[start:until].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def _execute(schema_editor, sql):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute(sql)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0019_sent_to")]

    operations = [migrations.RunPython(forwards, backwards)]
