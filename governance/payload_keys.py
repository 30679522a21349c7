"""Sealing the bodies of evidence: AES-256-GCM under a payload key, bound to the event it belongs to."""

import os
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import transaction

from governance.facts import Fact, Recorder
from governance.models import PayloadKey
from governance.vault import Envelope, Keyring, SealBroken, open_envelope, rewrap, seal

NONCE_BYTES = 12


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
        except InvalidTag:
            raise SealBroken("The payload does not belong to this event or was altered.") from None


def current_sealer(keyring: Keyring) -> PayloadSealer:
    """The newest payload key; the first caller of an installation makes it."""
    with transaction.atomic():
        newest = PayloadKey.objects.last()
        return open_sealer(newest or _create(keyring), keyring)


def rewrap_payload_keys(*, keyring: Keyring, record: Recorder) -> int:
    """Brings the payload keys under the current KEK; there are few, so in one transaction. Returns how many changed."""
    with transaction.atomic():
        rows = list(PayloadKey.objects.exclude(key_id=keyring.current_id).select_for_update())
        for row in rows:
            _keep(row, rewrap(_envelope(row), context=_context(row), keyring=keyring))
            row.save()
        if rows:
            record(Fact("vault.rewrapped", "payload keys", {"key_id": keyring.current_id, "keys": len(rows)}))
    return len(rows)


def open_sealer(row: PayloadKey, keyring: Keyring) -> PayloadSealer:
    key = open_envelope(_envelope(row), context=_context(row), keyring=keyring)
    return PayloadSealer(str(row.id), AESGCM(key))


def _create(keyring: Keyring) -> PayloadKey:
    row = PayloadKey()
    _keep(row, seal(AESGCM.generate_key(bit_length=256), context=_context(row), keyring=keyring))
    row.save(force_insert=True)
    return row


def _envelope(row: PayloadKey) -> Envelope:
    return Envelope(row.key_id, bytes(row.wrapped_key), bytes(row.ciphertext))


def _keep(row: PayloadKey, envelope: Envelope) -> None:
    row.key_id, row.wrapped_key, row.ciphertext = envelope.key_id, envelope.wrapped_key, envelope.ciphertext


def _context(row: PayloadKey) -> str:
    return f"payload_key:{row.pk}:key"
