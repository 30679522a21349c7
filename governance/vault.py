"""The vault: what we present to upstreams, sealed so that a copied database shows nothing.

Each value has its own random data key (AES-256-GCM), wrapped by a key-encryption key (KEK) that never enters
the database. Both layers authenticate where the value belongs, so a ciphertext moved to another row, field or
table does not open. Every sealed blob starts with a format byte, so that a KMS can wrap data keys later.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import NoReturn
from urllib.parse import quote

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.views.decorators.debug import sensitive_variables

from governance import rotation
from governance.facts import Fact, Recorder
from governance.inspection.spellings import spellings
from governance.models import RotationTask
from governance.models.secrets import HEADER_NAME_PATTERN, Secret, SecretVersion

FORMAT = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12
SHORTEST_MASKABLE = 8
"""Characters. Shorter values occur in innocent text; masking them would shred results and hide nothing."""

_HEADER_VALUE = re.compile(r"[\x21-\x7e\xa0-\xff]([\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?")
_UNFIT_FOR_PAIR = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class VaultError(Exception):
    """Something about sealed values went wrong. Messages never contain key, value or ciphertext."""


class UnknownKey(VaultError):
    """Sealed under a KEK that is not configured; the message names its id."""


class SealBroken(VaultError):
    """Altered, moved to another place, or of a format this version does not know."""


class UnusableSecret(VaultError):
    """The value cannot be presented the way its kind says."""


class Keyring:
    """The KEKs at hand: `current` seals, `previous` ones only open. Cannot be pickled or printed."""

    __slots__ = ("_ciphers", "current_id")

    def __init__(self, current: bytes, previous: Sequence[bytes] = ()) -> None:
        if any(len(key) != KEY_BYTES for key in (current, *previous)):
            raise VaultError(f"A key-encryption key must have exactly {KEY_BYTES} bytes.")
        self.current_id = key_id_of(current)
        self._ciphers = {key_id_of(key): AESGCM(key) for key in (current, *previous)}

    def cipher(self, key_id: str) -> AESGCM:
        try:
            return self._ciphers[key_id]
        except KeyError:
            raise UnknownKey(f"No key-encryption key with id {key_id} is configured.") from None

    def knows(self, key_id: str) -> bool:
        return key_id in self._ciphers

    def __repr__(self) -> str:
        return "<Keyring>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A keyring never leaves its process.")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One sealed value: which KEK, the data key it wraps, and the value under that data key."""

    key_id: str
    wrapped_key: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


def key_id_of(key: bytes) -> str:
    return hashlib.sha256(b"gatehouse kek id v1\x00" + key).hexdigest()[:16]


def keyring() -> Keyring:
    """The installation's KEKs, from settings."""
    return Keyring(settings.KEK, settings.KEK_PREVIOUS)


@sensitive_variables()
def seal(plaintext: bytes, *, context: str, keyring: Keyring) -> Envelope:
    """`context` names the one place this value belongs to, e.g. "secret_version:<id>:value"."""
    data_key = AESGCM.generate_key(bit_length=KEY_BYTES * 8)
    return Envelope(
        key_id=keyring.current_id,
        wrapped_key=_wrap(data_key, context=context, keyring=keyring),
        ciphertext=_encrypt(AESGCM(data_key), plaintext, _value_aad(context)),
    )


@sensitive_variables()
def open_envelope(envelope: Envelope, *, context: str, keyring: Keyring) -> bytes:
    """Raises UnknownKey or SealBroken."""
    data_key = _unwrap(envelope, context=context, keyring=keyring)
    return _decrypt(AESGCM(data_key), envelope.ciphertext, _value_aad(context))


@sensitive_variables()
def rewrap(envelope: Envelope, *, context: str, keyring: Keyring) -> Envelope:
    """The same value under the current KEK; the value itself is not opened."""
    if envelope.key_id == keyring.current_id:
        return envelope
    data_key = _unwrap(envelope, context=context, keyring=keyring)
    return Envelope(
        key_id=keyring.current_id,
        wrapped_key=_wrap(data_key, context=context, keyring=keyring),
        ciphertext=envelope.ciphertext,
    )


def _wrap(data_key: bytes, *, context: str, keyring: Keyring) -> bytes:
    key_id = keyring.current_id
    return _encrypt(keyring.cipher(key_id), data_key, _key_aad(key_id, context))


def _unwrap(envelope: Envelope, *, context: str, keyring: Keyring) -> bytes:
    return _decrypt(keyring.cipher(envelope.key_id), envelope.wrapped_key, _key_aad(envelope.key_id, context))


def _key_aad(key_id: str, context: str) -> bytes:
    return f"gatehouse data key\x00{key_id}\x00{context}".encode()


def _value_aad(context: str) -> bytes:
    return f"gatehouse value\x00{context}".encode()


def _encrypt(cipher: AESGCM, plaintext: bytes, aad: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return FORMAT + nonce + cipher.encrypt(nonce, plaintext, FORMAT + aad)


def _decrypt(cipher: AESGCM, blob: bytes, aad: bytes) -> bytes:
    if blob[:1] != FORMAT or len(blob) <= 1 + NONCE_BYTES:
        raise SealBroken("The sealed value has a format this version does not know.")
    try:
        return cipher.decrypt(blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :], FORMAT + aad)
    except InvalidTag:
        raise SealBroken("The sealed value does not belong here or was altered.") from None


@sensitive_variables("value")
def put_secret_value(secret: Secret, *, value: str, by: str, record: Recorder, now: datetime) -> SecretVersion:
    """Makes `value` the live version and retires the one before, in the caller's transaction."""
    check_presentable(secret.kind, secret.header_name, value)
    Secret.objects.select_for_update().get(pk=secret.pk)
    secret.versions.filter(retired_at=None).update(retired_at=now)
    last = secret.versions.aggregate(last=Max("number"))["last"] or 0
    version = SecretVersion(secret=secret, number=last + 1, created_at=now)
    _store(version, seal(value.encode(), context=context_of(version), keyring=keyring()))
    version.save(force_insert=True)
    record(Fact("secret.value_set", f"secret:{secret.name}", {"version": version.number, "by": by}))
    evidence = {"version": version.number}
    rotation.done_for(RotationTask.Subject.SECRET, secret.pk, by=by, record=record, now=now, evidence=evidence)
    return version


def open_secret_version(version: SecretVersion, *, keyring: Keyring) -> str:
    """The value in the clear: for the moment it is presented, and for masking it in results."""
    return open_envelope(envelope_of(version), context=context_of(version), keyring=keyring).decode()


def rewrap_all(*, keyring: Keyring, record: Recorder, batch: int = 100) -> int:
    """Brings every stored value under the current KEK; returns how many changed.

    Opens its own short transactions, so that calls go on meanwhile. Interrupted, it is simply run again.
    """
    total = 0
    while count := _rewrap_batch(keyring=keyring, record=record, size=batch):
        total += count
    return total


@transaction.atomic
def _rewrap_batch(*, keyring: Keyring, record: Recorder, size: int) -> int:
    stale = SecretVersion.objects.exclude(key_id=keyring.current_id)
    versions = list(stale.select_for_update().order_by("id")[:size])
    for version in versions:
        _store(version, rewrap(envelope_of(version), context=context_of(version), keyring=keyring))
    SecretVersion.objects.bulk_update(versions, ["key_id", "wrapped_key"])
    if versions:
        record(Fact("vault.rewrapped", "vault", {"key_id": keyring.current_id, "versions": len(versions)}))
    return len(versions)


def context_of(version: SecretVersion) -> str:
    return f"secret_version:{version.pk}:value"


def envelope_of(version: SecretVersion) -> Envelope:
    return Envelope(version.key_id, bytes(version.wrapped_key), bytes(version.ciphertext))


def _store(version: SecretVersion, envelope: Envelope) -> None:
    version.key_id = envelope.key_id
    version.wrapped_key = envelope.wrapped_key
    version.ciphertext = envelope.ciphertext


@sensitive_variables()
def check_presentable(kind: str, header_name: str, value: str) -> None:
    """Raises UnusableSecret with a reason fit for a form; the value is not in it."""
    if kind == Secret.Kind.OAUTH_CLIENT:
        _user_and_password(value)
    else:
        auth_headers(kind, header_name, value)


@sensitive_variables()
def auth_headers(kind: str, header_name: str, value: str) -> tuple[tuple[str, str], ...]:
    """The headers that present this value. Raises UnusableSecret; line breaks never get through."""
    if kind == Secret.Kind.BEARER:
        return (("authorization", f"Bearer {_header_safe(value)}"),)
    if kind == Secret.Kind.HEADER:
        return ((_header_name(header_name), _header_safe(value)),)
    if kind == Secret.Kind.BASIC:
        user, password = _user_and_password(value)
        return (("authorization", f"Basic {_basic_pair(user, password)}"),)
    raise UnusableSecret(f"A secret of kind {kind} is not presented as a header.")


def _header_name(name: str) -> str:
    if not re.match(HEADER_NAME_PATTERN, name):
        raise UnusableSecret("The secret's header name is not one a secret may travel in.")
    return name.lower()


@sensitive_variables()
def _header_safe(value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        raise UnusableSecret(
            "A header value must be printable Latin-1 without line breaks and without spaces at its ends."
        )
    return value


@sensitive_variables()
def _user_and_password(value: str) -> tuple[str, str]:
    user, colon, password = value.partition(":")
    if not (user and colon and password) or _UNFIT_FOR_PAIR.search(value):
        raise UnusableSecret('Write the value as "user:password", without control characters.')
    return user, password


def _basic_pair(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@sensitive_variables()
def maskable_forms(kind: str, value: str) -> tuple[bytes, ...]:
    """The byte strings by which this value would show in a decoded result, longest first.

    As it is, JSON-escaped (JSON within a string), in both alphabets of base64, percent-encoded; of a pair
    also the second half alone.
    """
    return _forms_of(kind, value, _encodings)


@sensitive_variables()
def known_forms(kind: str, value: str) -> tuple[bytes, ...]:
    """Also those by which somebody would hide it: for what is looked for in many texts."""
    return _forms_of(kind, value, lambda part: chain(_encodings(part), spellings(part)))


@sensitive_variables()
def _forms_of(kind: str, value: str, written: Callable[[str], Iterable[bytes]]) -> tuple[bytes, ...]:
    parts = [value]
    if kind in (Secret.Kind.BASIC, Secret.Kind.OAUTH_CLIENT):
        parts.append(value.partition(":")[2])
    forms = {form for part in parts if len(part) >= SHORTEST_MASKABLE for form in written(part)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _encodings(text: str) -> Iterator[bytes]:
    raw = text.encode()
    yield raw
    yield orjson.dumps(text)[1:-1]
    whole_characters = len(raw) * 8 // 6
    yield base64.b64encode(raw)[:whole_characters]
    yield base64.urlsafe_b64encode(raw)[:whole_characters]
    yield quote(text, safe="").encode()
