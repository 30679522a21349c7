"""Evidence may go where a record says so, and only that: the triggers look the deletion up.

On PostgreSQL the deleting is done by two functions with the rights of whoever migrates, so that the role the gateway
runs under needs no DELETE on evidence.
"""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

RECORD_MAY_GO = """
    {old}.kind NOT LIKE 'audit.%' AND EXISTS (
        SELECT 1 FROM audit_leaf l WHERE l.event_id = {old}.id AND l."index" < (
            SELECT p.past FROM audit_pruning p WHERE p.first <= l."index" ORDER BY p.first DESC LIMIT 1))
"""
"""Ranges do not overlap, so the last one that begins before the leaf is the only one that can hold it."""

PAYLOAD_MAY_GO = """
    EXISTS (
        SELECT 1 FROM audit_pruning p WHERE p.key_id = {old}.key_id AND (p.person = '' OR p.person = (
            SELECT e.person FROM audit_event e WHERE e.id = {old}.event_id)))
"""

PRUNING_IS_TOLD = """
    EXISTS (
        SELECT 1 FROM audit_event e WHERE e.id = NEW.event_id AND (
            e.kind = 'audit.pruned' AND NEW.first IS NOT NULL
            OR e.kind IN ('audit.payloads_expired', 'audit.subject_erased') AND NEW.key_id <> ''))
"""

MAY_GO = {"audit_event": RECORD_MAY_GO, "audit_payload": PAYLOAD_MAY_GO}

POSTGRESQL = """
CREATE FUNCTION {table}_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF {may_go} THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER {table}_append_only ON {table};
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
"""

POSTGRESQL_UNDO = """
DROP TRIGGER {table}_append_only ON {table};
DROP FUNCTION {table}_refuse_change();
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
"""

POSTGRESQL_PRUNING = """
CREATE FUNCTION audit_pruning_is_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT ({told}) THEN
        RAISE EXCEPTION 'audit_pruning needs its record' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_pruning_is_told BEFORE INSERT ON audit_pruning
    FOR EACH ROW EXECUTE FUNCTION audit_pruning_is_told();
CREATE TRIGGER audit_pruning_append_only BEFORE UPDATE OR DELETE ON audit_pruning
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_pruning_no_truncate BEFORE TRUNCATE ON audit_pruning
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
ALTER TABLE audit_pruning ENABLE ALWAYS TRIGGER audit_pruning_is_told;
ALTER TABLE audit_pruning ENABLE ALWAYS TRIGGER audit_pruning_append_only;
ALTER TABLE audit_pruning ENABLE ALWAYS TRIGGER audit_pruning_no_truncate;

CREATE FUNCTION audit_prune_records(from_leaf bigint, to_leaf bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH gone AS (
        DELETE FROM audit_event e USING audit_leaf l
        WHERE l."index" >= from_leaf AND l."index" < to_leaf AND e.id = l.event_id RETURNING 1
    ) SELECT count(*) FROM gone
$$;

CREATE FUNCTION audit_delete_payloads(ids uuid[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH gone AS (DELETE FROM audit_payload WHERE event_id = ANY (ids) RETURNING 1) SELECT count(*) FROM gone
$$;
"""

POSTGRESQL_PRUNING_UNDO = """
DROP FUNCTION audit_delete_payloads(uuid[]);
DROP FUNCTION audit_prune_records(bigint, bigint);
DROP FUNCTION audit_pruning_is_told() CASCADE;
DROP TRIGGER audit_pruning_append_only ON audit_pruning;
DROP TRIGGER audit_pruning_no_truncate ON audit_pruning;
"""

SQLITE = """
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {condition}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: DELETE refused'); END
"""

SQLITE_PRUNING = {
    "audit_pruning_is_told": f"""
CREATE TRIGGER audit_pruning_is_told BEFORE INSERT ON audit_pruning WHEN NOT ({PRUNING_IS_TOLD})
BEGIN SELECT RAISE(ABORT, 'audit_pruning needs its record'); END
""",
    "audit_pruning_no_insert": """
CREATE TRIGGER audit_pruning_no_insert BEFORE INSERT ON audit_pruning
WHEN EXISTS (SELECT 1 FROM audit_pruning WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'audit_pruning holds this row already'); END
""",
    "audit_pruning_no_update": """
CREATE TRIGGER audit_pruning_no_update BEFORE UPDATE ON audit_pruning
BEGIN SELECT RAISE(ABORT, 'audit_pruning is append-only: UPDATE refused'); END
""",
    "audit_pruning_no_delete": """
CREATE TRIGGER audit_pruning_no_delete BEFORE DELETE ON audit_pruning
BEGIN SELECT RAISE(ABORT, 'audit_pruning is append-only: DELETE refused'); END
""",
}


def protect(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    def run(statement: str) -> None:
        schema_editor.execute(statement, params=None)

    if schema_editor.connection.vendor == "postgresql":
        for table, may_go in MAY_GO.items():
            run(POSTGRESQL.format(table=table, may_go=may_go.format(old="OLD")))
        run(POSTGRESQL_PRUNING.format(told=PRUNING_IS_TOLD))
        return
    for table, may_go in MAY_GO.items():
        run(f"DROP TRIGGER {table}_no_delete")
        run(SQLITE.format(table=table, condition=f"WHEN NOT ({may_go.format(old='OLD')})"))
    for statement in SQLITE_PRUNING.values():
        run(statement)


def unprotect(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    def run(statement: str) -> None:
        schema_editor.execute(statement, params=None)

    if schema_editor.connection.vendor == "postgresql":
        run(POSTGRESQL_PRUNING_UNDO)
        for table in MAY_GO:
            run(POSTGRESQL_UNDO.format(table=table))
        return
    for name in SQLITE_PRUNING:
        run(f"DROP TRIGGER {name}")
    for table in MAY_GO:
        run(f"DROP TRIGGER {table}_no_delete")
        run(SQLITE.format(table=table, condition=""))


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0010_anchors"),
    ]

    operations = [
        migrations.CreateModel(
            name="Pruning",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField()),
                ("first", models.BigIntegerField(null=True)),
                ("past", models.BigIntegerField(null=True)),
                ("key_id", models.TextField(db_default="")),
                ("person", models.TextField(db_default="")),
            ],
            options={
                "db_table": "audit_pruning",
                "indexes": [
                    models.Index(fields=["first"], name="audit_pruning_by_leaf"),
                    models.Index(fields=["key_id"], name="audit_pruning_by_key"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("first__isnull", False),
                                ("key_id", ""),
                                ("past__gt", models.F("first")),
                                ("person", ""),
                            ),
                            models.Q(("first", None), ("past", None), models.Q(("key_id", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="pruning_of_records_or_of_payloads",
                    )
                ],
            },
        ),
        migrations.RunPython(protect, unprotect),
    ]
