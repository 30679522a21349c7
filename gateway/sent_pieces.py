"""What agents sent that may be pieces of something, as rows that every process of the gateway finds: sealed, bound to
the agent, for half an hour. They are written in the commit of the intent (`gateway/commit/`)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import orjson

from gateway.commit.sqlite_pieces import MOST_ROWS, WINDOW
from gateway.database import DatabaseThread
from gateway.fragment_ring import Piece, Row
from gateway.models import SentPiece
from governance.vault import Envelope, Keyring, VaultError, open_envelope, seal

KEY_ID_LETTERS: Final = 16
WRAPPED_BYTES: Final = 61
"""Of a data key: format, nonce, 32 bytes of key and the tag."""


class SentPieces:
    """One of each gateway process; its methods run on the event loop."""

    def __init__(self, thread: DatabaseThread, keyring: Keyring) -> None:
        self._thread = thread
        self._keyring = keyring

    def sealed(self, agent_id: str, pieces: Iterable[Piece]) -> bytes:
        plain = orjson.dumps([(piece.path, piece.text, piece.token) for piece in pieces])
        envelope = seal(plain, context=_of(agent_id), keyring=self._keyring)
        return envelope.key_id.encode() + envelope.wrapped_key + envelope.ciphertext

    async def since(self, agent_id: str, number: int) -> list[Row]:
        return await self._thread.run(lambda: rows_since(agent_id, number, datetime.now(UTC), self._keyring))


def rows_since(agent_id: str, number: int, now: datetime, keyring: Keyring) -> list[Row]:
    found = SentPiece.objects.filter(agent_id=UUID(agent_id), id__gt=number, at__gt=now - WINDOW).order_by("-id")
    newest = [Row(row.pk, now - row.at, _opened(agent_id, bytes(row.sealed), keyring)) for row in found[:MOST_ROWS]]
    return newest[::-1]


def forget_pieces(now: datetime) -> None:
    SentPiece.objects.filter(at__lt=now - WINDOW).delete()


def forget_pieces_of(person_id: UUID) -> None:
    """All that was sent for this person."""
    SentPiece.objects.filter(person_id=person_id).delete()


def _opened(agent_id: str, sealed: bytes, keyring: Keyring) -> tuple[Piece, ...] | None:
    body = sealed[KEY_ID_LETTERS:]
    key_id = sealed[:KEY_ID_LETTERS].decode("ascii", "replace")
    envelope = Envelope(key_id, body[:WRAPPED_BYTES], body[WRAPPED_BYTES:])
    try:
        plain = open_envelope(envelope, context=_of(agent_id), keyring=keyring)
    except VaultError:
        return None
    return tuple(Piece(*each) for each in orjson.loads(plain))


def _of(agent_id: str) -> str:
    return f"sent_piece:{agent_id}"
