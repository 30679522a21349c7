"""What the group commit on SQLite keeps of pieces: as `postgresql_pieces.sql`, which says what it means."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.commit.entry import SentPieces
from gateway.commit.sent_rows import SentRow, rows_of

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


def keep_pieces(connection: sqlite3.Connection, sent: list[tuple[int, SentPieces]]) -> set[int]:
    """Which of them, by position in the group, other processes have sent some before that were not looked at with them.
    A group is of one process: none of it is such to another."""
    now = datetime.now(UTC)
    times = {"now": _text(now), "since": _text(now - WINDOW)}
    others: dict[str, int] = {}
    for _, pieces in sorted(sent, key=lambda each: each[1].read_to):
        if pieces.agent_id not in others:
            asked = {"agent": pieces.agent_id, "process": pieces.process.hex, "read_to": pieces.read_to, **times}
            newest = connection.execute(OTHERS, asked).fetchone()
            others[pieces.agent_id] = newest[0] if newest is not None else 0
    rows = rows_of(sent)
    connection.executemany(ADD, [_row(row) | times for row in rows])
    pruned = [{"agent": row.members[0][1].agent_id, "most": MOST_ROWS} for row in rows if row.is_pruning]
    connection.executemany(PRUNE, pruned)
    return {position for position, pieces in sent if others[pieces.agent_id] > pieces.read_to}


def _row(row: SentRow) -> dict[str, str | bytes]:
    _, sent = row.members[0]
    return {
        "agent": sent.agent_id,
        "person": sent.person_id,
        "process": sent.process.hex,
        "sealed": row.sealed,
    }


def _text(at: datetime) -> str:
    """As Django stores it: UTC without offset."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
