"""What every destination of evidence is to the export loop: something that takes records in order and confirms them.

A sink knows one destination's protocol and nothing of cursors, retries or the database. It is used by one thread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import httpx


@dataclass(frozen=True, slots=True)
class Record:
    """One leaf, ready to be sent: `body` is the event in the sink's format, one JSON object or one CEF line, without
    a newline. A checkpoint travels the same way, alone in its batch: then `index` is the size of the log."""

    index: int
    event_id: UUID
    at: datetime
    body: bytes
    is_checkpoint: bool = False
    org: str = ""


class Sink(Protocol):
    """`max_bytes` counts the bodies of one `send`, uncompressed."""

    max_records: int
    max_bytes: int

    def send(self, records: Sequence[Record]) -> None:
        """Returns once the destination has positively acknowledged all of them. Raises SinkFailure."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WayOut:
    """How a sink reaches the network: only addresses that this installation may go to.

    `http` builds a client (keyword arguments as those of httpx.Client) that follows no redirect and no proxy of the
    environment. `addresses` resolves and judges a host for libraries that connect by themselves; it raises Refused
    for an address out of bounds and Unreachable for a name that is not known.
    """

    http: Callable[..., httpx.Client]
    addresses: Callable[[str, int], Sequence[str]]


Build = Callable[[Mapping[str, Any], str | None, WayOut], Sink]
"""Of checked settings and the secret's value. Connects lazily: what fails on the way is told by `send`."""

Check = Callable[[Mapping[str, Any]], None]
"""Raises ValueError whose message begins with the name of the field: `url: must begin with https://`."""


class SinkFailure(Exception):
    """The message is safe for an administrator to read: never a secret, never more than a line of what came back."""


class Throttled(SinkFailure):
    """429, 503: wait, and never give up. `retry_after` is in seconds, as the destination asked."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(SinkFailure):
    """401, 403, a wrong token: pause and tell a human, no hammering."""


class Poisoned(SinkFailure):
    """400, 413: a record that the destination does not take. Those before `position` in the batch were taken; None if
    it did not say which it was, and nothing was taken."""

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class Unreachable(SinkFailure):
    """The network, or an answer that says nothing: retry with backoff."""
