"""Django's SQLite backend with WAL, full durability, and the fair write lock around every write.

Two hooks take the lock, because Django writes in two ways: transactions pass `_start_transaction_under_autocommit`,
while `save()` or `update()` outside `atomic()` run a lone statement in autocommit mode and pass only the cursor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteDatabaseWrapper
from django.db.backends.sqlite3.base import SQLiteCursorWrapper
from django.db.utils import OperationalError

from governance.fence.actor import current_actor
from governance.fence.lockfile import WriteLock, WriteLockTimeout
from governance.fence.sqlite.kept import KEPT, Kept, opened_now

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "VACUUM", "REINDEX")
PATIENCE_SECONDS: Final = 5.0
"""As long as SQLite itself is told to wait. A call has less: its commit gives up before its agent does."""


def timestamp() -> str:
    """Now as Django writes it to SQLite: UTC without offset."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


class DatabaseWrapper(SQLiteDatabaseWrapper):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock: WriteLock | None = None
        self._locked = False
        self._reading = False
        self._kept: Kept | None = None

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self._kept = KEPT.take(self._file) or opened_now(self._new_connection(conn_params))
        return self._kept.connection

    def _new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.create_function("gatehouse_actor", 0, current_actor)
        connection.create_function("gatehouse_now", 0, timestamp)
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=FencedCursor)
        cursor.wrapper = self
        return cursor

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Transactions begun inside only read: they take no lock and hold up nobody."""
        self._reading = True
        try:
            yield
        finally:
            self._reading = False

    def _start_transaction_under_autocommit(self) -> None:
        if self._reading:
            self.cursor().execute("BEGIN DEFERRED")
            return
        self.lock_for_writing()
        try:
            self.cursor().execute("BEGIN IMMEDIATE")
        except BaseException:
            self.unlock()
            raise

    def _commit(self) -> None:
        try:
            super()._commit()  # type: ignore[misc]
        finally:
            self._unlock_outside_transaction()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._unlock_outside_transaction()

    def _close(self) -> None:
        try:
            if not self._is_kept_for_another():
                super()._close()  # type: ignore[misc]
        finally:
            self.unlock()
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _is_kept_for_another(self) -> bool:
        kept, self._kept = self._kept, None
        if kept is None or kept.connection is not self.connection or self.is_in_memory_db():
            return False
        return not self.in_atomic_block and not self.errors_occurred and KEPT.give(self._file, kept)

    @property
    def _file(self) -> str:
        return str(self.settings_dict["NAME"])

    def lock_for_writing(self) -> None:
        """Raises OperationalError when another process keeps the lock for PATIENCE_SECONDS."""
        if self._locked or self.is_in_memory_db():
            return
        if self._lock is None:
            self._lock = WriteLock(f"{self.settings_dict['NAME']}.lock")
        try:
            self._lock.acquire(timeout_seconds=PATIENCE_SECONDS)
        except WriteLockTimeout as error:
            raise OperationalError(str(error)) from error
        self._locked = True

    def unlock(self) -> None:
        if self._locked and self._lock is not None:
            self._lock.release()
        self._locked = False

    def _unlock_outside_transaction(self) -> None:
        if self.connection is None or not self.connection.in_transaction:
            self.unlock()


class FencedCursor(SQLiteCursorWrapper):
    wrapper: DatabaseWrapper

    def execute(self, query: str, params: Any = None) -> Any:
        with self._write_lock(query):
            return super().execute(query, params)

    def executemany(self, query: str, param_list: Any) -> Any:
        with self._write_lock(query):
            return super().executemany(query, param_list)

    @contextmanager
    def _write_lock(self, query: str) -> Iterator[None]:
        if self.connection.in_transaction or not query.lstrip("( \n\t").upper().startswith(WRITES):
            yield
            return
        self.wrapper.lock_for_writing()
        try:
            yield
        finally:
            self.wrapper._unlock_outside_transaction()
