"""Several counters at once, in a database where commits are real."""

from datetime import UTC, datetime
from threading import Thread

import pytest
from django.db import connection

from audit import tally
from audit.checkpoint import Signer
from audit.event import AuditEvent
from audit.models import CallTally
from audit.record import record
from audit.tally import count_new_calls
from tests.audit.writing import seal
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)

pytestmark = pytest.mark.database


@pytest.mark.usefixtures("fresh_database")
def test_each_leaf_counts_once(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "PAGE", 3)
    now = datetime.now(UTC)
    for _ in range(40):
        record(AuditEvent("call.refused", now, "agent:x", agent="x", decision="deny", outcome="refused"))
    seal(signer, now=now)
    counters = [Thread(target=_count) for _ in range(3)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
    count_new_calls()
    assert sum(CallTally.objects.values_list("calls", flat=True)) == 40


def _count() -> None:
    try:
        count_new_calls()
    finally:
        connection.close()
