"""How often each rule of inspection was wrong, as far as humans have said: of the findings they judged, the share that
was a false alarm, with the range in which the true share lies (Wilson, 95 %)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from django.db.models import Count, Q, Sum

from audit.models import FindingGroup

CERTAINTY: Final = 1.959964
"""Standard deviations of 95 %."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one rule. A finding is one value at one tool, however often it was seen."""

    rule: str
    kind: str
    true: int
    false: int
    open: int
    records: int
    excepted: int

    @property
    def judged(self) -> int:
        return self.true + self.false

    @property
    def share(self) -> float | None:
        """None while nobody has judged any."""
        return self.false / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.false, self.judged)

    @property
    def in_words(self) -> str:
        """With its counts: a share of three says little."""
        if not self.judged:
            return "none judged"
        low, high = self.interval
        share = self.false / self.judged
        return f"{share:.0%} ({self.false} of {self.judged}; {low:.0%} to {high:.0%})"

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        counts = {"true": self.true, "false": self.false, "open": self.open, "records": self.records}
        return {
            "rule": self.rule,
            "kind": self.kind,
            **counts,
            "excepted": self.excepted,
            "false_alarms": self.share,
            "interval": [low, high],
        }


def wilson(hits: int, total: int) -> tuple[float, float]:
    """(0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    share, squared = hits / total, CERTAINTY**2 / total
    middle = (share + squared / 2) / (1 + squared)
    reach = CERTAINTY * sqrt(share * (1 - share) / total + squared / total / 4) / (1 + squared)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def rates(*rules: str) -> Iterator[Rate]:
    """By name: of these rules, or of all that ever found anything."""
    groups = FindingGroup.objects.filter(rule__in=rules) if rules else FindingGroup.objects.all()
    totals = groups.order_by("rule", "kind").values("rule", "kind")
    for row in totals.annotate(
        true=Count("id", filter=Q(verdict=FindingGroup.TRUE)),
        false=Count("id", filter=Q(verdict=FindingGroup.FALSE)),
        open=Count("id", filter=Q(verdict="")),
        all=Sum("records"),
        without=Sum("excepted"),
    ):
        yield Rate(
            rule=row["rule"],
            kind=row["kind"],
            true=row["true"],
            false=row["false"],
            open=row["open"],
            records=row["all"],
            excepted=row["without"],
        )
