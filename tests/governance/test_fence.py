"""Every governed write moves the epoch with its commit and is told in evidence, through whatever door it came."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, models, transaction
from django.utils import timezone

from gateway.runtime import connection_parameters
from governance.fence import FENCE_KEY, triggers
from governance.fence.actor import governed_change
from governance.fence.log import trim_change_log
from governance.fence.watched import EVERYBODY, WATCHED, Watched
from governance.models import (
    Advance,
    Agent,
    AgentBaseline,
    AgentCredential,
    Anchor,
    Authorization,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Canary,
    Change,
    ChatIdentity,
    Connector,
    DataClass,
    DetectionOff,
    Directory,
    DirectoryToken,
    Epoch,
    Erasure,
    ExternalDetector,
    Freeze,
    Grant,
    GroupMapping,
    LegalHold,
    NotificationChannel,
    OAuthClient,
    Offboarding,
    OnCallShift,
    Organization,
    PatternException,
    PersonalToken,
    Policy,
    PolicyVersion,
    RateLimit,
    Reaction,
    RetentionClass,
    Role,
    RotationTask,
    Rule,
    Secret,
    SecretVersion,
    Sink,
    StaffIdentity,
    Team,
    TokenRevocation,
    Tool,
    ToolDefinition,
    TrustedIssuer,
    UpstreamAuthServer,
    UpstreamClient,
    UpstreamGrant,
    User,
)
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

IDS = [watched.table for watched in WATCHED]


def epoch() -> int:
    return Epoch.objects.get().number


def moves(act: Callable[[], object]) -> int:
    """How often the epoch was moved."""
    before = epoch()
    act()
    return epoch() - before


def on_postgresql() -> bool:
    return connection.vendor == "postgresql"


def told() -> list[dict[str, Any]]:
    """Details of the evidence of governed changes, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT header FROM audit_event WHERE kind = 'governance.changed'")
        details = [json.loads(bytes(header))["details"] for (header,) in cursor.fetchall()]
    return sorted(details, key=lambda detail: int(detail["change"]))


def humans(person: User, team: Team, agent: Agent, bundle: Bundle) -> tuple[models.Model, ...]:
    """Who is asked and told, and what ends by itself."""
    times = {"starts_at": timezone.now(), "ends_at": timezone.now() + timedelta(hours=1)}
    channel = NotificationChannel.objects.create(name="channel", kind="slack")
    channel.teams.add(team)
    return (
        channel,
        ChatIdentity.objects.create(channel=channel, workspace="T0", account="U0", person=person),
        OnCallShift.objects.create(team=team, person=person, **times),
        Grant.objects.create(kind="elevation", agent=agent, bundle=bundle, created_by="test", **times),
        Reaction.objects.create(name="reaction", trigger="drift", action="quarantine_tool"),
        Anchor.objects.create(name="anchor", kind="rfc3161", url="https://tsa.example", trust="PEM"),
        RotationTask.objects.create(
            subject_kind="secret", subject_id=agent.pk, reason="asked", created_at=timezone.now(), due_at=timezone.now()
        ),
        StaffIdentity.objects.create(person=person, issuer="https://id.example", subject="1", created_by="test"),
        Sink.objects.create(name="sink", kind="webhook", settings={"url": "https://soc.example"}),
        DataClass.objects.create(name="patients", words=["SEALED"]),
        ExternalDetector.objects.create(name="presidio", kind="presidio", settings={"url": "http://presidio"}),
        AgentBaseline.objects.create(agent=agent, since=timezone.now(), learns_until=timezone.now()),
        Canary.objects.create(
            name="bait",
            kind="email",
            key_id="k",
            wrapped_key=b"SEALED",
            ciphertext=b"SEALED",
            created_at=timezone.now(),
        ),
    )


def directory(team: Team) -> tuple[models.Model, ...]:
    """Where people and groups come from."""
    found = Directory.objects.create(name="directory")
    mapping = GroupMapping.objects.create(directory=found, group_name="leads")
    mapping.teams.add(team)
    return (
        found,
        mapping,
        DirectoryToken.objects.create(directory=found, digest=b"SEALED", hint="h", created_by="test"),
    )


def let_in(person: User, agent: Agent) -> tuple[models.Model, ...]:
    """A client, what it was let in for, and a token that was ended before its time."""
    client = OAuthClient.objects.create(client_id="client", name="Editor", secret_digest=b"SEALED", created_by="test")
    hour = timezone.now() + timedelta(hours=1)
    revoked = {"revoked_at": timezone.now(), "revoked_by": "test"}
    return (
        client,
        Authorization.objects.create(
            client=client, agent=agent, person=person, resource="r", created_by="test", expires_at=hour
        ),
        TokenRevocation.objects.create(token_id=uuid4(), digest=b"SEALED", token_expires_at=hour, **revoked),
    )


def kept(person: User) -> tuple[models.Model, ...]:
    """How long evidence is kept, what is held, who was erased."""
    now = timezone.now()
    told = {"email": person.email, "reason": "asked", "keys": 1, "payloads": 1, "by": "test", "at": now}
    return (
        RetentionClass.objects.create(name="short", payload_days=30),
        LegalHold.objects.create(person=person, reason="litigation", set_by="test", set_at=now),
        DetectionOff.objects.create(rule="long_sk_key", reason="noise", set_by="test", set_at=now),
        PatternException.objects.create(
            name="exception",
            rule="card_number",
            path="*",
            connector=Connector.objects.get(),
            reason="test cards",
            created_at=now,
            created_by="test",
            ends_at=now + timedelta(hours=1),
        ),
        Erasure.objects.create(subject="person:1", **told),
    )


@pytest.fixture
def world() -> dict[type[models.Model], models.Model]:
    """One row of everything that is watched."""
    owner = User.objects.create_user("ana@example.com")
    agent = Agent.objects.create(name="triage-bot", owner=owner)
    secret = Secret.objects.create(name="token", kind="bearer")
    version = SecretVersion.objects.create(
        secret=secret, number=1, key_id="k", wrapped_key=b"SEALED", ciphertext=b"SEALED", created_at=timezone.now()
    )
    connector = Connector.objects.create(name="helpdesk", secret=secret)
    tool = Tool.objects.create(connector=connector, name="ticket_get")
    definition = ToolDefinition.objects.create(tool=tool, digest="d", body=b"SEALED", status="pinned")
    policy = Policy.objects.create(name="policy")
    policy_version = PolicyVersion.objects.create(policy=policy, number=1, created_by="test")
    rule = Rule.objects.create(version=policy_version, position=1, effect="deny")
    bundle = Bundle.objects.create(name="support")
    bundle_version = BundleVersion.objects.create(bundle=bundle, number=1, created_by="test")
    bundle_tool = BundleTool.objects.create(version=bundle_version, connector=connector)
    selection = BundleSelection.objects.create(version=bundle_version, connector=connector, kind="prompt")
    limit = RateLimit.objects.create(name="limit", max_requests=1)
    issuer = TrustedIssuer.objects.create(name="idp", kind="directory", issuer="https://idp.example.com")
    role = Role.objects.create(name="role")
    team = Team.objects.create(name="team")
    organization = Organization.objects.create()
    key = AgentCredential.objects.create(agent=agent, digest=b"SEALED", hint="h", created_by="test")
    freeze = Freeze.objects.create(agent=agent, created_by="test")
    token = PersonalToken.objects.create(person=owner, name="t", digest=b"SEALED", hint="h", created_by="test")
    ending = Offboarding.objects.create(person=owner, due_at=timezone.now(), created_by="test")
    owner.teams.add(team)
    organization.policies.add(policy)
    team.policies.add(policy)
    bundle_version.policies.add(policy)
    bundle_version.parents.add(bundle)
    bundle_version.staged_agents.add(agent)
    role.bundles.add(bundle)
    role.agents.add(agent)
    role.teams.add(team)
    role.people.add(owner)
    rows = (owner, agent, secret, version, connector, tool, definition, policy, policy_version, rule, bundle)
    rows += (bundle_version, bundle_tool, role, team, organization, key, freeze, token, ending, selection, limit)
    rows += humans(owner, team, agent, bundle) + directory(team) + (issuer,) + accounts(owner, connector)
    rows += let_in(owner, agent) + kept(owner)
    found: dict[type[models.Model], models.Model] = {type(row): row for row in rows}
    return found | {w.model: w.model._base_manager.get() for w in WATCHED if w.model not in found}


def accounts(owner: User, connector: Connector) -> tuple[models.Model, ...]:
    """What connects a person to an upstream."""
    now, sealed = timezone.now(), {"key_id": "k", "wrapped_key": b"SEALED", "ciphertext": b"SEALED"}
    server = UpstreamAuthServer.objects.create(issuer="https://as.example", fetched_at=now)
    client = UpstreamClient.objects.create(
        connector=connector, server=server, source="document", client_id="c", resource="r", created_at=now, **sealed
    )
    grant = UpstreamGrant.objects.create(
        connector=connector, client=client, person=owner, resource="r", created_at=now, **sealed
    )
    return server, client, grant


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="team")


# -- each table


@pytest.mark.parametrize("watched", WATCHED, ids=IDS)
def test_each_operation_on_each_watched_table_moves_the_epoch_and_is_told(
    watched: Watched, world: dict[type[models.Model], models.Model]
) -> None:
    """Foreign keys are off: this is a write past all of Django, and on PostgreSQL past ordinary triggers, too."""
    row = world[watched.model]
    values = {field.attname: getattr(row, field.attname) for field in watched.model._meta.local_concrete_fields}
    touched = EVERYBODY if watched.column == EVERYBODY else str(values[watched.column]).replace("-", "")
    manager = watched.model._base_manager
    rows = manager.filter(pk=row.pk)
    acts: dict[str, Callable[[], object]] = {
        "update": lambda: rows.update(**one_change(watched, values)),
        "delete": lambda: rows._raw_delete(rows.db),
        "insert": lambda: manager.bulk_create([watched.model(**values)]),
    }
    execute("SET session_replication_role = replica" if on_postgresql() else "PRAGMA foreign_keys = OFF")
    for operation, act in acts.items():
        assert moves(act) == 1, operation
        change = Change.objects.latest("id")
        assert (change.relation, change.operation) == (watched.table, operation)
        assert (change.kind, change.object_id) == (watched.kind, touched)
        assert told()[-1]["change"] == change.id
    assert "SEALED" not in json.dumps(told())
    assert b"SEALED".hex() not in json.dumps(told())
    assert not Change.objects.filter(after__contains="SEALED").exists()


def one_change(watched: Watched, values: dict[str, Any]) -> dict[str, Any]:
    """A new value for one column that is neither key, nor container, nor quiet."""
    kept = {"id", watched.column, *watched.quiet, *watched.sealed}
    for field in watched.model._meta.local_concrete_fields:
        if field.column in kept or field.choices:
            continue
        if field.is_relation:
            return {field.attname: uuid4()}
        if isinstance(field, models.CharField | models.TextField):
            return {field.attname: f"{values[field.attname]}x"}
    for field in watched.model._meta.local_concrete_fields:
        if field.column not in kept and isinstance(field, models.PositiveIntegerField):
            return {field.attname: values[field.attname] + 1}
    raise AssertionError(f"{watched.table} has no such column")


def execute(sql: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


@pytest.mark.parametrize("watched", WATCHED, ids=IDS)
def test_truncating_any_watched_table_touches_everybody(
    watched: Watched, world: dict[type[models.Model], models.Model]
) -> None:
    if not on_postgresql():
        pytest.skip("SQLite has no TRUNCATE")
    assert moves(lambda: execute(f"TRUNCATE {watched.table} CASCADE")) == 1
    assert Change.objects.filter(relation=watched.table, operation="truncate", object_id=EVERYBODY).exists()


def test_no_trigger_is_missing_and_a_lost_one_is_noticed() -> None:
    assert triggers.missing(connection) == []
    name = "governed_update_governance_agent"
    execute(f"DROP TRIGGER {name}" + (" ON governance_agent" if on_postgresql() else ""))
    assert triggers.missing(connection) == [name]
    triggers.install(connection)
    assert triggers.missing(connection) == []


def test_a_disabled_trigger_is_noticed() -> None:
    if not on_postgresql():
        pytest.skip("SQLite cannot disable a trigger")
    execute("ALTER TABLE governance_agent DISABLE TRIGGER governed_update_governance_agent")
    assert triggers.missing(connection) == ["governed_update_governance_agent"]


# -- each door


def bulk() -> None:
    with transaction.atomic():
        Team.objects.bulk_create(Team(name=f"team-{n}") for n in range(50))


def savepoints() -> None:
    with transaction.atomic():
        Team.objects.create(name="kept")
        with transaction.atomic():
            Team.objects.create(name="kept-too")


def after_a_lost_savepoint() -> None:
    with transaction.atomic():
        lose_savepoint()
        Team.objects.create(name="kept")


def lose_savepoint() -> None:
    with transaction.atomic():
        Team.objects.create(name="lost")
        transaction.set_rollback(True)


DOORS = {
    "save": lambda: Team.objects.create(name="new"),
    "update": lambda: Team.objects.update(title="x"),
    "raw SQL": lambda: execute("UPDATE governance_team SET title = 'x'"),
    "bulk": bulk,
    "savepoints": savepoints,
    "after a lost savepoint": after_a_lost_savepoint,
    "delete": lambda: Team.objects.all().delete(),
}


@pytest.mark.parametrize("door", DOORS)
def test_each_door_moves_the_epoch(door: str, team: Team) -> None:
    """Once a transaction on PostgreSQL; on SQLite, whose only writer nobody can overtake, once a row."""
    moved = moves(DOORS[door])
    rows = {"bulk": 50, "savepoints": 2}
    assert moved == (1 if on_postgresql() else rows.get(door, 1))


def rolled_back() -> None:
    with transaction.atomic():
        lose_savepoint()


def quiet() -> None:
    User.objects.update(last_login=timezone.now())
    Connector.objects.update(last_error="down", last_seen_at=timezone.now(), protocol_version="x")


def dangling() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Agent.objects.create(name="orphan", owner_id=uuid4())


NO_DOORS = {
    "rolled back": lose_savepoint,
    "savepoint rolled back": rolled_back,
    "nothing written": lambda: Team.objects.filter(name="nobody").update(title="x"),
    "the same value": lambda: Team.objects.update(title=""),
    "quiet columns": quiet,
    "dangling foreign key": dangling,
    "reading": lambda: list(Team.objects.all()),
}


@pytest.mark.parametrize("door", NO_DOORS)
def test_what_changes_nothing_moves_nothing(door: str, team: Team) -> None:
    User.objects.create_user("ana@example.com")
    Connector.objects.create(name="helpdesk")
    evidence = len(told())
    assert moves(NO_DOORS[door]) == 0
    assert len(told()) == evidence


def test_a_quiet_column_beside_a_loud_one_counts() -> None:
    Connector.objects.create(name="helpdesk")
    assert moves(lambda: Connector.objects.update(last_error="down", title="Helpdesk")) == 1


def test_a_row_that_moves_between_containers_touches_both() -> None:
    """Else the agent who lost the role could still call on it."""
    owner = User.objects.create_user("ana@example.com")
    loser, winner = (Agent.objects.create(name=name, owner=owner) for name in ("loser", "winner"))
    role = Role.objects.create(name="role")
    role.agents.add(loser)
    newest = Change.objects.latest("id").id
    Role.agents.through.objects.update(agent_id=winner.id)
    touched = Change.objects.filter(id__gt=newest).values_list("kind", "object_id")
    assert set(touched) == {("agent", loser.id.hex), ("agent", winner.id.hex)}


# -- who


def test_the_actor_is_recorded_and_ends_with_the_act(team: Team) -> None:
    with governed_change(by="person:ana@example.com"):
        Team.objects.update(title="hers")
    Team.objects.update(title="whose?")
    hers, nobodys = Change.objects.order_by("id").values_list("actor", flat=True).filter(operation="update")
    assert hers == "person:ana@example.com"
    assert nobodys.startswith(("process:", "database:"))


def test_evidence_says_what_was_and_what_is(team: Team) -> None:
    with governed_change(by="person:ana@example.com"):
        Team.objects.update(title='new\u2028"quoted"')
    details = told()[-1]
    assert (details["before"]["title"], details["after"]["title"]) == ("", 'new\u2028"quoted"')
    assert (details["kind"], details["object_id"]) == ("team", team.id.hex)


# -- the last act


def test_the_last_act_comes_after_every_deferred_check(team: Team) -> None:
    """PostgreSQL: whatever else waits for COMMIT has run when the fence is taken."""
    if not on_postgresql():
        pytest.skip("SQLite has no deferred triggers")
    execute("CREATE TABLE witness (id int, epoch bigint)")
    execute(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE witness SET epoch = (SELECT number FROM governance_epoch)"
        " WHERE witness.id = NEW.id AND epoch IS NULL; RETURN NULL; END $$"
    )
    execute(
        "CREATE CONSTRAINT TRIGGER look AFTER INSERT ON witness DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION look()"
    )
    before = epoch()
    with transaction.atomic():
        execute("INSERT INTO witness (id) VALUES (1)")
        Team.objects.update(title="x")
        execute("INSERT INTO witness (id) VALUES (2)")
        assert epoch() == before
    with connection.cursor() as cursor:
        cursor.execute("SELECT epoch FROM witness ORDER BY id")
        assert cursor.fetchall() == [(before,), (before,)]
    assert epoch() == before + 1


def test_an_open_transaction_does_not_hold_the_fence(team: Team) -> None:
    if not on_postgresql():
        pytest.skip("SQLite has one writer")
    with transaction.atomic():
        Team.objects.update(title="x")
        with psycopg.connect(**connection_parameters(), autocommit=True) as other:
            free = other.execute("SELECT pg_try_advisory_xact_lock(%s)", [FENCE_KEY]).fetchone()
    assert free == (True,)


def test_work_after_the_last_act_moves_the_epoch_again(team: Team) -> None:
    """SET CONSTRAINTS ALL IMMEDIATE brings the last act forward; what follows must still be noticed."""
    if not on_postgresql():
        pytest.skip("SQLite has no deferred triggers")
    before = epoch()
    with transaction.atomic():
        Team.objects.update(title="x")
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        execute("SET CONSTRAINTS ALL DEFERRED")
        Team.objects.update(title="y")
    assert epoch() == before + 2
    assert Advance.objects.filter(epoch__gt=before).count() == 2
    execute("SELECT 1 FROM governance_ticket")


def test_a_fence_that_stays_busy_fails_the_whole_change(team: Team) -> None:
    if not on_postgresql():
        pytest.skip("SQLite has one writer")
    with psycopg.connect(**connection_parameters()) as other:
        other.execute("SELECT pg_advisory_xact_lock_shared(%s)", [FENCE_KEY])
        with pytest.raises(OperationalError, match="lock timeout"):
            Team.objects.update(title="x")
    assert Team.objects.get().title == ""
    assert Team.objects.update(title="x") == 1


def test_an_epoch_that_is_gone_stops_every_governed_write() -> None:
    """A restored or emptied table must not pass for "nothing has changed"."""
    if not on_postgresql():
        pytest.skip("SQLite has no STRICT")
    execute("DELETE FROM governance_epoch")
    with pytest.raises(DatabaseError):
        Team.objects.create(name="new")
    assert not Team.objects.exists()


def test_trimming_forgets_what_is_old_and_says_so(team: Team) -> None:
    Team.objects.update(title="x")
    newest = epoch()
    assert trim_change_log() == 0
    assert trim_change_log(keep=timedelta(0)) == Advance.objects.count() + newest - 1
    assert not Change.objects.exists()
    assert Epoch.objects.get().trimmed_to == newest == epoch()
    assert told(), "evidence is not trimmed"
