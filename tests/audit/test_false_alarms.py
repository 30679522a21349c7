"""How often a rule was wrong, and how sure that is."""

import pytest

from audit.false_alarms import rates, wilson
from audit.models import FindingGroup
from tests.audit.writing import NOON

pytestmark = pytest.mark.django_db


def a_finding(number: int, verdict: str = "", rule: str = "generic_secret") -> None:
    FindingGroup.objects.create(
        id=f"00000000-0000-0000-0000-{number:012}",
        rule=rule,
        kind="secret",
        fingerprint=str(number),
        records=2,
        verdict=verdict,
        first_at=NOON,
        last_at=NOON,
    )


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (3, 10, 0.108, 0.603), (50, 100, 0.404, 0.596)],
    ids=["none", "no-hit", "all", "few", "many"],
)
def test_the_range_is_wilsons(hits: int, total: int, low: float, high: float) -> None:
    assert wilson(hits, total) == pytest.approx((low, high), abs=0.001)


def test_only_what_was_judged_counts() -> None:
    for number, verdict in enumerate(("true", "true", "true", "false", "", "")):
        a_finding(number, verdict)
    a_finding(9, rule="unjudged")
    generic, unjudged = rates()
    assert (generic.true, generic.false, generic.open, generic.records) == (3, 1, 2, 12)
    assert generic.in_words == "25% (1 of 4; 5% to 70%)"
    assert (unjudged.share, unjudged.in_words) == (None, "none judged")
    assert [rate.rule for rate in rates("unjudged")] == ["unjudged"]
