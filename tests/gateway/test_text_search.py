"""Calls are found by words of what they said, masked or not, until it is forgotten; nobody reads the index."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from audit.checkpoint import Signer
from audit.event import AuditEvent, uuid7
from audit.models import EventRow, SearchCursor, SearchEntry
from audit.record import SealedPayload, commit_to, record
from audit.search_words import MOST_WORDS, fingerprint, words_in, words_of
from audit.sequencer import Sequencer
from gateway import search_filling
from gateway.erasing import erase_person
from gateway.inspecting import fingerprint as value_fingerprint
from gateway.keeping import empty_destroyed_keys, expire_keys, prune_class
from gateway.sealed_payloads import opened
from gateway.search_filling import fill, fill_anew, lag
from gateway.text_search import Question, find, searching
from governance.models import LegalHold, RetentionClass, SubjectKey, User
from governance.payload_keys import Place, sealer_at, subject_of
from governance.retention import period_of, terms_by_name
from governance.vault import keyring

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
ASKED = {"query": "the Blue chair of ana@example.com", "limit": 20, "note": "line one\nline two"}
ANSWER = {"content": [{"type": "text", "text": "order O-5001 is überfällig"}]}


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com")


@pytest.fixture
def ben() -> User:
    return User.objects.create_user("ben@example.com")


def a_call(
    person: User,
    *,
    at: datetime = NOW,
    asked: Any = ASKED,
    answer: Any = ANSWER,
    retention: str = "standard",
    details: dict[str, Any] | None = None,
    agent: str = "triage-bot",
    is_refused: bool = False,
) -> UUID:
    """Its end's id."""
    call_id = uuid7(int(at.timestamp() * 1000))
    sealer = sealer_at(Place(subject_of(person.pk), retention, period_of(at)), keyring())
    parts = [("call.intent", "", asked), ("call.outcome", "ok", answer)]
    for kind, outcome, body in [("call.refused", "refused", asked)] if is_refused else parts:
        event_id, plain = uuid7(int(at.timestamp() * 1000)), orjson.dumps(body)
        commitment, blinding = commit_to(plain)
        event = AuditEvent(
            kind=kind,
            id=event_id,
            at=at,
            actor=f"agent:{agent}",
            agent=agent,
            person=person.email,
            call_id=None if is_refused else call_id,
            tool="ticket_search",
            outcome=outcome,
            payload_commitment=commitment,
            details={"retention": retention, **(details or {})},
        )
        record(event, payload=SealedPayload(sealer.key_id, sealer.seal(blinding + plain, event_id=event_id)))
    return event_id


def seal() -> None:
    signer = Signer("gw.corp.example/audit", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    Sequencer(signer).advance(NOW, sign_every=timedelta(0))


def index() -> None:
    seal()
    fill()


def found(text: str = "", **more: Any) -> list[UUID]:
    return list(find(Question(text, **more), most=100).ids)


def words_left() -> int:
    """What the index holds, of whatever the database keeps it in."""
    if connection.vendor == "postgresql":
        return SearchEntry.objects.count()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_search_word")
        return int(cursor.fetchone()[0])


# Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Blue-Chair", ["blue", "chair"]),
        ("ana@example.com", ["ana", "example", "com"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("ＦＵＬＬ ﬁne", ["full", "fine"]),
        ("4111 1111-1111", ["4111", "1111", "1111"]),
        ("a I \0 --", []),
        ("x" * 65, []),
    ],
    ids=["case", "address", "sharp-s", "forms", "digits", "too-short", "too-long"],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert list(words_in(text)) == words


def test_words_are_of_values_and_bounded() -> None:
    body = orjson.dumps({"a_name": {"deep": ["one\ntwo", True, None, 42]}})
    assert words_of([body, b"not json"]) == ["one", "two", "42"]
    assert len(words_of([orjson.dumps([f"word{n}" for n in range(10_000)])])) == MOST_WORDS
    assert words_of([orjson.dumps(["x " * 80_000, "behind"])]) == []


def test_a_mark_is_of_one_key_one_day_and_one_word() -> None:
    today, key = NOW.date(), bytes(32)
    marks = {fingerprint(bytes([n]) * 32, today + DAY * m, word) for n in (0, 1) for m in (0, 1) for word in ("a", "b")}
    assert len(marks) == 8
    assert fingerprint(key, today, "a") in marks


# Finding


@pytest.mark.django_db
@pytest.mark.database
def test_a_call_is_found_by_words_of_its_arguments_and_its_answer_together(ana: User) -> None:
    mine = a_call(ana)
    a_call(ana, asked={"query": "green table"}, answer={})
    index()
    for text in ("blue", "CHAIR blue", "ana@example.com", "o-5001", "Überfällig chair", "20", "line two"):
        assert found(text) == [mine], text
    for text in ("blue table", "query", "ticket", "chai", ""):
        assert found(text) == [], text


@pytest.mark.django_db
@pytest.mark.database
def test_a_refused_call_is_found_by_what_was_asked_until_its_person_is_forgotten(ana: User) -> None:
    mine = a_call(ana, is_refused=True)
    index()
    assert found("blue chair") == [mine]
    erase_person(ana, reason="Request 7", by="person:olga@example.com")
    assert found("blue chair") == []
    (problem,) = [each.problem for each in opened(list(EventRow.objects.filter(id=mine)))]
    assert "destroyed" in problem


@pytest.mark.django_db
@pytest.mark.database
def test_other_filters_narrow_a_text_and_labels_and_findings_are_found_without_one(ana: User, ben: User) -> None:
    finding = {"rule": "aws_key", "kind": "secret", "path": "/a", "count": 1, "fingerprints": []}
    hers = a_call(ana, details={"labels": ["untrusted"], "findings": [finding]}, at=NOW - 40 * DAY)
    his = a_call(ben, agent="night-bot")
    index()
    assert found("chair") == [his, hers]
    assert found("chair", facts=(("person", "ana@example.com"),)) == [hers]
    assert found("chair", facts=(("agent", "night-bot"), ("outcome", "ok"))) == [his]
    assert found("chair", facts=(("agent", "night-bot"), ("outcome", "failed"))) == []
    assert found(facts=(("label", "untrusted"),)) == [hers]
    for name in ("aws_key", "secret"):
        assert found(facts=(("finding", name),)) == [hers]
    assert found("chair", since=NOW - DAY) == [his]
    assert found("chair", until=NOW - DAY) == [hers]
    first = find(Question("chair"), most=1)
    assert (first.ids, first.more) == ((his,), True)
    rest = find(Question("chair"), most=1, before=first.ids[-1])
    assert (rest.ids, rest.more) == ((hers,), False)


@pytest.mark.django_db
def test_a_masked_value_is_found_by_whoever_knows_it(ana: User) -> None:
    """It is nowhere in what was recorded but as the mark that inspection left."""
    mark = {"rule": "card", "kind": "personal", "path": "", "count": 1, "fingerprints": [value_fingerprint("4111-1")]}
    hers = a_call(ana, asked={"query": "refund to [CARD] now"}, details={"findings": [mark]})
    index()
    assert found("4111-1") == [hers]
    assert found("refund 4111-1") == [hers]
    assert found("4111-2") == []
    assert found("invoice 4111-1") == []


@pytest.mark.django_db
def test_the_index_holds_neither_words_nor_what_tells_that_two_days_had_the_same(ana: User) -> None:
    for days in (0, 1):
        a_call(ana, at=NOW - DAY * days, asked={"query": "zanzibar"}, answer={})
    index()
    with connection.cursor() as cursor:
        cursor.execute("SELECT fingerprints FROM audit_search_entry")
        held = [row[0] for row in cursor.fetchall()]
    assert "zanzibar" not in str(held)
    first, second = (set(orjson.loads(each)) if isinstance(each, str) else set(each) for each in held)
    assert not first & second


@pytest.mark.django_db
def test_filling_goes_on_where_it_stopped_and_a_search_says_nothing_of_its_text(
    ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_filling, "PAGE", 3)
    a_call(ana)
    index()
    assert lag() == 0
    for n in range(4):
        a_call(ana, at=NOW + timedelta(milliseconds=n), asked={"query": "later"}, answer={})
    seal()
    assert lag() == 8
    fill()
    assert lag() == 0
    before = words_left()
    fill_anew()
    assert words_left() == 0
    fill()
    assert words_left() == before
    told = searching(Question("gate_ak_my secret"), now=NOW)
    assert "secret" not in str(told.details)
    assert told.details["text"] == searching(Question(" gate_ak_my secret"), now=NOW).details["text"]
    assert told.details["text"] != searching(Question("another"), now=NOW).details["text"]


# Forgetting


@pytest.mark.django_db
@pytest.mark.database
def test_an_erased_person_is_found_by_no_word_any_more(ana: User, ben: User) -> None:
    a_call(ana), a_call(ana, at=NOW - 40 * DAY)
    his = a_call(ben)
    index()
    of_one = words_left() // 3
    erase_person(ana, reason="Request 7", by="person:olga@example.com")
    assert found("chair") == [his]
    assert words_left() == of_one
    fill_anew()
    index()
    assert found("chair") == [his]


@pytest.mark.django_db
def test_what_is_erased_while_it_is_read_is_not_kept(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The erasure commits after the page was opened and before it is written."""
    a_call(ana)
    real = SearchCursor.objects.get_or_create

    def erase_first(**known: Any) -> Any:
        erase_person(ana, reason="Request 7", by="person:olga@example.com")
        return real(**known)

    monkeypatch.setattr("gateway.search_filling.one_at_a_time", lambda: erase_first(id=1))
    index()
    assert found("chair") == []
    assert words_left() == 0


@pytest.mark.django_db
@pytest.mark.database
def test_expired_months_lose_words_and_the_key_of_their_index_unless_a_hold_keeps_them(ana: User) -> None:
    a_call(ana, at=NOW - 460 * DAY)
    new = a_call(ana)
    index()
    assert len(found("chair")) == 2
    hold = LegalHold.objects.create(
        person=ana, reason="Litigation", set_by="test", set_at=NOW, first_day=(NOW - 500 * DAY).date(), last_day=None
    )
    expire_keys(NOW)
    empty_destroyed_keys()
    assert len(found("chair")) == 2
    hold.delete()
    both = words_left()
    assert expire_keys(NOW) == 2
    assert SubjectKey.objects.filter(subject="search").exclude(key_id="").count() == 1
    assert found("chair") == [new]
    empty_destroyed_keys()
    assert words_left() * 2 == both


@pytest.mark.django_db
@pytest.mark.database
def test_pruned_records_leave_no_words(ana: User) -> None:
    a_call(ana, retention="short")
    kept = a_call(ana)
    RetentionClass.objects.create(name="short", header_days=30)
    index()
    both = words_left()
    assert prune_class(terms_by_name()["short"], NOW + 60 * DAY) == 2
    assert EventRow.objects.filter(kind="call.outcome").count() == 1
    assert found("chair") == [kept]
    assert words_left() * 2 == both
