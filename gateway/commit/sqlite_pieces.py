"""What the group commit on SQLite keeps of pieces: as `postgresql_pieces.sql`, which says what it means."""

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.commit.entry import SentPieces

WINDOW: Final = timedelta(minutes=30)
MOST_ROWS: Final = 256
OTHERS: Final = """
    SELECT id FROM gateway_sentpiece
    WHERE agent_id = :agent AND id > :read_to AND process_id <> :process AND at > :since ORDER BY id DESC LIMIT 1
"""
ADD: Final = """
    INSERT INTO gateway_sentpiece (agent_id, person_id, process_id, sealed, at)
    VALUES (:agent, :person, :process, :sealed, :now)
"""
PRUNE: Final = """
    DELETE FROM gateway_sentpiece WHERE agent_id = :agent AND id <= (
      SELECT id FROM gateway_sentpiece WHERE agent_id = :agent ORDER BY id DESC LIMIT 1 OFFSET :most)
"""


def keep_pieces(connection: sqlite3.Connection, sent: Iterable[tuple[int, SentPieces]]) -> set[int]:
    """Which of them, by position in the group, other processes have sent some before that were not looked at with them.
    A group is of one process: none of it is such to another."""
    now = datetime.now(UTC)
    times = {"now": _text(now), "since": _text(now - WINDOW)}
    rows = [(position, pieces, times | _row(pieces)) for position, pieces in sent]
    others: dict[str, int] = {}
    for _, pieces, row in sorted(rows, key=lambda each: each[1].read_to):
        if pieces.agent_id not in others:
            newest = connection.execute(OTHERS, row).fetchone()
            others[pieces.agent_id] = newest[0] if newest is not None else 0
    connection.executemany(ADD, [row for _, _, row in rows])
    connection.executemany(PRUNE, [row for _, pieces, row in rows if pieces.is_pruning])
    return {position for position, pieces, _ in rows if others[pieces.agent_id] > pieces.read_to}


def _row(sent: SentPieces) -> dict[str, str | bytes | int]:
    return {
        "agent": sent.agent_id,
        "person": sent.person_id,
        "process": sent.process.hex,
        "read_to": sent.read_to,
        "sealed": sent.sealed,
        "most": MOST_ROWS,
    }


def _text(at: datetime) -> str:
    """As Django stores it: UTC without offset."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
