"""Sealing the bodies of evidence: AES-256-GCM under a payload key, bound to the event it belongs to.

A key belongs to a place: one subject, one retention class, one month. To destroy it is to forget what lies under it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from governance.facts import Fact, Recorder
from governance.models import PayloadKey, SubjectKey
from governance.vault import Envelope, Keyring, SealBroken, open_envelope, rewrap, seal

NONCE_BYTES = 12
REWRAPPED_AT_A_TIME = 200


class Place(NamedTuple):
    """Whose payloads, kept how, of which month."""

    subject: str
    retention: str
    period: str


@dataclass(frozen=True, slots=True)
class PayloadSealer:
    """One payload key, open in memory."""

    key_id: str
    _cipher: AESGCM = field(repr=False)

    def seal(self, plaintext: bytes, *, event_id: UUID) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plaintext, event_id.bytes)

    def open(self, sealed: bytes, *, event_id: UUID) -> bytes:
        """Raises SealBroken for a payload that was altered or belongs to another event."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], event_id.bytes)
        except (InvalidTag, ValueError):
            raise SealBroken("The payload does not belong to this event or was altered.") from None


def sealer_at(place: Place, keyring: Keyring) -> PayloadSealer:
    """The live key of this place; the first caller of all processes makes it."""
    return open_sealer(key_row(place, keyring), keyring)


def key_row(place: Place, keyring: Keyring) -> SubjectKey:
    """The live one of this place; the first caller of all processes makes it."""
    return _live(place) or _make(place, keyring)


def subject_of(person_id: object) -> str:
    """As keys name a person. Her id: an address may pass to somebody else."""
    return f"person:{str(person_id).replace('-', '')}"


def destroy_keys(keys: Iterable[SubjectKey], *, cause: str, now: datetime) -> int:
    """What lies under them cannot be opened any more, by anybody who has not kept the database of before."""
    ids = [key.pk for key in keys]
    gone = {"destroyed_at": now, "cause": cause, "key_id": "", "wrapped_key": b"", "ciphertext": b""}
    return SubjectKey.objects.filter(pk__in=ids, destroyed_at=None).update(**gone)


def check_newest_key(keyring: Keyring) -> None:
    """Raises VaultError where the KEK at hand is not the one that payloads are sealed under."""
    newest = SubjectKey.objects.filter(destroyed_at=None).order_by("-created_at").first()
    if newest is not None:
        open_sealer(newest, keyring)


def rewrap_payload_keys(*, keyring: Keyring, record: Recorder, batch: int = REWRAPPED_AT_A_TIME) -> int:
    """Brings the payload keys under the current KEK, in short transactions; returns how many changed."""
    total = 0
    while count := _rewrap_batch(keyring=keyring, record=record, size=batch):
        total += count
    return total


@transaction.atomic
def _rewrap_batch(*, keyring: Keyring, record: Recorder, size: int) -> int:
    """A key that is destroyed meanwhile stays so: the row is locked, and looked at again under the lock."""
    old = PayloadKey.objects.exclude(key_id=keyring.current_id)
    hers = SubjectKey.objects.filter(destroyed_at=None).exclude(key_id=keyring.current_id)
    shared = list(old.select_for_update().order_by("id")[:size])
    own = list(hers.select_for_update().order_by("id")[: size - len(shared)])
    rows: list[SubjectKey | PayloadKey] = [*shared, *own]
    for row in rows:
        _keep(row, rewrap(_envelope(row), context=_context(row), keyring=keyring))
    PayloadKey.objects.bulk_update(shared, ["key_id", "wrapped_key"])
    SubjectKey.objects.bulk_update(own, ["key_id", "wrapped_key"])
    if rows:
        record(Fact("vault.rewrapped", "payload keys", {"key_id": keyring.current_id, "keys": len(rows)}))
    return len(rows)


def open_sealer(row: SubjectKey | PayloadKey, keyring: Keyring) -> PayloadSealer:
    """Raises VaultError, also for a destroyed one."""
    return PayloadSealer(str(row.id), AESGCM(opened_key(row, keyring)))


@sensitive_variables()
def opened_key(row: SubjectKey | PayloadKey, keyring: Keyring) -> bytes:
    """Raises VaultError, also for a destroyed one."""
    if not row.key_id:
        raise SealBroken("This key was destroyed.")
    return open_envelope(_envelope(row), context=_context(row), keyring=keyring)


def _live(place: Place) -> SubjectKey | None:
    return SubjectKey.objects.filter(**place._asdict(), destroyed_at=None).first()


def _make(place: Place, keyring: Keyring) -> SubjectKey:
    """Whoever comes second finds the first one's."""
    row = SubjectKey(**place._asdict())
    _keep(row, seal(AESGCM.generate_key(bit_length=256), context=_context(row), keyring=keyring))
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return SubjectKey.objects.get(**place._asdict(), destroyed_at=None)
    return row


def _envelope(row: SubjectKey | PayloadKey) -> Envelope:
    return Envelope(row.key_id, bytes(row.wrapped_key), bytes(row.ciphertext))


def _keep(row: SubjectKey | PayloadKey, envelope: Envelope) -> None:
    row.key_id, row.wrapped_key, row.ciphertext = envelope.key_id, envelope.wrapped_key, envelope.ciphertext


def _context(row: SubjectKey | PayloadKey) -> str:
    """A key moved to another person's place does not open there."""
    if isinstance(row, SubjectKey):
        return f"subject_key:{row.pk}:{row.subject}:{row.retention}:{row.period}"
    return f"payload_key:{row.pk}:key"
