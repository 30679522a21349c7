"""The database triggers that make every governed write move the epoch, through whatever door it came.

They are (re)installed after each migration rather than by one, because Django rebuilds tables on SQLite and a rebuilt
table has lost its triggers.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from governance.fence.watched import EVERYBODY, WATCHED, Watched

OPERATIONS = ("insert", "update", "delete")


def install(connection: Any) -> None:
    """Creates what is missing and replaces what differs; leaves the rest alone, so that a live system is not locked.

    Tables that are not there (after migrating back) are passed over; a gateway refuses to start without them.
    """
    present, tables = installed(connection), set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for name, table, statements in wanted(connection.vendor):
            fingerprint = _fingerprint(statements)
            if table in tables and present.get(name) != fingerprint:
                cursor.execute(_drop(connection.vendor, name, table))
                for statement in statements:
                    cursor.execute(statement)
                if connection.vendor == "postgresql":
                    cursor.execute(f'COMMENT ON TRIGGER "{name}" ON "{table}" IS \'{fingerprint}\'')


def missing(connection: Any) -> list[str]:
    """Names of triggers that are not there or not as this version wants them."""
    present = installed(connection)
    return [name for name, _, statements in wanted(connection.vendor) if present.get(name) != _fingerprint(statements)]


def wanted(vendor: str) -> Iterator[tuple[str, str, list[str]]]:
    """(trigger name, table, statements that create it) for all watched tables."""
    build = _postgresql if vendor == "postgresql" else _sqlite
    for watched in WATCHED:
        yield from build(watched)


def installed(connection: Any) -> dict[str, str]:
    """Trigger name -> fingerprint of the statements that made it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname, obj_description(oid, 'pg_trigger') FROM pg_trigger"
                " WHERE tgname LIKE 'governed\\_%' AND tgenabled = 'A'"
            )
            return {name: note or "" for name, note in cursor.fetchall()}
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'governed\\_%' ESCAPE '\\'"
        )
        return {name: _fingerprint([sql]) for name, sql in cursor.fetchall()}


def _fingerprint(statements: list[str]) -> str:
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


def _drop(vendor: str, name: str, table: str) -> str:
    return f'DROP TRIGGER IF EXISTS "{name}"' + (f' ON "{table}"' if vendor == "postgresql" else "")


def _postgresql(watched: Watched) -> Iterator[tuple[str, str, list[str]]]:
    table = watched.table
    arguments = ", ".join(
        f"'{value}'" for value in (watched.kind, watched.column, _listed(watched.sealed), _listed(watched.quiet))
    )
    referencing = {
        "insert": "REFERENCING NEW TABLE AS new_rows",
        "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
        "delete": "REFERENCING OLD TABLE AS old_rows",
        "truncate": "",
    }
    for operation, tables in referencing.items():
        name = f"governed_{operation}_{table}"[:63]
        when = "BEFORE" if operation == "truncate" else "AFTER"
        yield (
            name,
            table,
            [
                f'CREATE TRIGGER "{name}" {when} {operation.upper()} ON "{table}" {tables}'
                f" FOR EACH STATEMENT EXECUTE FUNCTION gatehouse_note_change({arguments})",
                f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{name}"',
            ],
        )


def _listed(columns: frozenset[str]) -> str:
    return "{" + ",".join(sorted(columns)) + "}"


def _sqlite(watched: Watched) -> Iterator[tuple[str, str, list[str]]]:
    table = watched.table
    for operation in OPERATIONS:
        name = f"governed_{operation}_{table}"
        before = "NULL" if operation == "insert" else _json(watched, "OLD")
        after = "NULL" if operation == "delete" else _json(watched, "NEW")
        condition = f"WHEN {_differs(watched)} " if operation == "update" else ""
        yield (
            name,
            table,
            [
                f'CREATE TRIGGER "{name}" AFTER {operation.upper()} ON "{table}" {condition}BEGIN'  # noqa: S608
                " UPDATE governance_epoch SET number = number + 1;"
                " INSERT INTO governance_advance (epoch, txid, at)"
                " SELECT number, number, gatehouse_now() FROM governance_epoch;"
                " INSERT INTO governance_change"
                " (txid, kind, object_id, relation, operation, before, after, actor, at)"
                f" SELECT number, '{watched.kind}', touched.id, '{table}', '{operation}', {before}, {after},"
                " gatehouse_actor(), gatehouse_now()"
                f" FROM governance_epoch, ({_touched(watched, operation)}) touched; END"
            ],
        )


def _touched(watched: Watched, operation: str) -> str:
    """A row that moves from one container to another touches both."""
    if watched.column == EVERYBODY:
        return f"SELECT '{EVERYBODY}' AS id"
    sides = {"insert": ("NEW",), "update": ("OLD", "NEW"), "delete": ("OLD",)}[operation]
    return " UNION ".join(f'SELECT {side}."{watched.column}" AS id' for side in sides)


def _json(watched: Watched, row: str) -> str:
    pairs = ", ".join(f"'{column}', {row}.\"{column}\"" for column in watched.columns if column not in watched.sealed)
    return f"json_object({pairs})"


def _differs(watched: Watched) -> str:
    return " OR ".join(
        f'OLD."{column}" IS NOT NEW."{column}"' for column in watched.columns if column not in watched.quiet
    )
