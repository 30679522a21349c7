"""Canaries: made, sealed, shown once, and known again in any spelling."""

import secrets
import string
import zlib
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from django.views.decorators.debug import sensitive_variables

from governance.facts import Fact, Recorder
from governance.models import Canary
from governance.vault import Envelope, Keyring, VaultError, keyring, known_forms, open_envelope, seal

BASE32 = string.ascii_uppercase + "234567"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
BASE64 = string.ascii_letters + string.digits + "+/"
FIRST = ("anna", "daniel", "elena", "jonas", "laura", "marco", "nina", "peter", "sofia", "tomas")
LAST = ("berger", "costa", "fischer", "keller", "lange", "moreau", "novak", "rossi", "silva", "weber")


class NotPlantable(Exception):
    """The canary cannot be made like this; `field` says what to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NotShown(Exception):
    """Its value is shown once, and only where its key is."""


def canary_faults(kind: str, place: str) -> Iterator[tuple[str, str]]:
    if kind == Canary.Kind.URL:
        try:
            parts = urlsplit(place)
            is_plain = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
            )
        except ValueError:
            is_plain = False
        if not is_plain or "@" in place:
            yield "place", "write where it lies, e.g. https://files.example.com/shared/"
    elif kind == Canary.Kind.EMAIL:
        if "." not in place or not all(sign.isalnum() or sign in ".-" for sign in place):
            yield "place", "write the domain of the address, e.g. example.com"
    elif place:
        yield "place", "only a web address or an e-mail address lies somewhere"


@sensitive_variables()
def plant(row: Canary, *, by: str, record: Recorder, now: datetime) -> None:
    """Stores it with a new value."""
    for field, message in canary_faults(row.kind, row.place):
        raise NotPlantable(field, message)
    sealed = seal(_made(row.kind, row.place).encode(), context=context_of(str(row.pk)), keyring=keyring())
    row.key_id, row.wrapped_key, row.ciphertext = sealed.key_id, sealed.wrapped_key, sealed.ciphertext
    row.created_by, row.created_at = by, now
    row.save(force_insert=True)
    record(Fact("canary.made", f"canary:{row.name}", {"kind": row.kind, "planted_in": row.planted_in}))


@sensitive_variables()
def show_once(row: Canary, *, record: Recorder, now: datetime) -> str:
    """Raises NotShown."""
    if not Canary.objects.filter(pk=row.pk, shown_at=None).update(shown_at=now):
        raise NotShown("Its value was shown before. Make another one, and plant that instead.")
    record(Fact("canary.shown", f"canary:{row.name}", {}))
    sealed = Envelope(row.key_id, bytes(row.wrapped_key), bytes(row.ciphertext))
    try:
        return open_value(str(row.pk), sealed, keyring())
    except VaultError:
        raise NotShown("It cannot be opened: the key that sealed it is not here. Make another one.") from None


@sensitive_variables()
def open_value(canary_id: str, sealed: Envelope, keys: Keyring) -> str:
    return open_envelope(sealed, context=context_of(canary_id), keyring=keys).decode()


@sensitive_variables()
def parts_of(kind: str, value: str) -> list[str]:
    """As people plant it: of a key its two halves."""
    return value.split(":") if kind == Canary.Kind.AWS_KEY else [value]


@sensitive_variables()
def forms_of(kind: str, value: str) -> tuple[bytes, ...]:
    """By which it is known: of a key either half, of an address the part that is only its own."""
    parts = [value.rstrip("/").rpartition("/")[2]] if kind == Canary.Kind.URL else parts_of(kind, value)
    return tuple(form for part in parts for form in known_forms("bearer", part))


def context_of(canary_id: str) -> str:
    return f"canary:{canary_id.replace('-', '')}:value"


def _made(kind: str, place: str) -> str:
    if kind == Canary.Kind.AWS_KEY:
        return f"AKIA{_random(BASE32, 16)}:{_random(BASE64, 40)}"
    if kind == Canary.Kind.GITHUB_TOKEN:
        return _github_token()
    if kind == Canary.Kind.URL:
        return f"{place.rstrip('/')}/{_random(BASE62, 32)}"
    return f"{secrets.choice(FIRST)}.{secrets.choice(LAST)}{_random(string.digits, 6)}@{place.lower()}"


def _github_token() -> str:
    """With the checksum that scanners look at."""
    body = _random(BASE62, 30)
    rest, check = zlib.crc32(body.encode()), ""
    while rest:
        rest, digit = divmod(rest, 62)
        check = BASE62[digit] + check
    return f"ghp_{body}{check.rjust(6, '0')}"


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
