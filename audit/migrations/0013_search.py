"""Words, labels and findings as keyed fingerprints: GIN on PostgreSQL, a table kept by triggers on SQLite."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import audit.fingerprints

POSTGRESQL = ("CREATE INDEX audit_search_by_fingerprint ON audit_search_entry USING gin (fingerprints)",)

SQLITE = (
    """
CREATE TABLE audit_search_word (
    fingerprint INTEGER NOT NULL, event_id CHAR(32) NOT NULL, PRIMARY KEY (fingerprint, event_id)
) WITHOUT ROWID
""",
    """
CREATE TRIGGER audit_search_entry_words AFTER INSERT ON audit_search_entry
BEGIN INSERT OR IGNORE INTO audit_search_word SELECT value, NEW.event_id FROM json_each(NEW.fingerprints); END
""",
    """
CREATE TRIGGER audit_search_entry_forget AFTER DELETE ON audit_search_entry
BEGIN
    DELETE FROM audit_search_word
    WHERE event_id = OLD.event_id AND fingerprint IN (SELECT value FROM json_each(OLD.fingerprints));
END
""",
)


def make(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def unmake(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Indexes and triggers go with their table."""
    if schema_editor.connection.vendor != "postgresql":
        for what in (
            "TRIGGER audit_search_entry_words",
            "TRIGGER audit_search_entry_forget",
            "TABLE audit_search_word",
        ):
            schema_editor.execute(f"DROP {what}", params=None)


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0012_findings"),
    ]

    operations = [
        migrations.CreateModel(
            name="SearchCursor",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("next_leaf", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "audit_search_cursor",
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_search_cursor")],
            },
        ),
        migrations.CreateModel(
            name="SearchEntry",
            fields=[
                ("event_id", models.UUIDField(primary_key=True, serialize=False)),
                ("key_id", models.TextField(db_default="")),
                ("fingerprints", audit.fingerprints.Fingerprints()),
            ],
            options={
                "verbose_name_plural": "search entries",
                "db_table": "audit_search_entry",
                "indexes": [models.Index(fields=["key_id"], name="audit_search_by_key")],
            },
        ),
        migrations.RunPython(make, unmake),
    ]
