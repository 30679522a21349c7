"""A Celery broker in one SQLite file, for the installation that has no Redis.

Kombu's own SQLAlchemy transport keeps every delivered message for ever, and its filesystem transport may read
a message that is still being written. A message only wakes a worker: what must not be lost is in our tables.
"""

import json
import sqlite3
import threading
from queue import Empty
from typing import Any

from kombu.transport import virtual

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, payload TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS message_queue ON message (queue, id);
"""
TAKE = """
DELETE FROM message WHERE id = (SELECT id FROM message WHERE queue = ? ORDER BY id LIMIT 1) RETURNING payload
"""


class Channel(virtual.Channel):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = threading.Lock()
        self._file = self._open()

    def _open(self) -> sqlite3.Connection:
        path = self.connection.client.transport_options["path"]
        file = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=NORMAL")
        file.executescript(SCHEMA)
        return file

    def _rows(self, statement: str, *values: str) -> list[Any]:
        with self._guard:
            return self._file.execute(statement, values).fetchall()

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        self._rows("INSERT INTO message (queue, payload) VALUES (?, ?)", queue, json.dumps(message))

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """Looks before it takes, so that an idle worker never asks for the write lock."""
        if not self._size(queue):
            raise Empty
        taken = self._rows(TAKE, queue)
        if not taken:
            raise Empty
        return json.loads(taken[0][0])

    def _size(self, queue: str) -> int:
        return int(self._rows("SELECT count(*) FROM message WHERE queue = ?", queue)[0][0])

    def _purge(self, queue: str) -> int:
        return len(self._rows("DELETE FROM message WHERE queue = ? RETURNING id", queue))

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        self._purge(queue)

    def close(self) -> None:
        super().close()
        with self._guard:
            self._file.close()


class Transport(virtual.Transport):
    Channel = Channel
    driver_type = "sql"
    driver_name = "sqlite3"
    connection_errors: Any = (*virtual.Transport.connection_errors, sqlite3.OperationalError)

    def driver_version(self) -> str:
        return sqlite3.sqlite_version
