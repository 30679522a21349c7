"""One message of a directory at work, and what all that follows from it shares."""

import secrets
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from governance.facts import Recorder
from governance.models import Directory, User
from governance.offboarding import Plan

MANY = 5_000
"""Rows named in one statement: databases bound how many values it may have."""

Value = TypeVar("Value")


class NameTaken(Exception):
    """Another live row of this directory has the name."""


class UnknownMember(Exception):
    """A group shall get somebody whom the directory has not brought yet; it may send this again when it has."""


@dataclass(slots=True)
class Sync:
    """Inside the transaction of one message. `end` offboards a person within it, `alert` tells people that something
    waits for them; `changes` is what the message's own record will say."""

    directory: Directory
    by: str
    record: Recorder
    now: datetime
    end: Callable[[User, Plan], None]
    alert: Callable[[Directory, int], None]
    changes: list[dict[str, Any]] = field(default_factory=list)

    def note(self, what: str, **details: Any) -> None:
        self.changes.append({"what": what, **details})


def new_id(now: datetime) -> UUID:
    """A UUID that sorts by its time (RFC 9562, version 7): pages of a list stay as they are while rows are added."""
    moment = int(now.timestamp() * 1000) << 16 | 0x7000 | secrets.randbits(12)
    return UUID(int=moment << 64 | 1 << 63 | secrets.randbits(62))


def folded(text: str) -> str:
    """As names are compared: whatever the case, and however accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def in_parts(values: Iterable[Value], size: int = MANY) -> Iterator[Sequence[Value]]:
    left = iter(values)
    while part := list(islice(left, size)):
        yield part
