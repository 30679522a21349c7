"""The snapshot that screens look at: one per epoch, kept by the pages process."""

from threading import Lock

from django.db import connection

from governance.snapshot import Snapshot
from governance.snapshot_builder import build_snapshot, read_epoch

_building = Lock()
_kept: dict[str, Snapshot] = {}
"""Database -> its latest snapshot."""


def current_snapshot() -> Snapshot:
    """Fresh to the epoch. Inside a transaction its own state counts, which nobody else may see.

    Raises django.db.Error when the database is away.
    """
    if connection.in_atomic_block:
        return build_snapshot()
    database = str(connection.settings_dict["NAME"])
    snapshot = _of_this_epoch(database)
    if snapshot is None:
        with _building:
            snapshot = _of_this_epoch(database) or build_snapshot()
            _kept[database] = snapshot
    return snapshot


def _of_this_epoch(database: str) -> Snapshot | None:
    snapshot = _kept.get(database)
    return snapshot if snapshot is not None and snapshot.epoch == read_epoch() else None
