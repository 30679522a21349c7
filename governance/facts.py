"""How governance tells evidence what was done, without knowing who keeps it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """One act of a human or the system, e.g. Fact("key.issued", "agent:triage-bot", {"key_id": ...}).

    Rows that change are recorded with before and after by database triggers; a fact says what the act was.
    """

    kind: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)


Recorder = Callable[[Fact], None]
"""Keeps a fact in the caller's transaction."""
