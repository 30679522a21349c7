"""Evidence of a person is forgotten, old evidence goes, and the log stays sound; what a hold keeps, stays."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import IntegrityError, transaction

from audit import auditverify
from audit.bundle import export_log
from audit.checkpoint import Signer
from audit.event import AuditEvent, uuid7
from audit.models import EventRow, Leaf, Payload, Pruning
from audit.record import SealedPayload, commit_to, record
from audit.sequencer import Sequencer
from audit.verify import Report, verify
from gateway.erasing import erase_person, plan_erasure
from gateway.keeping import empty_destroyed_keys, expire_keys, keep_to_terms, prune_class
from gateway.sealed_payloads import open_payloads
from governance.facts import Fact
from governance.legal_holds import Held, lift_hold, set_hold
from governance.models import (
    Agent,
    ApprovalRequest,
    Change,
    Erasure,
    LegalHold,
    PayloadKey,
    RetentionClass,
    SubjectKey,
    User,
)
from governance.payload_keys import Place, sealer_at, subject_of
from governance.retention import period_of, terms_by_name
from governance.snapshot_builder import build_snapshot
from governance.vault import keyring
from tests.audit.writing import execute, lower_guards

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BODY = b'{"query":"what ana asked"}'


@pytest.fixture
def signer() -> Signer:
    return Signer("gw.corp.example/audit", Ed25519PrivateKey.from_private_bytes(bytes(32)))


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com")


@pytest.fixture
def ben() -> User:
    return User.objects.create_user("ben@example.com")


def a_call(person: User, *, agent: str = "triage-bot", at: datetime = NOW, retention: str = "standard") -> UUID:
    """Intent and outcome, both with a sealed body."""
    call_id = uuid7(int(at.timestamp() * 1000))
    sealer = sealer_at(Place(subject_of(person.pk), retention, period_of(at)), keyring())
    for kind, outcome in (("call.intent", ""), ("call.outcome", "ok")):
        event_id = uuid7(int(at.timestamp() * 1000))
        commitment, blinding = commit_to(BODY)
        event = AuditEvent(
            kind=kind,
            id=event_id,
            at=at,
            actor=f"agent:{agent}",
            agent=agent,
            person=person.email,
            call_id=call_id,
            tool="ticket_search",
            outcome=outcome,
            payload_commitment=commitment,
            details={"retention": retention},
        )
        record(event, payload=SealedPayload(sealer.key_id, sealer.seal(blinding + BODY, event_id=event_id)))
    return call_id


def seal(signer: Signer) -> None:
    Sequencer(signer).advance(NOW, sign_every=timedelta(0))


def checked(signer: Signer) -> Report:
    seal(signer)
    return verify(signer.verifier)


def what_opens(call_id: UUID) -> list[bytes]:
    events = list(EventRow.objects.filter(call_id=call_id).order_by("id"))
    return [each.body for each in open_payloads(events, call_id=call_id, reason="test", by="test")]


def hold(**what: object) -> LegalHold:
    known = {"person": None, "agent": None, "first_day": None, "last_day": None, "reason": "Litigation X"} | what
    return set_hold(**known, by="person:law@example.com", record=[].append, now=NOW)  # type: ignore[arg-type]


def test_nothing_of_an_erased_person_opens_and_the_log_stays_sound(signer: Signer, ana: User, ben: User) -> None:
    hers, his = a_call(ana), a_call(ben)
    a_call(ana, at=NOW - 60 * DAY)
    seal(signer)
    leaves = list(Leaf.objects.order_by("index").values_list("index", "hash"))
    assert what_opens(hers) == [BODY, BODY]

    plan = plan_erasure(ana)
    assert (plan.keys, plan.payloads, plan.shared, plan.records, plan.held_by) == (2, 4, 0, 2, "")
    done = erase_person(ana, reason="Request 7", by="person:olga@example.com")
    assert (done.keys, done.payloads) == (2, 4)

    assert what_opens(hers) == [b"", b""]
    assert what_opens(his) == [BODY, BODY]
    assert not SubjectKey.objects.filter(subject=subject_of(ana.pk)).exclude(key_id="").exists()
    told = EventRow.objects.get(kind="audit.subject_erased")
    assert (told.person, told.actor) == ("ana@example.com", "person:olga@example.com")
    assert b"Request 7" in bytes(told.header)
    assert Erasure.objects.get().keys == 2
    report = checked(signer)
    assert report.is_sound, report.problems
    assert list(Leaf.objects.order_by("index").values_list("index", "hash"))[: len(leaves)] == leaves


def test_what_lay_under_destroyed_keys_is_deleted_and_nothing_else(ana: User, ben: User) -> None:
    a_call(ana)
    his = a_call(ben)
    erase_person(ana, reason="Request 7", by="test")
    assert Payload.objects.count() == 4
    assert empty_destroyed_keys() == 2
    assert empty_destroyed_keys() == 0
    assert what_opens(his) == [BODY, BODY]


def test_who_is_erased_and_goes_on_working_gets_a_new_key(ana: User) -> None:
    before = a_call(ana)
    erase_person(ana, reason="Request 7", by="test")
    after = a_call(ana)
    assert (what_opens(before), what_opens(after)) == ([b"", b""], [BODY, BODY])


def test_an_erasure_makes_every_decision_of_before_stale_and_tells_each_process(ana: User) -> None:
    """So nothing that begins after it is sealed under a key that a process still has open."""
    a_call(ana)
    assert build_snapshot().erasures == 0
    erase_person(ana, reason="Request 7", by="test")
    assert build_snapshot().erasures == 1
    assert Change.objects.filter(relation="governance_erasure", object_id="*").exists()


def test_requests_for_approval_lose_their_arguments(ana: User, ben: User) -> None:
    for number, person in enumerate((ana, ben)):
        ApprovalRequest.objects.create(
            agent="triage-bot",
            agent_id=uuid7(),
            person_id=person.pk,
            asked_digest=bytes([number]) * 32,
            call_digest=bytes([number]) * 32,
            arguments=b"sealed",
            asked_arguments=b"sealed",
            terms=[],
            created_at=NOW,
            expires_at=NOW + timedelta(days=36_500),
        )
    erase_person(ana, reason="Request 7", by="test")
    left = {
        row.person_id: (row.state, bytes(row.arguments), bytes(row.asked_arguments))
        for row in ApprovalRequest.objects.all()
    }
    assert left == {ana.pk: ("void", b"", b""), ben.pk: ("pending", b"sealed", b"sealed")}


def test_payloads_under_a_shared_key_of_before_are_deleted(signer: Signer, ana: User, ben: User) -> None:
    hers, his = a_call(ana), a_call(ben)
    row = PayloadKey.objects.create(key_id="0" * 16, wrapped_key=b"w", ciphertext=b"c")
    lower_guards("audit_payload")
    Payload.objects.update(key_id=str(row.pk))
    assert plan_erasure(ana).shared == 2
    erase_person(ana, reason="Request 7", by="test")
    left = set(Payload.objects.values_list("event_id", flat=True))
    assert left == set(EventRow.objects.filter(call_id=his).values_list("id", flat=True))
    assert not left & set(EventRow.objects.filter(call_id=hers).values_list("id", flat=True))


def test_a_hold_on_the_person_refuses_her_erasure_by_name(ana: User, ben: User) -> None:
    call = a_call(ana)
    a_call(ben)
    row = hold(person=ana)
    assert "Litigation X" in plan_erasure(ana).held_by
    with pytest.raises(Held, match=r"Litigation X.*law@example\.com"):
        erase_person(ana, reason="Request 7", by="test")
    assert what_opens(call) == [BODY, BODY]
    erase_person(ben, reason="Request 8", by="test")
    facts: list[Fact] = []
    assert lift_hold(row, reason="Settled", by="test", record=facts.append, now=NOW)
    assert not lift_hold(row, reason="Settled", by="test", record=facts.append, now=NOW)
    assert [fact.kind for fact in facts] == ["hold.lifted"]
    erase_person(ana, reason="Request 7", by="test")


@pytest.fixture
def agent(ben: User) -> Agent:
    return Agent.objects.create(name="triage-bot", owner=ben)


def test_a_hold_on_an_agent_or_a_time_keeps_what_it_names(ana: User, agent: Agent) -> None:
    a_call(ana)
    for what in ({"agent": agent}, {"first_day": date(2026, 11, 1), "last_day": date(2026, 11, 3)}):
        row = hold(**what)
        with pytest.raises(Held):
            erase_person(ana, reason="Request 7", by="test")
        lift_hold(row, reason="Settled", by="test", record=[].append, now=NOW)
    hold(agent=agent, last_day=date(2026, 9, 30))
    hold(first_day=date(2026, 12, 1))
    assert erase_person(ana, reason="Request 7", by="test").keys == 1


def test_keys_expire_by_their_class_and_a_hold_keeps_them(signer: Signer, ana: User, ben: User) -> None:
    RetentionClass.objects.create(name="short", payload_days=30)
    RetentionClass.objects.create(name="for-ever", payload_days=0)
    old = NOW - 90 * DAY
    short, held = a_call(ana, at=old, retention="short"), a_call(ben, at=old, retention="short")
    standard, ever = a_call(ana, at=old), a_call(ana, at=NOW - 4000 * DAY, retention="for-ever")
    recent = a_call(ana, at=NOW - 20 * DAY, retention="short")
    row = hold(person=ben)
    keep_to_terms(NOW)
    assert what_opens(short) == []
    assert all(what_opens(call) == [BODY, BODY] for call in (held, standard, ever, recent))
    lift_hold(row, reason="Settled", by="test", record=[].append, now=NOW)
    assert (expire_keys(NOW), expire_keys(NOW)) == (1, 0)
    assert what_opens(held) == [b"", b""]
    assert EventRow.objects.filter(kind="audit.payloads_expired").count() == 2
    report = checked(signer)
    assert report.is_sound, report.problems


class Later:
    """Sixty days on: the records of two calls of Ana's went; a held one of Ben's and a new one of hers stayed."""

    def __init__(self, signer: Signer, ana: User, ben: User) -> None:
        RetentionClass.objects.create(name="standard", header_days=30)
        real = datetime.now(UTC)
        self.now = real + 60 * DAY
        record(AuditEvent(kind="agent.created", at=real, actor="person:olga@example.com"))
        calls = [a_call(person, at=real) for person in (ana, ben, ana)]
        self.recent = a_call(ana, at=self.now - DAY)
        Sequencer(signer).advance(real, sign_every=timedelta(0))
        hold(person=ben)
        self.gone = sorted(place for call in (calls[0], calls[2]) for place in places(call))
        standard = terms_by_name()["standard"]
        assert prune_class(standard, self.now) == 4
        assert prune_class(standard, self.now) == 0
        Sequencer(signer).advance(real, sign_every=timedelta(0))


def places(call_id: UUID) -> list[int]:
    events = EventRow.objects.filter(call_id=call_id).values("id")
    return list(Leaf.objects.filter(event_id__in=events).order_by("index").values_list("index", flat=True))


@pytest.fixture
def later(signer: Signer, ana: User, ben: User) -> Later:
    return Later(signer, ana, ben)


def exported(signer: Signer, folder: Path) -> tuple[auditverify.Bundle, auditverify.Findings]:
    export_log(folder, verifier=signer.verifier, at=NOW)
    bundle = auditverify.Bundle(str(folder), auditverify.Key(str(signer.verifier)), auditverify.Kept([], []))
    return bundle, bundle.check()


def test_records_are_pruned_in_the_middle_and_all_verifies(signer: Signer, later: Later, tmp_path: Path) -> None:
    report = checked(signer)
    assert report.is_sound, report.problems
    assert report.pruned == 4
    pruned = [leaf for first, past in Pruning.objects.values_list("first", "past") for leaf in range(first, past)]
    assert sorted(pruned) == later.gone
    assert EventRow.objects.filter(kind="agent.created").exists()
    bundle, findings = exported(signer, tmp_path / "log")
    assert findings.problems == []
    assert bundle.pruned == 4
    assert any("4 pruned records" in text for text in findings.not_checked)


def test_a_deletion_without_a_record_is_found_and_named(signer: Signer, later: Later, tmp_path: Path) -> None:
    victim = places(later.recent)[0]
    lower_guards("audit_event")
    EventRow.objects.filter(pk=Leaf.objects.get(index=victim).event_id)._raw_delete("default")
    report = checked(signer)
    assert (report.first_bad_leaf, report.is_sound) == (victim, False)
    _, findings = exported(signer, tmp_path / "log")
    assert findings.first_bad_leaf == victim


def test_the_database_lets_go_only_what_a_record_names(later: Later) -> None:
    told = EventRow.objects.get(kind="audit.pruned")
    other = EventRow.objects.get(kind="agent.created")
    victim = places(later.recent)[0]
    for sql in (
        f'DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_leaf WHERE "index" = {victim})',
        "DELETE FROM audit_event WHERE kind = 'audit.pruned'",
        "UPDATE audit_event SET kind = kind",
        "DELETE FROM audit_payload",
        "UPDATE audit_pruning SET past = past + 1",
        "DELETE FROM audit_pruning",
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            execute(sql)
    untold = [Pruning(event_id=event, first=victim, past=victim + 1) for event in (uuid7(), other.pk)]
    for row in (*untold, Pruning(event_id=told.pk, key_id="key")):
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save()
