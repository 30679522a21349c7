"""What a stage asks the group commit to make durable, and the answer."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

from audit.event import AuditEvent
from audit.record import SealedPayload


class Verdict(Enum):
    COMMITTED = "0"
    STALE = "1"
    """Something the decision rests on changed, or its time ran out: nothing was recorded, decide again."""
    DUPLICATE = "2"
    """The call already has a record of this kind, e.g. recovery closed it first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record. With a `read_set` it passes the fence: it commits only while that is still as decided."""

    event: AuditEvent
    payload: SealedPayload | None = field(default=None, repr=False)
    read_set: frozenset[str] | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """`epoch` is the one the fence saw; `at_ns` is CLOCK_BOOTTIME when COMMIT returned."""

    verdict: Verdict
    epoch: int
    at_ns: int


class EvidenceUnavailable(Exception):
    """The record is not known to be durable: no call, no answer."""


class RecordRefused(Exception):
    """The database refuses this record itself, e.g. for its data; its group is not to blame."""


class Backend(Protocol):
    """One connection that commits groups, one at a time."""

    async def commit(self, group: list[Entry]) -> list[Committed]:
        """All or none. Raises EvidenceUnavailable or RecordRefused."""

    async def intents_among(self, call_ids: list[UUID]) -> set[UUID]:
        """Which of these calls have an intent and no outcome. Raises EvidenceUnavailable."""

    async def close(self) -> None: ...
