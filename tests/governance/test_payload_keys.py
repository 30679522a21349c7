"""Bodies of evidence open only for their event, and survive a change of the key-encryption key."""

from uuid import uuid4

import pytest

from governance.facts import Fact
from governance.models import PayloadKey
from governance.payload_keys import current_sealer, open_sealer, rewrap_payload_keys
from governance.vault import Keyring, SealBroken, UnknownKey

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def test_a_payload_opens_for_its_event_only() -> None:
    sealer = current_sealer(Keyring(OLD))
    event, other = uuid4(), uuid4()
    sealed = sealer.seal(b"body", event_id=event)
    assert b"body" not in sealed
    assert sealer.open(sealed, event_id=event) == b"body"
    with pytest.raises(SealBroken):
        sealer.open(sealed, event_id=other)
    with pytest.raises(SealBroken):
        sealer.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), event_id=event)


def test_all_processes_use_one_key() -> None:
    assert current_sealer(Keyring(OLD)).key_id == current_sealer(Keyring(OLD)).key_id
    assert PayloadKey.objects.count() == 1


def test_payload_keys_move_to_a_new_kek_with_the_vault() -> None:
    event = uuid4()
    sealed = current_sealer(Keyring(OLD)).seal(b"body", event_id=event)
    facts: list[Fact] = []
    assert rewrap_payload_keys(keyring=Keyring(NEW, (OLD,)), record=facts.append) == 1
    assert rewrap_payload_keys(keyring=Keyring(NEW, (OLD,)), record=facts.append) == 0
    assert [fact.kind for fact in facts] == ["vault.rewrapped"]
    assert open_sealer(PayloadKey.objects.get(), Keyring(NEW)).open(sealed, event_id=event) == b"body"
    with pytest.raises(UnknownKey):
        current_sealer(Keyring(OLD))
