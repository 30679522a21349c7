"""Bodies of evidence open only for their event, and survive a change of the key-encryption key."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from governance.facts import Fact
from governance.models import SubjectKey
from governance.payload_keys import Place, destroy_keys, open_sealer, rewrap_payload_keys, sealer_at
from governance.vault import Keyring, SealBroken, UnknownKey

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
ANAS = Place("person:ana", "standard", "2026-11")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_payload_opens_for_its_event_only() -> None:
    sealer = sealer_at(ANAS, Keyring(OLD))
    event, other = uuid4(), uuid4()
    sealed = sealer.seal(b"body", event_id=event)
    assert b"body" not in sealed
    assert sealer.open(sealed, event_id=event) == b"body"
    with pytest.raises(SealBroken):
        sealer.open(sealed, event_id=other)
    with pytest.raises(SealBroken):
        sealer.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), event_id=event)


def test_all_processes_use_one_key() -> None:
    assert sealer_at(ANAS, Keyring(OLD)).key_id == sealer_at(ANAS, Keyring(OLD)).key_id
    assert SubjectKey.objects.count() == 1


def test_payload_keys_move_to_a_new_kek_with_the_vault() -> None:
    event = uuid4()
    sealed = sealer_at(ANAS, Keyring(OLD)).seal(b"body", event_id=event)
    facts: list[Fact] = []
    assert rewrap_payload_keys(keyring=Keyring(NEW, (OLD,)), record=facts.append) == 1
    assert rewrap_payload_keys(keyring=Keyring(NEW, (OLD,)), record=facts.append) == 0
    assert [fact.kind for fact in facts] == ["vault.rewrapped"]
    assert open_sealer(SubjectKey.objects.get(), Keyring(NEW)).open(sealed, event_id=event) == b"body"
    with pytest.raises(UnknownKey):
        sealer_at(ANAS, Keyring(OLD))


def test_each_subject_class_and_month_has_its_own_key() -> None:
    places = [
        ANAS,
        ANAS._replace(subject="person:ben"),
        ANAS._replace(retention="short"),
        ANAS._replace(period="2026-12"),
    ]
    assert len({sealer_at(place, Keyring(OLD)).key_id for place in places}) == 4


def test_a_destroyed_key_opens_nothing_and_is_never_used_again() -> None:
    sealer_at(ANAS, Keyring(OLD))
    row = SubjectKey.objects.get()
    assert destroy_keys([row], cause="erased", now=NOW) == 1
    assert destroy_keys([row], cause="erased", now=NOW) == 0
    row.refresh_from_db()
    assert (bytes(row.wrapped_key), bytes(row.ciphertext), row.key_id) == (b"", b"", "")
    with pytest.raises(SealBroken):
        open_sealer(row, Keyring(OLD))
    assert sealer_at(ANAS, Keyring(OLD)).key_id != str(row.pk)


def test_a_key_moved_to_another_place_does_not_open() -> None:
    sealer_at(ANAS, Keyring(OLD))
    SubjectKey.objects.update(subject="person:ben")
    with pytest.raises(SealBroken):
        sealer_at(ANAS._replace(subject="person:ben"), Keyring(OLD))


def test_many_keys_are_rewrapped_in_batches_and_destroyed_ones_are_left_alone() -> None:
    for number in range(5):
        sealer_at(ANAS._replace(subject=f"person:{number}"), Keyring(OLD))
    destroy_keys(SubjectKey.objects.filter(subject="person:0"), cause="erased", now=NOW)
    facts: list[Fact] = []
    assert rewrap_payload_keys(keyring=Keyring(NEW, (OLD,)), record=facts.append, batch=3) == 4
    assert [fact.details["keys"] for fact in facts] == [3, 1]
    assert sealer_at(ANAS._replace(subject="person:3"), Keyring(NEW))
