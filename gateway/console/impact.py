"""What a change that is not saved yet would do to reach, ready to be read: the panel below forms and in previews."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.hostile_text import visible
from gateway.reach.current import current_snapshot
from governance.reach import TooMuchToTell
from governance.shifts import Danger, Difference, Shift, difference
from governance.snapshot import Snapshot

SHOWN = 12
TOO_MUCH = (
    "This looks at so many agents and tools together that it cannot be listed now. "
    "Once it is saved, each agent's page tells what that agent may use."
)
TONES = {Danger.HIGH_RISK: ("bad", "High risk"), Danger.WRITES: ("warn", "Can change data")}

Proposal = Callable[[Snapshot], Snapshot | None]
"""The present snapshot -> as it would be; None when the change is no matter of reach."""


@dataclass(frozen=True, slots=True)
class Line:
    """`word` says what the tone shows in colour."""

    text: str
    tone: str
    word: str


@dataclass(frozen=True, slots=True)
class Impact:
    """`lines` are bounded; `more` were left out. `summary` is plain text for a message."""

    lines: tuple[Line, ...] = ()
    more: int = 0
    summary: str = ""
    is_dangerous: bool = False
    problem: str = ""


def impact_of(proposal: Proposal) -> Impact | None:
    """Reads, and holds neither the fence nor the write lock. None when the change is no matter of reach."""
    before = current_snapshot()
    after = proposal(before)
    if after is None:
        return None
    try:
        return _told(difference(before, after, now=datetime.now(UTC)))
    except TooMuchToTell:
        return Impact(is_dangerous=True, problem=TOO_MUCH)


def _told(found: Difference) -> Impact:
    lines = tuple(_line(shift) for shift in found.shifts[:SHOWN])
    is_dangerous = any(shift.danger is Danger.HIGH_RISK for shift in found.shifts)
    return Impact(lines, max(0, len(found.shifts) - SHOWN), visible(found.summary()), is_dangerous)


def _line(shift: Shift) -> Line:
    """Tool names are the upstream's: every invisible character is shown."""
    plain = ("good", "More") if shift.kind.widens else ("info", "Less")
    tone, word = TONES.get(shift.danger, plain)
    return Line(visible(str(shift)), tone, word)
