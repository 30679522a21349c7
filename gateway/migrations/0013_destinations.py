"""What runs know of destinations, kept and compared in the group commit. On SQLite there is no function.

Processes of the release before still run while this one is brought in: what they send has none of it, and means the same.
"""

from pathlib import Path

from django.db import migrations, models

from gateway import commit

FOLDER = Path(commit.__file__).parent
UNDO = """
DROP FUNCTION gatehouse_add_mentions(jsonb);
DROP FUNCTION gatehouse_reaches(jsonb);
"""
BEFORE = ("gatehouse_is_labelled", "gatehouse_add_labels")


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.connection.cursor().execute((FOLDER / "postgresql_destinations.sql").read_text())


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        claims = (FOLDER / "postgresql_claims.sql").read_text()
        for name in BEFORE:
            schema_editor.connection.cursor().execute(_as_it_was(claims, name))
        schema_editor.connection.cursor().execute(UNDO)


def _as_it_was(claims, name):
    start = claims.index(f"CREATE FUNCTION {name}(")
    end = min(at for each in ("END $$;", "\n$$;") if (at := claims.find(each, start)) > 0)
    return claims[start : claims.index("$$;", end) + 3].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0012_notices_to_attest")]

    operations = [
        migrations.CreateModel(
            name="RunDestination",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("agent_id", models.UUIDField()),
                ("session", models.CharField(max_length=64)),
                ("digest", models.CharField(max_length=32)),
                ("is_trusted", models.BooleanField()),
                ("at", models.DateTimeField(db_index=True)),
            ],
            options={
                "indexes": [models.Index(fields=["agent_id", "digest"], name="run_destination_of_agent")],
                "constraints": [
                    models.UniqueConstraint(fields=("agent_id", "session", "digest"), name="run_destination_once")
                ],
            },
        ),
        migrations.RunPython(forwards, backwards),
    ]
