"""What is sealed of connected accounts: the tokens, and secrets that servers gave us when we registered ourselves."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import QuerySet
from django.views.decorators.debug import sensitive_variables

from governance.facts import Fact, Recorder
from governance.models import UpstreamClient, UpstreamGrant
from governance.vault import Envelope, Keyring, SealBroken, keyring, open_envelope, open_secret_version, rewrap, seal


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a provider gave. Never shown, never logged."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    expires_at: datetime | None = None
    oauth_scopes: tuple[str, ...] = ()


def holds_tokens(grant: UpstreamGrant) -> bool:
    return bool(grant.ciphertext)


@sensitive_variables()
def open_tokens(grant: UpstreamGrant, *, keyring: Keyring) -> Tokens:
    """Raises VaultError."""
    envelope = Envelope(grant.key_id, bytes(grant.wrapped_key), bytes(grant.ciphertext))
    body = open_envelope(envelope, context=_grant_context(grant.pk, grant.generation), keyring=keyring)
    kept = orjson.loads(body)
    return Tokens(kept["access"], kept["refresh"], grant.expires_at, tuple(grant.oauth_scopes))


@sensitive_variables()
def open_client(client: UpstreamClient, *, keyring: Keyring) -> tuple[str, str]:
    """(client id, client secret or empty). Raises VaultError."""
    if client.source == UpstreamClient.Source.SECRET:
        return _open_pair(client, keyring)
    if not client.ciphertext:
        return client.client_id, ""
    envelope = Envelope(client.key_id, bytes(client.wrapped_key), bytes(client.ciphertext))
    return client.client_id, open_envelope(envelope, context=client_context(client), keyring=keyring).decode()


@sensitive_variables()
def _open_pair(client: UpstreamClient, keyring: Keyring) -> tuple[str, str]:
    version = client.secret.versions.filter(retired_at=None).first() if client.secret is not None else None
    if version is None:
        raise SealBroken("The OAuth client's id and secret are not in the vault any more.")
    client_id, _, client_secret = open_secret_version(version, keyring=keyring).partition(":")
    return client_id, client_secret


def rewrap_accounts(*, keyring: Keyring, record: Recorder, batch: int = 100) -> int:
    """Brings every token and client secret under the current KEK; run again if interrupted."""
    total = 0
    for rows in (UpstreamGrant.objects, UpstreamClient.objects):
        while count := _rewrap_batch(rows.exclude(ciphertext=b"").exclude(key_id=keyring.current_id), keyring, batch):
            total += count
    if total:
        record(Fact("vault.rewrapped", "vault", {"key_id": keyring.current_id, "accounts": total}))
    return total


@transaction.atomic
def _rewrap_batch(stale: QuerySet[Any], keyring: Keyring, size: int) -> int:
    rows = list(stale.select_for_update().order_by("id")[:size])
    for row in rows:
        envelope = Envelope(row.key_id, bytes(row.wrapped_key), bytes(row.ciphertext))
        is_grant = isinstance(row, UpstreamGrant)
        context = _grant_context(row.pk, row.generation) if is_grant else client_context(row)
        put_envelope(row, rewrap(envelope, context=context, keyring=keyring))
        row.save(update_fields=["key_id", "wrapped_key", "ciphertext"])
    return len(rows)


@sensitive_variables("tokens", "body")
def seal_tokens(grant_id: UUID, generation: int, tokens: Tokens) -> Envelope:
    body = orjson.dumps({"access": tokens.access, "refresh": tokens.refresh})
    return seal(body, context=_grant_context(grant_id, generation), keyring=keyring())


def _grant_context(grant_id: UUID, generation: int) -> str:
    return f"upstream_grant:{grant_id}:tokens:{generation}"


def client_context(client: UpstreamClient) -> str:
    return f"upstream_client:{client.pk}:secret"


def put_envelope(row: UpstreamGrant | UpstreamClient, envelope: Envelope) -> None:
    row.key_id, row.wrapped_key, row.ciphertext = envelope.key_id, envelope.wrapped_key, envelope.ciphertext


def columns_of(envelope: Envelope) -> dict[str, Any]:
    return {"key_id": envelope.key_id, "wrapped_key": envelope.wrapped_key, "ciphertext": envelope.ciphertext}


def emptied() -> dict[str, Any]:
    """The data key goes with the ciphertext: what a backup of the row's other half holds does not open."""
    return {"key_id": "", "wrapped_key": b"", "ciphertext": b"", "expires_at": None}
