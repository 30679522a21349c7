"""The database itself refuses to change evidence, whoever asks.

PostgreSQL: row triggers (partitions inherit them) and one on TRUNCATE, ENABLE ALWAYS so that
`session_replication_role = replica` does not switch them off. SQLite: RAISE(ABORT), also on the INSERT OR
REPLACE that would delete a row without firing a delete trigger. Both surface as IntegrityError.

A pending row may go once its event has a leaf: the queue cannot lose what it holds. It is emptied all the time,
so autovacuum follows its churn and not its (tiny) size.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

APPEND_ONLY = ("audit_event", "audit_payload", "audit_leaf", "audit_checkpoint")

POSTGRESQL_FUNCTIONS = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION audit_keep_unsealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone WHERE NOT EXISTS (SELECT FROM audit_leaf WHERE audit_leaf.event_id = gone.event_id)) THEN
        RAISE EXCEPTION 'audit_pending keeps an event until it has a leaf' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
"""

POSTGRESQL_APPEND_ONLY = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_truncate;
"""

POSTGRESQL_PENDING = """
CREATE TRIGGER audit_pending_no_change BEFORE UPDATE ON audit_pending
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_pending_no_truncate BEFORE TRUNCATE ON audit_pending
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_pending_keep_unsealed AFTER DELETE ON audit_pending
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION audit_keep_unsealed();
ALTER TABLE audit_pending ENABLE ALWAYS TRIGGER audit_pending_no_change;
ALTER TABLE audit_pending ENABLE ALWAYS TRIGGER audit_pending_no_truncate;
ALTER TABLE audit_pending ENABLE ALWAYS TRIGGER audit_pending_keep_unsealed;
ALTER TABLE audit_pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
"""

POSTGRESQL_UNDO = """
DROP FUNCTION audit_refuse_change() CASCADE;
DROP FUNCTION audit_keep_unsealed() CASCADE;
ALTER TABLE audit_pending RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
"""

SQLITE_REFUSAL = """
CREATE TRIGGER {name} BEFORE {verb} ON {table} {condition}
BEGIN SELECT RAISE(ABORT, '{message}'); END
"""

SQLITE_REPLACES = "WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"

SQLITE_SAME_ROW = {
    "audit_event": "id = NEW.id OR (call_id = NEW.call_id AND kind = NEW.kind)",
    "audit_payload": "event_id = NEW.event_id",
    "audit_leaf": '"index" = NEW."index" OR event_id = NEW.event_id',
    "audit_checkpoint": "size = NEW.size",
    "audit_pending": "id = NEW.id OR event_id = NEW.event_id",
}


def _sqlite_triggers() -> dict[str, str]:
    """Trigger name -> statement that creates it."""
    refusals = [
        (table, verb, "", f"{table} is append-only: {verb} refused")
        for table in APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    ]
    refusals += [
        (
            table,
            "INSERT",
            SQLITE_REPLACES.format(table=table, same=same),
            f"{table} holds this row already",
        )
        for table, same in SQLITE_SAME_ROW.items()
    ]
    refusals += [
        ("audit_pending", "UPDATE", "", "audit_pending: UPDATE refused"),
        (
            "audit_pending",
            "DELETE",
            "WHEN NOT EXISTS (SELECT 1 FROM audit_leaf WHERE audit_leaf.event_id = OLD.event_id)",
            "audit_pending keeps an event until it has a leaf",
        ),
    ]
    return {
        name: SQLITE_REFUSAL.format(name=name, verb=verb, table=table, condition=condition, message=message)
        for table, verb, condition, message in refusals
        for name in [f"{table}_no_{verb.lower()}"]
    }


def _postgresql_statements() -> list[str]:
    return [
        POSTGRESQL_FUNCTIONS,
        *(POSTGRESQL_APPEND_ONLY.format(table=table) for table in APPEND_ONLY),
        POSTGRESQL_PENDING,
    ]


def protect(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in _postgresql_statements() if postgresql else _sqlite_triggers().values():
        schema_editor.execute(statement, params=None)


def unprotect(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL_UNDO, params=None)
        return
    for name in _sqlite_triggers():
        schema_editor.execute(f"DROP TRIGGER {name}", params=None)


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_evidence")]

    operations = [migrations.RunPython(protect, unprotect)]
