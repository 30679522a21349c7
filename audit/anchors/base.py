"""What keeping a checkpoint elsewhere takes, and what is got for it. Whoever calls hands in the way out: nothing here
opens a connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class AnchorFailed(Exception):
    """It was not kept, or cannot be read back; the message is for administrators and holds no secret."""


class Forked(AnchorFailed):
    """What is kept there of this log, at this size, is something else: one of the two logs is not the true one."""


class Reply(Protocol):
    """What an answer must tell; header names are in lower case."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Ask(Protocol):
    """One bounded HTTP request by the house's rules for addresses. Raises AnchorFailed when there is no answer."""

    def __call__(
        self, method: str, url: str, *, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """`reference` says where it lies or when it was stamped, `proof` is what the other side signed, if it did."""

    reference: str
    proof: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint as it was read back from elsewhere."""

    where: str
    note: str
