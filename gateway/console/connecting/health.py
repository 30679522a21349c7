"""How connectors did in the last day, from the tallies that evidence is counted into."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Max, Sum

from audit.models import CallTally
from gateway.console.tallies import DENIED

WINDOW = timedelta(hours=24)
ANSWERED = ("ok", "tool_error", "input_required")
BROKEN = ("failed", "unknown")
"""By the system; what we held up or withheld ourselves says nothing of it."""


@dataclass(frozen=True, slots=True)
class Health:
    """Calls that were sent, by how they ended; a denial is our own no and no fault of the system."""

    sent: int = 0
    failed: int = 0
    denied: int = 0
    upstream_ms: float = 0.0
    slowest_ms: float = 0.0

    @property
    def error_rate(self) -> float | None:
        """In per cent; None without calls."""
        return 100 * self.failed / self.sent if self.sent else None

    @property
    def average_ms(self) -> float | None:
        answered = self.sent - self.failed
        return self.upstream_ms / answered if answered else None

    def plus(self, decision: str, outcome: str, calls: int, upstream_ms: float, slowest_ms: float) -> "Health":
        if decision == DENIED:
            return replace(self, denied=self.denied + calls)
        if outcome in BROKEN:
            return replace(self, sent=self.sent + calls, failed=self.failed + calls)
        if outcome not in ANSWERED:
            return self
        return replace(
            self,
            sent=self.sent + calls,
            upstream_ms=self.upstream_ms + upstream_ms,
            slowest_ms=max(self.slowest_ms, slowest_ms),
        )


def health_of(connectors: Iterable[str], *, now: datetime) -> dict[str, Health]:
    """Connector name -> its last 24 hours, to the hour; one query."""
    rows = CallTally.objects.filter(hour__gt=now - WINDOW, connector__in=list(connectors))
    sums = rows.values("connector", "decision", "outcome").annotate(
        calls_=Sum("calls"), ms=Sum("upstream_ms"), slowest=Max("slowest_ms")
    )
    found: dict[str, Health] = {}
    for row in sums:
        before = found.get(row["connector"], Health())
        found[row["connector"]] = before.plus(row["decision"], row["outcome"], row["calls_"], row["ms"], row["slowest"])
    return found
