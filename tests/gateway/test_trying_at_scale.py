"""A draft is tried over as many recorded calls as it ever looks at: in time, and in the memory of one page of them."""

import json
import time
import tracemalloc
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import call_command

from gateway.reach.current import current_snapshot
from gateway.trying import LONGEST, MOST_CALLS, PAGE, begin, go_on
from gateway.versions import under
from tests.gateway.test_publishing_pages import Desk, desk

__all__ = ("desk",)
pytestmark = [pytest.mark.django_db, pytest.mark.database]

FEW_PAGES = 2
MORE_BYTES = 2_000_000
"""So much more may the last page take than the first ones: examples and counts by tool, which are bounded."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("calls", [4 * PAGE, pytest.param(MOST_CALLS, marks=pytest.mark.soak)], ids=["some", "most"])
def test_many_calls_are_tried_in_time_and_flat(desk: Desk, calls: int, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(calls):
        desk.called("billing_refund", {"amount": 2 * n % 1000, "id": f"{n:x<200}"})
    draft = desk.policy_draft(desk.rule(500))
    flipped = sum(100 < 2 * n % 1000 <= 500 for n in range(calls))

    began = time.monotonic()
    out = StringIO()
    call_command("try_draft", policy="refunds", as_json=True, stdout=out)
    seconds, told = time.monotonic() - began, json.loads(out.getvalue())

    before = current_snapshot()
    trial, after = begin(before, now=datetime.now(UTC), days=7), under(draft, before)
    tracemalloc.start()
    try:
        for _ in range(FEW_PAGES):
            go_on(trial, before, after, seconds=0)
        first = tracemalloc.get_traced_memory()[1]
        while not trial.is_over and trial.looked_at < calls:
            go_on(trial, before, after, seconds=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with capsys.disabled():
        print(f"\n{calls:,} calls: {seconds:.1f} s, {first / 1e6:.1f} MB, at most {peak / 1e6:.1f} MB")

    assert (told["calls"], told["flips"]["ask_to_permit"]) == (calls, flipped)
    assert seconds < LONGEST.total_seconds()
    assert trial.looked_at > FEW_PAGES * PAGE
    assert peak - first < MORE_BYTES
