"""Which session a record belongs to: the run of one agent, for one person.

An MCP session where the client has one; else the trace that the client says it is in; else the hour of the agent's
activity, so that every process gives the same answer without asking anybody. Nobody can get into another agent's
session, whatever ids its client makes up: the agent and the person are part of the name.
"""

import re
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final
from uuid import UUID

from gateway.call import Call, Frame

HOUR_MS: Final = 3_600_000
TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
NO_TRACE: Final = "0" * 32
VERSION_8: Final = 0x8 << 76 | 0x2 << 62
NOT_OF_THE_HASH: Final = 0xF << 76 | 0x3 << 62


def session_of(call: Call) -> UUID:
    """All records of a call are of the hour in which it was asked for."""
    caller = call.caller
    return session_in(call.frame, caller.agent.name, caller.person.email, call.id.int >> 80)


def session_at(frame: Frame, agent: str, person: str, at: datetime) -> UUID:
    """For what is no call, or became none."""
    return session_in(frame, agent, person, int(at.timestamp() * 1000))


def session_in(frame: Frame, agent: str, person: str, asked_ms: int) -> UUID:
    if frame.session_id:
        return _named("mcp", agent, person, frame.session_id)
    found = TRACEPARENT.fullmatch(frame.trace.get("traceparent", "")) if frame.trace else None
    if found is not None and found[1] != NO_TRACE:
        return _named("trace", agent, person, found[1])
    return _named("hour", agent, person, str(asked_ms // HOUR_MS))


@lru_cache(maxsize=1024)
def _named(kind: str, agent: str, person: str, run: str) -> UUID:
    """A UUID of version 8 (RFC 9562 section 5.8)."""
    digest = sha256("\0".join((kind, agent, person, run)).encode("utf-8", "surrogatepass")).digest()
    return UUID(int=int.from_bytes(digest[:16]) & ~NOT_OF_THE_HASH | VERSION_8)
