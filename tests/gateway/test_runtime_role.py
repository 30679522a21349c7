"""Serving as a role that owns nothing: all that is done to evidence still works, and nothing else can be done to it."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import override_settings

from audit.checkpoint import Signer
from audit.models import EventRow, Leaf, SearchEntry
from audit.sequencer import Sequencer
from audit.verify import verify
from config.checks import evidence_is_out_of_reach
from gateway import offboardings
from gateway.erasing import erase_person
from gateway.keeping import empty_destroyed_keys
from gateway.runtime_role import APPEND_ONLY, CannotGrant, changeable_evidence, grant_runtime, grant_to_who_serves
from gateway.search_filling import fill
from governance.models import User
from governance.offboarding import Plan
from tests.fresh_database import fresh_database
from tests.gateway.test_group_commit import COMMITTED, decided_now, entry, payload, verdicts
from tests.gateway.test_keeping import Later

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

NOT_ALLOWED = "42501"
FORGED = """
CREATE TEMP TABLE audit_leaf AS SELECT * FROM audit_leaf;
CREATE TEMP TABLE audit_pruning AS SELECT 1::bigint AS id, 0::bigint AS first, 1000::bigint AS past, ''::text AS person,
  ''::text AS key_id;
GRANT ALL ON pg_temp.audit_leaf, pg_temp.audit_pruning TO PUBLIC;
"""


@pytest.fixture(autouse=True)
def only_postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no roles")


@pytest.fixture
def role(fresh_database: None) -> Iterator[str]:
    """A name; whatever it got is taken from it again."""
    owner, name = dict(connection.settings_dict), f"gatehouse_serving_{uuid4().hex}"
    yield name
    connection.close()
    connection.settings_dict.update(owner)
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [name])
        if cursor.fetchone()[0]:
            cursor.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
def serving(role: str) -> str:
    """Everything after this is done as that role."""
    password = "p%40 w'ord"
    with override_settings(DATABASE_OWNER_URL="set", DATABASE_URL=f"postgresql://{role}:{password}@db/gatehouse"):
        grant_to_who_serves(connection)
        grant_to_who_serves(connection)
    connection.close()
    connection.settings_dict.update(USER=role, PASSWORD="p@ w'ord")
    return role


def refused(statement: str) -> str:
    """The SQLSTATE, or nothing if it went through."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as error:
        return str(getattr(error.__cause__, "sqlstate", ""))
    return ""


@pytest.mark.usefixtures("serving")
def test_all_that_is_done_to_evidence_works_as_that_role() -> None:
    signer = Signer("gw.corp.example/audit", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    User.objects.create_superuser("owner@example.com")
    ana, ben = (User.objects.create_user(f"{name}@example.com") for name in ("ana", "ben"))
    later = Later(signer, ana, ben)
    assert fill()
    assert SearchEntry.objects.exists()
    assert erase_person(ana, reason="Request 7", by="person:olga@example.com").payloads
    empty_destroyed_keys()
    gone = offboardings.begin_offboarding(ben, plan=Plan(), by="person:owner@example.com")
    assert offboardings.follow(gone.id).state == "enforced"
    running = Sequencer(signer)
    running.advance(later.now, sign_every=timedelta(0))
    report = verify(signer.verifier)
    assert (report.problems, report.pruned) == ((), 4)
    assert verdicts(decided_now(payload=payload()), entry("call.outcome")) == [COMMITTED, COMMITTED]
    assert running.advance(later.now + timedelta(seconds=2), sign_every=timedelta(0)) >= 2


@pytest.mark.usefixtures("serving")
def test_evidence_is_neither_changed_nor_its_guards_lifted() -> None:
    assert verdicts(entry(), entry("call.outcome")) == [COMMITTED, COMMITTED]
    Sequencer(Signer("log", Ed25519PrivateKey.generate())).advance(
        EventRow.objects.latest("at").at, sign_every=timedelta(0)
    )
    ways = [
        way.format(table=table)
        for table in APPEND_ONLY
        for way in (
            "DELETE FROM {table}",
            "TRUNCATE {table}",
            "ALTER TABLE {table} DISABLE TRIGGER ALL",
            "ALTER TABLE {table} ADD COLUMN more text",
            "DROP TABLE {table} CASCADE",
            "CREATE RULE away AS ON INSERT TO {table} DO INSTEAD NOTHING",
            "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()",
        )
    ]
    ways += [
        "UPDATE audit_event SET kind = 'call.refused'",
        "UPDATE audit_payload SET sealed = ''",
        "UPDATE audit_leaf SET hash = ''",
        "UPDATE audit_checkpoint SET note = ''",
        "UPDATE audit_pruning SET person = ''",
        "UPDATE audit_anchor_receipt SET note = ''",
        "UPDATE audit_pending SET event_id = event_id",
        "TRUNCATE audit_pending",
        "DROP TRIGGER audit_event_append_only ON audit_event",
        "CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TABLE mine (id int)",
        "SET session_replication_role = replica",
        "UPDATE django_migrations SET name = ''",
    ]
    allowed = [way for way in ways if refused(way) != NOT_ALLOWED]
    assert not allowed
    assert changeable_evidence(connection) == []
    assert evidence_is_out_of_reach(None, databases=["default"]) == []


@pytest.mark.usefixtures("serving")
def test_tables_that_only_look_like_the_log_s_let_nothing_go() -> None:
    """The deletion runs with the owner's rights: it and its guards must look where the log is."""
    assert verdicts(entry(), entry("call.outcome")) == [COMMITTED, COMMITTED]
    Sequencer(Signer("log", Ed25519PrivateKey.generate())).advance(
        EventRow.objects.latest("at").at, sign_every=timedelta(0)
    )
    before, intent = EventRow.objects.count(), EventRow.objects.get(kind="call.intent")
    place = Leaf.objects.get(event_id=intent.pk).index
    with connection.cursor() as cursor:
        cursor.execute(FORGED)
    assert refused(f"SELECT audit_prune_records({place}, {place + 1})") == "23001"
    assert EventRow.objects.count() == before


def test_a_role_that_could_undo_it_is_refused(role: str) -> None:
    assert set(changeable_evidence(connection)) == set(APPEND_ONLY)
    (warning,) = evidence_is_out_of_reach(None, databases=["default"])
    assert warning.id == "gatehouse.W002"
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        (owner,) = cursor.fetchone()
    with pytest.raises(CannotGrant, match="one of their own"):
        grant_runtime(connection, owner)
    with pytest.raises(CommandError, match="There is no role"):
        call_command("grant_runtime", role)
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE ROLE {role} LOGIN IN ROLE "{owner}"')
    with pytest.raises(CommandError, match="could still change audit_anchor_receipt"):
        call_command("grant_runtime", role)
    with connection.cursor() as cursor:
        cursor.execute(f'REVOKE "{owner}" FROM {role}')
    call_command("grant_runtime", role)
