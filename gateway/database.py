"""A gateway process's database work that is no commit of evidence: off the event loop, one piece at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connection
from django.db.utils import Error as DatabaseError

from gateway.commit.entry import EvidenceUnavailable
from gateway.snapshots import with_live_connection

Result = TypeVar("Result")


class DatabaseThread:
    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[], Result]) -> Result:
        """`work` runs twice if its connection had died, so it must bear that. Raises EvidenceUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, with_live_connection, work)
        except DatabaseError as error:
            raise EvidenceUnavailable(type(error).__name__) from error

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, _close_connection)
        self._thread.shutdown()


def _close_connection() -> None:
    """`connection` is another one in each thread, so this runs on the thread whose connection it closes."""
    connection.close()


def connection_parameters() -> dict[str, Any]:
    """The database's address for a plain psycopg connection; empty on SQLite."""
    if connection.vendor != "postgresql":
        return {}
    ours = ("cursor_factory", "context", "prepare_threshold", "connect_timeout")
    parameters = connection.get_connection_params()
    return {key: value for key, value in parameters.items() if key not in ours and value is not None}
