"""Seeds of authenticator apps and recovery codes, sealed by the vault's keys: a copied database shows none."""

import base64
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Manager
from django.views.decorators.debug import sensitive_variables

from governance.facts import Fact, Recorder
from governance.vault import Envelope, Keyring, SealBroken, open_envelope, rewrap, seal

CONTEXT = "second_factor:seed"
"""All seeds share a context: the library that stores them does not say whose seed it seals."""


@sensitive_variables()
def sealed(seed: str, *, keyring: Keyring) -> str:
    return _as_text(seal(seed.encode(), context=CONTEXT, keyring=keyring))


@sensitive_variables()
def opened(text: str, *, keyring: Keyring) -> str:
    """Raises VaultError."""
    return open_envelope(_envelope(text), context=CONTEXT, keyring=keyring).decode()


def rewrap_second_factors(*, keyring: Keyring, record: Recorder) -> int:
    """Brings every seed under the current KEK; returns how many changed. Interrupted, it is simply run again."""
    changed = sum(_rewrap_row(key, keyring=keyring) for key in _authenticators().values_list("pk", flat=True))
    if changed:
        record(Fact("second_factors.rewrapped", "vault", {"key_id": keyring.current_id, "seeds": changed}))
    return changed


@transaction.atomic
def _rewrap_row(key: int, *, keyring: Keyring) -> bool:
    """Row by row and locked: a recovery code used meanwhile must stay used."""
    row = _authenticators().select_for_update().filter(pk=key).first()
    sealed_here = {name: row.data[name] for name in ("secret", "seed") if name in row.data} if row else {}
    rewrapped = {name: _rewrapped(text, keyring=keyring) for name, text in sealed_here.items()}
    if row is None or rewrapped == sealed_here:
        return False
    row.data |= rewrapped
    row.save(update_fields=["data"])
    return True


def _rewrapped(text: str, *, keyring: Keyring) -> str:
    return _as_text(rewrap(_envelope(text), context=CONTEXT, keyring=keyring))


def _authenticators() -> Manager[Any]:
    """By name: only processes that serve pages load the library."""
    manager: Manager[Any] = apps.get_model("mfa", "Authenticator")._default_manager
    return manager


def _as_text(envelope: Envelope) -> str:
    parts = (envelope.wrapped_key, envelope.ciphertext)
    return ".".join([envelope.key_id, *(base64.b64encode(part).decode() for part in parts)])


def _envelope(text: str) -> Envelope:
    key_id, *parts = text.split(".")
    if len(parts) != 2:
        raise SealBroken("The sealed seed has a format this version does not know.")
    return Envelope(key_id, *(base64.b64decode(part) for part in parts))
