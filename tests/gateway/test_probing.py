"""Dead credentials are tried where they would be shown: every live gateway process is asked, by their digests."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from gateway import actions, live_probe, offboarding_proof, offboardings, probing
from gateway.models import GatewayProcess, Probe, ProbeAnswer
from governance.models import AccessToken, Agent, AgentCredential, Authorization, Offboarding, OffboardingStep, User
from governance.offboarding import Plan
from governance.snapshot import Snapshot
from governance.snapshot_builder import build_snapshot
from tests.fakes import FakePorts

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

BY = "person:owner@example.com"
RESOURCE = "http://testserver/mcp"


@pytest.fixture
def ana() -> User:
    """Owns an agent with a key, and with a client secret that bought a token; she let a client in that has one too."""
    User.objects.create_superuser("owner@example.com")
    ana = User.objects.create_user("ana@example.com")
    agent = Agent.objects.create(name="triage-bot", owner=ana)
    actions.issue_key(agent, by=BY, expires_in=None)
    secret = AgentCredential.objects.create(
        agent=agent, kind="client_secret", digest=b"s" * 32, hint="gate_cs_", created_by=BY
    )
    until = datetime.now(UTC) + timedelta(hours=1)
    let_in = Authorization.objects.create(
        agent=agent, person=ana, resource=RESOURCE, created_by=BY, expires_at=until, oauth_scopes=["bundle:support"]
    )
    for number, ground in enumerate(({"credential": secret}, {"authorization": let_in, "person": ana})):
        AccessToken.objects.create(
            digest=sha256(f"token{number}".encode()).digest(), issued_at=datetime.now(UTC), expires_at=until,
            agent=agent, resource=RESOURCE, **ground,
        )  # fmt: skip
    return ana


@pytest.fixture
def gateway() -> GatewayProcess:
    now = datetime.now(UTC)
    return GatewayProcess.objects.create(host="gate", pid=7, started_at=now, beat_at=now, applied_epoch=2**40)


def everything() -> list[str]:
    keys = [f"key:{row.id.hex}" for row in AgentCredential.objects.all()]
    return keys + [f"authorization:{row.id.hex}" for row in Authorization.objects.all()]


def process_tries(probe: Probe, snapshot: Snapshot) -> tuple[int, list[str]]:
    """As a gateway process does at its heartbeat."""
    subjects = probing.subjects_of(probe)
    ports = FakePorts(snapshot, at=datetime.now(UTC))
    return len(subjects), asyncio.run(probing.tried(subjects, ports))


def answers(probe: Probe, gateway: GatewayProcess, snapshot: Snapshot) -> None:
    count, live = process_tries(probe, snapshot)
    probing.answer(probe, gateway.id, epoch=snapshot.epoch, count=count, live=live)


def offboard(person: User) -> Offboarding:
    return offboardings.offboard(person, plan=Plan(), by=BY)


def test_what_lives_is_let_in_and_what_was_ended_is_not(ana: User) -> None:
    probe = live_probe.ask(everything(), by=BY)
    count, live = process_tries(probe, build_snapshot())
    assert (count, len(live)) == (4, 3), "the key, and a token of each ground; a client secret is nothing to show here"
    offboard(ana)
    assert process_tries(probe, build_snapshot()) == (4, [])


def test_a_process_that_has_not_heard_is_found_out(ana: User, gateway: GatewayProcess) -> None:
    """Its tables are those of everybody; what it holds in memory is not."""
    before = build_snapshot()
    done = offboard(ana)
    assert offboarding_proof.probe(done, by=BY).is_clean, "by the tables all is well"
    probe = live_probe.ask(live_probe.subjects(done.items), by=BY)
    answers(probe, gateway, before)
    check = offboarding_proof.probe(done, by=BY, gateways=live_probe.words(probe))
    assert (check.is_clean, len(check.as_json()["gateways"][0]["live"])) == (False, 3)


def test_a_process_that_says_nothing_is_no_proof(ana: User, gateway: GatewayProcess) -> None:
    done = offboard(ana)
    said = live_probe.ask_and_wait(live_probe.subjects(done.items), by=BY, seconds=0.0)
    check = offboarding_proof.probe(done, by=BY, gateways=said)
    assert (check.is_clean, check.as_json()["gateways"]) == (False, [{"name": "gate:7", "tried": None, "live": []}])


def test_one_that_began_later_knows_nothing_from_before(ana: User, gateway: GatewayProcess) -> None:
    probe = live_probe.ask(everything(), by=BY)
    GatewayProcess.objects.update(started_at=datetime.now(UTC) + timedelta(seconds=1))
    assert live_probe.words(probe) == []


def test_each_process_answers_a_question_once(ana: User, gateway: GatewayProcess) -> None:
    probe = live_probe.ask(everything(), by=BY)
    assert probing.unanswered(gateway.id) == [probe]
    for _ in range(2):
        answers(probe, gateway, build_snapshot())
    assert (probing.unanswered(gateway.id), ProbeAnswer.objects.count()) == ([], 1)
    ProbeAnswer.objects.all().delete()
    Probe.objects.update(asked_at=datetime.now(UTC) - timedelta(minutes=5))
    assert probing.unanswered(gateway.id) == []


def test_a_probe_holds_nothing_a_thief_could_show(ana: User) -> None:
    probe = live_probe.ask(everything(), by=BY)
    stored = json.dumps(probe.credentials)
    assert not [row for row in AgentCredential.objects.all() if bytes(row.digest or b"").hex() in stored]


# -- as the last step of an offboarding


def proof() -> OffboardingStep:
    return OffboardingStep.objects.get(kind="prove")


def look_again() -> None:
    OffboardingStep.objects.filter(kind="prove", state="waiting").update(next_try_at=datetime.now(UTC))
    offboardings.take_up_what_is_left()


def test_the_worker_asks_every_gateway_and_the_receipt_tells(ana: User, gateway: GatewayProcess) -> None:
    offboard(ana)
    look_again()
    assert proof().state == "waiting"
    answers(Probe.objects.get(), gateway, build_snapshot())
    look_again()
    assert (proof().state, proof().result) == ("done", "4 keys and tokens tried in 1 of 1 gateways: none works")
    receipt = json.loads(Offboarding.objects.get().receipt)
    assert receipt["check"]["gateways"] == [{"name": "gate:7", "tried": 4, "live": []}]
    assert Probe.objects.count() == 1, "asked once"


def test_what_still_works_somewhere_is_left_to_a_human(ana: User, gateway: GatewayProcess) -> None:
    before = build_snapshot()
    offboard(ana)
    look_again()
    answers(Probe.objects.get(), gateway, before)
    look_again()
    assert (proof().state, "3 of them still work" in proof().todo) == ("manual", True)
    assert not json.loads(Offboarding.objects.get().receipt)["check"]["clean"]


def test_a_gateway_that_is_silent_is_asked_again(ana: User, gateway: GatewayProcess) -> None:
    offboard(ana)
    look_again()
    Probe.objects.update(asked_at=datetime.now(UTC) - timedelta(minutes=2))
    look_again()
    assert (proof().state, Probe.objects.count()) == ("waiting", 2)
