"""What the group commit on SQLite keeps of pieces: as `postgresql_pieces.sql`, which says what it means."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.commit.entry import SentPieces

WINDOW: Final = timedelta(minutes=30)
MOST_ROWS: Final = 256
OTHERS: Final = """
    SELECT 1 FROM gateway_sentpiece
    WHERE agent_id = :agent AND id > :read_to AND process_id <> :process AND at > :since LIMIT 1
"""
ADD: Final = """
    INSERT INTO gateway_sentpiece (agent_id, person_id, process_id, sealed, at)
    VALUES (:agent, :person, :process, :sealed, :now)
"""
PRUNE: Final = """
    DELETE FROM gateway_sentpiece WHERE agent_id = :agent AND id <= (
      SELECT id FROM gateway_sentpiece WHERE agent_id = :agent ORDER BY id DESC LIMIT 1 OFFSET :most)
"""


def keep_pieces(connection: sqlite3.Connection, sent: SentPieces) -> bool:
    """Whether there are some of other processes that were not looked at with these."""
    now = datetime.now(UTC)
    known = {
        "agent": sent.agent_id,
        "person": sent.person_id,
        "process": sent.process.hex,
        "read_to": sent.read_to,
        "sealed": sent.sealed,
        "now": _text(now),
        "since": _text(now - WINDOW),
        "most": MOST_ROWS,
    }
    is_behind = connection.execute(OTHERS, known).fetchone() is not None
    connection.execute(ADD, known)
    if sent.is_pruning:
        connection.execute(PRUNE, known)
    return is_behind


def _text(at: datetime) -> str:
    """As Django stores it: UTC without offset."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
