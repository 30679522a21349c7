"""The database role that the parts serve as on PostgreSQL: it adds evidence and can neither change it nor lift guards.

Whoever migrates owns the tables and the functions, and grants this role what it needs. So who takes over a serving
part, with its whole DATABASE_URL, still cannot update, delete or truncate evidence, nor disable a trigger.
"""

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, transaction
from psycopg import sql

APPEND_ONLY: Final = (
    "audit_event",
    "audit_payload",
    "audit_leaf",
    "audit_checkpoint",
    "audit_pruning",
    "audit_anchor_receipt",
)
QUEUES: Final = ("audit_pending",)
"""Rows go once they have a leaf; a trigger looks."""
READ_ONLY: Final = ("django_migrations",)

GRANTS: Final = """
GRANT USAGE ON SCHEMA {schema} TO {role};
REVOKE CREATE ON SCHEMA {schema} FROM {role};
REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT INSERT ON {written} TO {role};
GRANT UPDATE ON {changed} TO {role};
GRANT DELETE ON {emptied} TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role};
"""
"""By default a table of a later version is only added to; the rest is granted when its migration is through."""

TABLES: Final = """
SELECT relname::text FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') ORDER BY relname
"""
OWNED: Final = """
SELECT count(*) FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%s)
  AND NOT pg_has_role(current_user, relowner, 'USAGE')
"""
TOO_MUCH: Final = """
SELECT coalesce(array_agg(relname::text ORDER BY relname), '{}') FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%(tables)s)
  AND (pg_has_role(%(role)s, relowner, 'MEMBER') OR has_table_privilege(%(role)s, oid, 'UPDATE, DELETE, TRUNCATE'))
"""
GUARDS: Final = """
SELECT oid::regprocedure::text, prosecdef, current_schema()::text FROM pg_proc
WHERE pronamespace = current_schema()::regnamespace AND (prosecdef OR prorettype = 'trigger'::regtype)
  AND pg_has_role(current_user, proowner, 'USAGE')
"""


class CannotGrant(CommandError):
    """The message says why and what to do."""


def grant_runtime(connection: Any, role: str, *, password: str = "") -> None:
    """Everything that serving takes and no more, again after each migration. With a password the role is made if it is
    not there. Raises CannotGrant if the role could still change evidence: because of what else it is or may become."""
    with connection.cursor() as cursor:
        cursor.execute(OWNED, [list(APPEND_ONLY)])
        if cursor.fetchone()[0]:
            raise CannotGrant("Only the role that owns the tables can grant: connect as the one that migrates.")
        _make(cursor, role, password)
        _pin(cursor)
        cursor.execute(TABLES)
        tables = [name for (name,) in cursor.fetchall()]
        fixed = {*APPEND_ONLY, *READ_ONLY}
        named = {
            "written": [table for table in tables if table not in READ_ONLY],
            "changed": [table for table in tables if table not in fixed and table not in QUEUES],
            "emptied": [table for table in tables if table not in fixed],
        }
        lists = {name: sql.SQL(", ").join(map(sql.Identifier, some)) for name, some in named.items()}
        cursor.execute("SELECT current_schema()::text")
        schema = sql.Identifier(cursor.fetchone()[0])
        cursor.execute(_text(cursor, sql.SQL(GRANTS).format(schema=schema, role=sql.Identifier(role), **lists)))
        if held := changeable_evidence(connection, role):
            raise CannotGrant(
                f"The role {role} could still change {', '.join(held)}: it is a superuser, or it owns them, or a role"
                " that it belongs to may. Make one to serve as: CREATE ROLE gatehouse_runtime LOGIN PASSWORD '...'."
            )


def grant_to_who_serves(connection: Any) -> None:
    """After a migration as the owner (DATABASE_OWNER_URL): to the role of DATABASE_URL, which is made if need be."""
    if not settings.DATABASE_OWNER_URL or connection.alias != DEFAULT_DB_ALIAS:
        return
    serving = urlsplit(settings.DATABASE_URL)
    with transaction.atomic(using=connection.alias):
        grant_runtime(connection, unquote(serving.username or ""), password=unquote(serving.password or ""))


def changeable_evidence(connection: Any, role: str = "") -> list[str]:
    """Tables of evidence that the role, or the one that is connected, could change or take the guards from."""
    with connection.cursor() as cursor:
        if not role:
            cursor.execute("SELECT current_user::text")
            (role,) = cursor.fetchone()
        cursor.execute(TOO_MUCH, {"tables": list(APPEND_ONLY), "role": role})
        return list(cursor.fetchone()[0])


def _make(cursor: Any, role: str, password: str) -> None:
    cursor.execute("SELECT current_user = %s, EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role, role])
    is_ours, is_there = cursor.fetchone()
    if is_ours:
        raise CannotGrant(f"{role} is the role that migrates; the parts need one of their own.")
    if is_there:
        return
    if not password:
        raise CannotGrant(f"There is no role {role}: CREATE ROLE {role} LOGIN PASSWORD '...'.")
    # Hashed here, so that no log of the server has it.
    hashed = cursor.connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}")
    cursor.execute(_text(cursor, statement.format(sql.Identifier(role), sql.Literal(hashed))))


def _pin(cursor: Any) -> None:
    """The guards look up tables of this schema, never temporary ones that a session made and called the same; and
    nobody but whom we grant it calls those that run with the owner's rights."""
    cursor.execute(GUARDS)
    for function, runs_as_owner, schema in cursor.fetchall():
        place = sql.Identifier(schema)
        pinned = sql.SQL("ALTER FUNCTION {} SET search_path = {}, pg_temp").format(sql.SQL(function), place)
        cursor.execute(_text(cursor, pinned))
        if runs_as_owner:
            cursor.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")


def _text(cursor: Any, statement: sql.Composed) -> str:
    return statement.as_string(cursor.connection)
