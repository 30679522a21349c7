"""One immutable record as a typed value, and the exact bytes of it that get hashed."""

import os
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, SafeUUID

import orjson

from audit.values import per_call

TAILS_AT_A_TIME: Final = 256


class _Newest:
    """Moment of the newest id of this process, in 4096ths of a millisecond."""

    ticks = 0


class _Tails:
    """Random bits of ids that are not used yet: each draw is a system call, so many are drawn at once. Threads may
    share them, as no two get the same; a forked child draws its own."""

    left: Iterator[int] = iter(())

    @classmethod
    def draw(cls) -> int:
        """64 bits."""
        for tail in cls.left:
            return tail
        fresh = iter(array("Q", os.urandom(8 * TAILS_AT_A_TIME)))
        tail = next(fresh)
        cls.left = fresh
        return tail

    @classmethod
    def forget(cls) -> None:
        cls.left = iter(())


os.register_at_fork(after_in_child=_Tails.forget)


def uuid7(now_ms: int | None = None) -> UUID:
    """Time-ordered id (RFC 9562 sections 5.7 and 6.2, method 3): 48 bits of Unix milliseconds, 12 bits of the fraction
    of the millisecond (steps of 244 ns), the rest random. Ids that one machine makes one after the other sort that way.

    A process whose clock is set back stays at its newest moment: recovery looks for what it left open from its oldest
    open id on.
    """
    if now_ms is None:
        _Newest.ticks = ticks = max(_Newest.ticks, time.time_ns() * 4096 // 1_000_000)
    else:
        ticks = now_ms << 12 | int.from_bytes(os.urandom(2)) & 0xFFF
    moment = ticks >> 12 << 16 | 0x7000 | ticks & 0xFFF
    return _as_uuid(moment << 64 | 1 << 63 | _Tails.draw() & (1 << 62) - 1)


def _as_uuid(number: int) -> UUID:
    """What `UUID(int=number)` makes, at a third of its cost: every call makes several."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", number)
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made


def first_id_at(at: datetime) -> UUID:
    """The smallest id an event of that moment can have: a moment is a place in the primary key."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80)


@per_call
class AuditEvent:
    """Who, what, when, why and with which outcome. Actors are text: evidence outlives what it describes.

    `kind` is `<subject>.<past event>`, e.g. call.intent, call.outcome, call.refused, tools.listed,
    governance.changed, offboarding.completed. `decided_epoch` is the epoch of the snapshot that decided. `session`
    is the run of an agent that it belongs to, if it does to one.
    """

    kind: str
    at: datetime
    actor: str
    id: UUID = field(default_factory=uuid7)
    call_id: UUID | None = None
    agent: str = ""
    person: str = ""
    connector: str = ""
    tool: str = ""
    decision: str = ""
    outcome: str = ""
    process_id: UUID | None = None
    session: UUID | None = None
    decided_epoch: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    payload_commitment: bytes = b""

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("evidence needs a time with its zone")

    def header(self) -> bytes:
        """The bytes a leaf commits to: JSON with sorted keys, RFC 3339 times, hex for bytes."""
        return orjson.dumps(
            {
                "actor": self.actor,
                "agent": self.agent,
                "at": self.at,
                "call_id": self.call_id,
                "connector": self.connector,
                "decided_epoch": self.decided_epoch,
                "decision": self.decision,
                "details": self.details,
                "id": self.id,
                "kind": self.kind,
                "outcome": self.outcome,
                "payload_commitment": self.payload_commitment.hex(),
                "person": self.person,
                "process_id": self.process_id,
                "session": self.session,
                "tool": self.tool,
            },
            option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z,
        )


def leaf_entry(epoch: int, header: bytes) -> bytes:
    """What a leaf hashes: the epoch of the commit (8 bytes, big-endian) before the header."""
    return epoch.to_bytes(8, "big", signed=True) + header
