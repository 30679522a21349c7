"""From the withdrawal to the receipt: gateways that confirm or do not, crashes in between, dates, proof."""

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import OperationalError

from audit.event import AuditEvent
from audit.models import EventRow
from audit.record import record
from gateway import actions, offboarding_proof, offboardings
from gateway.enforcement import Enforcement
from gateway.models import GatewayProcess
from gateway.tasks import offboard_people
from governance.fence.lockfile import WriteLockTimeout
from governance.models import Agent, AgentCredential, Epoch, Offboarding, User
from governance.offboarding import Plan
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)

pytestmark = pytest.mark.database
real = pytest.mark.django_db

BY = "person:owner@example.com"


@pytest.fixture
def ana() -> User:
    """Owns one agent with a key; somebody else is the owner."""
    User.objects.create_superuser("owner@example.com")
    ana = User.objects.create_user("ana@example.com", name="Ana Lima")
    actions.issue_key(Agent.objects.create(name="triage-bot", owner=ana), by=BY, expires_in=None)
    return ana


@pytest.fixture
def gateway() -> GatewayProcess:
    """Alive, and not yet told of anything."""
    now = datetime.now(UTC)
    return GatewayProcess.objects.create(host="gate", pid=7, started_at=now, beat_at=now, applied_epoch=0)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offboardings, "ENFORCE_SECONDS", 0.0)


def begin(person: User) -> Offboarding:
    return offboardings.begin_offboarding(person, plan=Plan(), by=BY)


def confirm(gateway: GatewayProcess) -> None:
    number = Epoch.objects.get().number
    GatewayProcess.objects.filter(id=gateway.id).update(applied_epoch=number, beat_at=datetime.now(UTC))


def call(kind: str, call_id: object, outcome: str = "", at: datetime | None = None) -> None:
    event = AuditEvent(
        kind=kind, at=at or datetime.now(UTC), actor="agent:triage-bot", agent="triage-bot", tool="ticket_get",
        call_id=call_id, outcome=outcome,  # type: ignore[arg-type]
    )  # fmt: skip
    record(event)


def told(kind: str) -> list[dict[str, object]]:
    """Oldest first."""
    return [json.loads(bytes(row.header)) for row in EventRow.objects.filter(kind=kind).order_by("at")]


@real
def test_it_is_enforced_when_every_gateway_says_so(ana: User, gateway: GatewayProcess) -> None:
    begun = begin(ana)
    waiting = offboardings.follow(begun.id)
    assert (waiting.state, waiting.enforcement["gateways"]["confirmed"]) == ("enforcing", 0)
    confirm(gateway)
    done = offboardings.follow(begun.id)
    assert (done.state, done.enforcement["gateways"]["confirmed"]) == ("enforced", 1)
    assert done.enforcement["confirmations"][0]["name"] == "gate:7"


@real
def test_the_receipt_is_bound_by_evidence(ana: User) -> None:
    done = offboardings.offboard(ana, plan=Plan(), by=BY)
    (event,) = told("offboarding.completed")
    digest = hashlib.sha256(done.receipt.encode()).hexdigest()
    assert done.receipt_digest == digest == event["details"]["receipt_sha256"]  # type: ignore[index]
    assert str(done.receipt_event) == event["id"]
    assert event["actor"] == BY
    receipt = json.loads(done.receipt)
    assert receipt["check"] | {"at": ""} == {
        "at": "", "by": "system:offboarding", "tried": 1, "live": [], "active": False, "gateways": None, "accounts": [],
        "clean": True,
    }  # fmt: skip
    place = offboarding_proof.place_in_log(done)
    assert place is not None
    assert (place.event_id, place.leaf) == (done.receipt_event, None)


@real
def test_calls_that_ran_are_told_with_their_fate(ana: User, gateway: GatewayProcess) -> None:
    ids = [AuditEvent(kind="x", at=datetime.now(UTC), actor="").id for _ in range(3)]
    for call_id in ids:
        call("call.intent", call_id)
    call("call.outcome", ids[0], "ok", at=datetime.now(UTC) - timedelta(seconds=1))
    begun = begin(ana)
    call("call.outcome", ids[1], "failed")
    confirm(gateway)
    waiting = offboardings.follow(begun.id)
    assert waiting.state == "enforcing", "one call is still open"
    assert {c["call_id"]: c["fate"] for c in waiting.enforcement["calls"]} == {
        str(ids[1]): "failed",
        str(ids[2]): "open",
    }
    call("call.outcome", ids[2], "unknown")
    done = offboardings.follow(begun.id)
    assert (done.state, len(done.enforcement["calls"])) == ("enforced", 2)


@real
@pytest.mark.usefixtures("hurried")
def test_a_gateway_that_never_confirms_is_told_and_asked_again(ana: User, gateway: GatewayProcess) -> None:
    begun = begin(ana)
    assert offboardings.follow(begun.id).state == "incomplete"
    assert [event["details"]["enforcement"]["complete"] for event in told("offboarding.incomplete")] == [False]  # type: ignore[index]
    offboard_people()
    assert len(told("offboarding.incomplete")) == 1, "the same is not told twice"
    confirm(gateway)
    offboard_people()
    done = Offboarding.objects.get()
    assert (done.state, json.loads(done.receipt)["enforcement"]["complete"]) == ("enforced", True)


@real
def test_a_database_that_is_busy_for_a_moment_is_looked_at_again(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = begin(ana)
    looks: list[UUID] = []

    def busy_at_first(offboarding_id: UUID) -> Offboarding:
        looks.append(offboarding_id)
        if len(looks) == 1:
            raise OperationalError("busy") from WriteLockTimeout("busy")
        return really(offboarding_id)

    really = offboardings.follow
    monkeypatch.setattr(offboardings, "follow", busy_at_first)
    assert offboardings.follow_for(begun.id, 30).state == "enforced"
    assert len(looks) == 2


@real
def test_a_dead_gateway_is_not_waited_for(ana: User, gateway: GatewayProcess) -> None:
    GatewayProcess.objects.update(beat_at=datetime.now(UTC) - timedelta(minutes=1))
    assert offboardings.follow(begin(ana).id).state == "enforced"


@real
def test_the_worker_goes_on_where_somebody_died(ana: User) -> None:
    begin(ana)
    offboard_people()
    assert Offboarding.objects.get().state == "enforced"


@real
def test_only_one_of_all_who_follow_writes_the_receipt(ana: User) -> None:
    begun = begin(ana)
    stale = Offboarding.objects.select_related("person").get(id=begun.id)
    offboardings.follow(begun.id)
    offboardings._finish(stale, Enforcement.from_json(Offboarding.objects.get().enforcement))
    assert len(told("offboarding.completed")) == 1


@real
def test_a_planned_one_begins_at_its_time(ana: User) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    planned = offboardings.schedule_offboarding(ana, plan=Plan(), due_at=later, by=BY)
    offboard_people()
    assert Offboarding.objects.get().state == "scheduled"
    Offboarding.objects.update(due_at=datetime.now(UTC))
    offboard_people()
    done = Offboarding.objects.get()
    assert (done.id, done.state, done.created_by) == (planned.id, "enforced", BY)
    assert told("person.offboarded")[0]["actor"] == BY


@real
def test_who_planned_it_and_lost_the_right_is_found_out(ana: User) -> None:
    noor = User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    later = datetime.now(UTC) + timedelta(hours=1)
    offboardings.schedule_offboarding(ana, plan=Plan(), due_at=later, by="person:noor@example.com")
    Offboarding.objects.update(due_at=datetime.now(UTC))
    User.objects.filter(id=noor.id).update(duties=[])
    offboard_people()
    failed = Offboarding.objects.get()
    ana.refresh_from_db()
    assert (failed.state, ana.is_active) == ("failed", True)
    assert "may not offboard her any more" in failed.problem
    assert len(told("offboarding.failed")) == 1


@real
def test_the_last_owner_is_not_ended_by_a_date(ana: User) -> None:
    second = User.objects.create_superuser("second@example.com")
    later = datetime.now(UTC) + timedelta(hours=1)
    offboardings.schedule_offboarding(second, plan=Plan(), due_at=later, by="command:root")
    User.objects.filter(email="owner@example.com").update(is_superuser=False)
    Offboarding.objects.update(due_at=datetime.now(UTC))
    offboard_people()
    failed = Offboarding.objects.get()
    assert (failed.state, "last owner" in failed.problem) == ("failed", True)


@real
def test_a_key_that_lives_again_is_found(ana: User) -> None:
    done = offboardings.offboard(ana, plan=Plan(), by=BY)
    assert offboarding_proof.check_again(done, by=BY).is_clean
    AgentCredential.objects.update(revoked_at=None, revoked_by="")
    User.objects.filter(id=ana.id).update(is_active=True)
    check = offboarding_proof.check_again(done, by=BY)
    assert (check.is_clean, check.tried, len(check.live), check.is_active) == (False, 1, 1, True)
    assert [event["details"]["clean"] for event in told("offboarding.checked")] == [True, False]  # type: ignore[index]
    done.refresh_from_db()
    assert json.loads(done.receipt)["check"]["clean"], "the receipt stays as it was"


@real
def test_sessions_and_second_factors_end_with_her(ana: User, client: object) -> None:
    client.force_login(ana)  # type: ignore[attr-defined]
    client.get("/me/")  # type: ignore[attr-defined]
    kinds = {item.kind for item in offboardings.preview(ana, plan=Plan())}
    offboardings.offboard(ana, plan=Plan(), by=BY)
    assert client.get("/me/").status_code == 302  # type: ignore[attr-defined]
    assert kinds >= {"person", "agent", "agent key"}
    assert not [item for item in offboardings.preview(ana, plan=Plan()) if item.kind == "web session"]


@real
def test_by_command_each_agent_has_its_successor(ana: User, capsys: pytest.CaptureFixture[str]) -> None:
    User.objects.create_user("heir@example.com")
    call_command("offboard", ana.email, "--agent-successor", "triage-bot=heir@example.com", "--json")
    receipt = json.loads(capsys.readouterr().out)
    assert Agent.objects.get().owner.email == "heir@example.com"
    assert (receipt["plan"]["agents"], receipt["enforcement"]["complete"]) == ({"triage-bot": "heir@example.com"}, True)
    assert Offboarding.objects.get().state == "enforced"


@real
def test_by_command_at_a_time(ana: User, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("offboard", ana.email, "--at", "2099-01-31T18:00", "--json")
    assert json.loads(capsys.readouterr().out)["due_at"] == "2099-01-31T18:00:00+00:00"
    ana.refresh_from_db()
    assert ana.is_active


@real
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--at", "tomorrow"), "is no time such as"),
        (("--agent-successor", "triage-bot"), "is not AGENT=EMAIL"),
        (("--agent-successor", "other-bot=owner@example.com"), "There is no agent"),
        (("--successor", "nobody@example.com"), "There is no person"),
    ],
)
def test_a_command_names_what_is_wrong(ana: User, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("offboard", ana.email, *words)


@real
def test_by_command_it_ends_no_owner_for_an_it_admin(ana: User) -> None:
    User.objects.create_superuser("second@example.com")
    User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    with pytest.raises(CommandError, match="by owners only"):
        call_command("offboard", "second@example.com", "--actor", "noor@example.com")


@real
@pytest.mark.usefixtures("hurried")
def test_a_command_ends_badly_when_a_gateway_does_not_confirm(ana: User, gateway: GatewayProcess) -> None:
    with pytest.raises(SystemExit, match="1"):
        call_command("offboard", ana.email, "--json")


@pytest.mark.usefixtures("fresh_database")
def test_two_at_once_end_her_once() -> None:
    """Whatever the timing, in databases where commits are real."""
    User.objects.create_superuser("owner@example.com")
    person = User.objects.create_user("twice@example.com")
    actions.issue_key(Agent.objects.create(name="twice-bot", owner=person), by=BY, expires_in=None)
    outcomes = at_once(lambda: begin(User.objects.get(id=person.id)).state, lambda: begin(person).state)
    assert sorted(outcomes) == ["UnderWay", "enforcing"]
    assert Offboarding.objects.count() == 1


@pytest.mark.usefixtures("fresh_database")
def test_two_owners_who_end_each_other_leave_one() -> None:
    first, second = (User.objects.create_superuser(f"{name}@example.com") for name in ("first", "second"))
    outcomes = at_once(lambda: begin(first).state, lambda: begin(second).state)
    assert sorted(outcomes) == ["CannotOffboard", "enforcing"]
    assert User.objects.filter(is_superuser=True, is_active=True).count() == 1


@pytest.mark.usefixtures("fresh_database")
def test_no_key_outlives_an_offboarding_it_raced() -> None:
    User.objects.create_superuser("owner@example.com")
    person = User.objects.create_user("racer@example.com")
    agent = Agent.objects.create(name="race-bot", owner=person)
    at_once(
        lambda: begin(person).state,
        *[lambda: actions.issue_key(agent, by=BY, expires_in=None).credential.hint for _ in range(3)],
    )
    assert not AgentCredential.objects.filter(revoked_at=None).exists()


def at_once(*acts: Callable[[], str]) -> list[str]:
    """What each said, or the name of what it raised."""
    together, said = threading.Barrier(len(acts)), []

    def run(act: Callable[[], str]) -> None:
        together.wait(10)
        try:
            said.append(act())
        except Exception as error:  # noqa: BLE001 - told to the test
            said.append(type(error).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return said
