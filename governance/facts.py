"""How governance tells evidence what was done, without knowing who keeps it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Fact:
    """One act of a human or the system, e.g. Fact("key.issued", "agent:triage-bot", {"key_id": ...}).

    Rows that change are recorded with before and after by database triggers; a fact says what the act was. `session` is
    the run of an agent that it belongs to, if it does to one, `person` on whose behalf that run is.
    """

    kind: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)
    session: UUID | None = None
    person: str = ""


Recorder = Callable[[Fact], None]
"""Keeps a fact in the caller's transaction."""
