"""How fast each kind of sink catches up with the log, over a receiver of its kind in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.evidence_house import Table, child, holding
from bench.evidence_receivers import FAKES, RECEIVERS
from bench.processes import cpu_seconds
from tests.end_to_end.installation import Installation

RECORDS = 50_000
LATE_SECONDS = 0.05


def measure_sinks(house: Installation, table: Table) -> None:
    holding(house, RECORDS)
    for kind in RECEIVERS:
        _measure(house, table, kind, late=0)
    for kind in FAKES:
        _measure(house, table, kind, late=LATE_SECONDS)


def _measure(house: Installation, table: Table, kind: str, *, late: float) -> None:
    with _receiving(kind, late) as (reached, pid):
        before = cpu_seconds(pid)
        told = child(house, "sink", kind, str(RECORDS), told=reached)
        theirs = cpu_seconds(pid) - before
    ending = f", answers after {late * 1000:.0f} ms" if late else ""
    table.add(f"export catch-up, {kind}{ending}", f"{RECORDS / told['seconds']:,.0f} events/s", ">= 5,000")
    shares = f"{told['cpu'] / RECORDS * 1e6:.0f}, {theirs / RECORDS * 1e6:.0f} µs"
    table.add("  processor time of a record: the sink's, the receiver's", shares)


@contextmanager
def _receiving(kind: str, late: float) -> Iterator[tuple[str, int]]:
    """How it is reached, as it says, and its pid."""
    argv = [sys.executable, "-m", "bench.evidence_receivers", kind, str(late)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline(), process.pid
