"""What a format turns into bytes: a leaf with its event, or a checkpoint, of one organisation's log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Entry:
    """`header` holds the bytes that were hashed; None when retention has pruned them and only the hash is left."""

    index: int
    hash: bytes
    event_id: UUID
    at: datetime
    epoch: int
    header: bytes | None


@dataclass(frozen=True, slots=True)
class SignedSize:
    """A checkpoint as it stands in the log."""

    size: int
    at: datetime
    note: str


Redact = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Takes from a header what the destination must not see."""
