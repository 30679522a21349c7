"""What a stage asks the group commit to make durable, and the answer."""

from collections.abc import Callable, Iterable
from dataclasses import field
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

from audit.event import AuditEvent
from audit.record import Row, SealedPayload, encode
from gateway.fragment_ring import Piece
from gateway.values import per_call


class Verdict(Enum):
    COMMITTED = "0"
    STALE = "1"
    """Something the decision rests on changed, or its time ran out: nothing was recorded, decide again."""
    DUPLICATE = "2"
    """The call already has a record of this kind, e.g. recovery closed it first."""
    GONE = "3"
    """What the call was to consume is not there any more: its approval was used, ended or timed out, or a grant has no
    uses left. Nothing was recorded, decide again."""
    LABELLED = "4"
    """The run has other labels than those the call was decided under. Nothing was recorded, decide again."""


@per_call
class Reach:
    """Where a call would send something, by digest, and which of it the run knew from untrusted text first."""

    digests: frozenset[str]
    untrusted: frozenset[str]


@per_call
class Mentions:
    """What a result makes known, by digest; `sent` is what its arguments said before the run met untrusted text."""

    digests: frozenset[str]
    is_trusted: bool
    sent: frozenset[str] = frozenset()


@per_call
class Run:
    """Names the run of an agent that a call belongs to, and what was known of it or is to be added."""

    agent_id: str
    session: str
    labels: frozenset[str]
    reach: Reach | None = None
    mentions: Mentions | None = None


@per_call
class SentPieces:
    """What a call is about to send that may be a piece of something; `seal` makes a row of it, and of what else of the
    agent is in its group. `read_to` is the newest row that was looked at with it, `process` whose rows need no reading.
    `is_pruning` asks for the oldest to be let go."""

    agent_id: str
    person_id: str
    process: UUID
    read_to: int
    pieces: tuple[Piece, ...] = field(repr=False)
    seal: Callable[[str, Iterable[Piece]], bytes] = field(repr=False)
    is_pruning: bool = False


@per_call
class Claim:
    """What an intent consumes: an approved request by its number and what was approved, and uses of grants."""

    approval: int | None
    call_digest: bytes
    grants: tuple[str, ...] = ()


@per_call
class Entry:
    """One record. With a `read_set` it passes the fence: it commits only while that is still as decided.

    `claim` is consumed, `seen` compared with the run's labels, `met` added to them and `sent` kept in the same
    transaction.
    """

    event: AuditEvent
    payload: SealedPayload | None = field(default=None, repr=False)
    read_set: frozenset[str] | None = None
    valid_until: datetime | None = None
    claim: Claim | None = None
    seen: Run | None = None
    met: Run | None = None
    sent: SentPieces | None = None


@per_call
class Committed:
    """`epoch` is the one the fence saw; `at_ns` is CLOCK_BOOTTIME when COMMIT returned. `is_behind` says that through
    other processes the agent has sent pieces which were not looked at with this call."""

    verdict: Verdict
    epoch: int
    at_ns: int
    is_behind: bool = False


class EvidenceUnavailable(Exception):
    """The record is not known to be durable: no call, no answer."""


class CommitUncertain(EvidenceUnavailable):
    """The commit was sent and no verdict came back: the record may be durable or not."""


class RecordRefused(Exception):
    """The database refuses this record itself, e.g. for its data; its group is not to blame."""


def encoded(group: list[Entry]) -> list[Row]:
    """Raises RecordRefused when one is not JSON or not text."""
    try:
        return [encode(entry.event) for entry in group]
    except (TypeError, ValueError) as error:
        raise RecordRefused(type(error).__name__) from error


class Backend(Protocol):
    """One connection that commits groups, one at a time."""

    async def commit(self, group: list[Entry]) -> list[Committed]:
        """One answer an entry. Raises EvidenceUnavailable (CommitUncertain unless none is durable) or RecordRefused."""

    async def intents_among(self, call_ids: list[UUID]) -> set[UUID]:
        """Which of these calls have an intent and no outcome. Raises EvidenceUnavailable."""

    async def close(self) -> None: ...
