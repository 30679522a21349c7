"""Refusals that come in floods: the first is evidence of its own, what follows within seconds only counts."""

from collections import Counter
from datetime import datetime
from typing import Final
from uuid import UUID

from audit.event import AuditEvent
from gateway import refusals
from gateway.commit.entry import Entry
from gateway.refusals import Refusal

IN_FLOODS: Final = (
    refusals.RATE_LIMITED,
    refusals.CROWDED,
    refusals.OVER_SHARE,
    refusals.WAITING,
    refusals.TOO_MANY_APPROVALS,
    refusals.APPROVAL_REFUSED_FOR_NOW,
)
KINDS_OF_ONE_SUM: Final = 1000

Key = tuple[str, str, str, str, str]
"""Reason, agent, person, tool, limit."""


class RefusalSums:
    """Those of one process since the last taking."""

    def __init__(self) -> None:
        self._first: set[Key] = set()
        self._again: Counter[Key] = Counter()

    def is_repeated(self, refusal: Refusal) -> bool:
        """Notes the refusal; False for one that must be recorded itself. That a call waits is recorded when humans are
        asked."""
        if refusal.reason not in IN_FLOODS:
            return False
        facts = refusal.facts
        names = (str(facts.get(name, "")) for name in ("agent", "person", "tool", "limit"))
        key: Key = (refusal.reason.code, *names)  # type: ignore[assignment]  # four names
        if key not in self._first and refusal.reason is not refusals.WAITING:
            if len(self._first) < KINDS_OF_ONE_SUM:
                self._first.add(key)
                return False
            key = (refusal.reason.code, "others", "", "", "")
        self._again[key] += 1
        return True

    def take(self, *, now: datetime, process_id: UUID) -> Entry | None:
        """Forgets all; None when nothing was refused twice."""
        self._first.clear()
        if not self._again:
            return None
        counted, self._again = self._again, Counter()
        names = ("reason", "agent", "person", "tool", "limit")
        rows = [dict(zip(names, key, strict=True)) | {"count": count} for key, count in counted.most_common()]
        event = AuditEvent(
            kind="calls.refused_again",
            at=now,
            actor="system:gateway",
            decision="deny",
            outcome="refused",
            process_id=process_id,
            details={"total": counted.total(), "refusals": rows},
        )
        return Entry(event)
