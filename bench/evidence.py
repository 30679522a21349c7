"""How fast evidence is recorded, sealed, exported and verified.

    python -m tests.services --durable python -m bench.evidence        # or: make bench-evidence

Each figure is told by the clock and by the processor time of the processes that did it; on a busy machine only the
second says something. The log is that of calls: an intent and an outcome each, both with a sealed body.

    record   one process commits in groups, as a gateway does, while a sequencer seals; then at the promised pace;
             then slower, with a worker that sends to a webhook and to a real S3 server with Object Lock
    export   the log is sent to a destination that takes no time, in every format
    sinks    the log is sent by each kind of sink, to a real server or to a strict fake in a process of its own
    verify   the one-file verifier over a bundle of a million leaves
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.evidence_house import Table, child, leaves_of, part, settle
from bench.evidence_sinks import measure_sinks
from bench.processes import cpu_seconds
from tests.end_to_end.installation import Installation
from tests.object_store import ACCESS_KEY, SECRET_KEY, object_store

PARTS = ("record", "seal", "lag", "store", "export", "sinks", "verify")
PROMISED = 8_000
"""Events a second that must be committed and sealed."""


def main(words: Sequence[str]) -> int:
    told = arguments(words)
    table = Table()
    admin = os.environ.get("TEST_DATABASE_URL", "")
    if not admin:
        sys.exit("No PostgreSQL here: start it as `python -m tests.services --durable python -m bench.evidence`.")
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder,
        receiver() as hook,
        Installation(Path(folder), database="postgres", postgres_url=admin) as house,
    ):
        secret = {"name": "hook-key", "kind": "bearer", "value_from": {"env": "HOOK_KEY"}}
        sink = {"name": "hook", "kind": "webhook", "url": hook, "secret": "hook-key"}
        house.apply({"secrets": [secret], "sinks": [sink]}, HOOK_KEY="a-key-of-the-bench")
        with part(house, "django", "sequencer") as sequencer:
            measures: dict[str, Callable[[], None]] = {
                "record": lambda: measure_recording(house, table, told.seconds, sequencer),
                "seal": lambda: measure_sealing(house, table, told.seconds, sequencer),
                "lag": lambda: measure_lag(house, table, told.seconds, told.pace),
                "store": lambda: measure_store(house, table, told.store_seconds, told.pace),
                "export": lambda: measure_export(house, table),
                "sinks": lambda: measure_sinks(house, table),
                "verify": lambda: measure_verifier(house, table, told.leaves),
            }
            for name in told.only:
                measures[name]()
    if told.json:
        told.json.write_text(json.dumps(table.rows, indent=1) + "\n")
    return 0


def arguments(words: Sequence[str]) -> argparse.Namespace:
    found = argparse.ArgumentParser(prog="python -m bench.evidence", description=__doc__.partition("\n")[0])
    found.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    found.add_argument("--seconds", type=int, default=15, help="length of each measurement of the recording")
    found.add_argument(
        "--store-seconds", type=int, default=150, help="for S3's lag: an object is written once a minute"
    )
    found.add_argument("--pace", type=int, default=1000, help="events a second while export's lag is measured")
    found.add_argument("--leaves", type=int, default=1_000_000, help="for the verifier")
    found.add_argument("--json", type=Path, metavar="FILE")
    return found.parse_args(words)


# -- processes


@contextmanager
def receiver() -> Iterator[str]:
    """Of a webhook; takes everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()


class _Takes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


# -- recording and sealing


def measure_recording(house: Installation, table: Table, seconds: int, sequencer: int) -> None:
    settle(house)
    before = cpu_seconds(sequencer)
    told = child(house, "record", str(seconds), "0")
    rate = told["events"] / told["seconds"]
    table.add("group commit, one process, a sequencer beside it", f"{rate:,.0f} events/s", ">= 8,000")
    table.add("  the committing process by processor time", f"{told['events'] / told['cpu']:,.0f} events/s")
    settle(house)
    used = cpu_seconds(sequencer) - before
    table.add("  sequencer by processor time", f"{told['events'] / max(used, 0.01):,.0f} events/s")
    waits = sealed_after(house)
    table.add("  sealed (under a signed checkpoint) at that rate, p50", f"{percentile(waits, 50):.2f} s")
    table.add("  p99", f"{percentile(waits, 99):.2f} s", "< 1.5 s")


def measure_sealing(house: Installation, table: Table, seconds: int, sequencer: int) -> None:
    settle(house)
    first = leaves_of(house)
    before = cpu_seconds(sequencer)
    told = child(house, "record", str(seconds), str(PROMISED))
    rate = told["events"] / told["seconds"]
    used = cpu_seconds(sequencer) - before
    settle(house)
    waits = sealed_after(house, since=first)
    table.add(f"sealed at {rate:,.0f} events/s, p50", f"{percentile(waits, 50):.2f} s")
    table.add("  p99", f"{percentile(waits, 99):.2f} s", "< 1.5 s")
    shares = f"{used / told['seconds']:.0%}, {told['cpu'] / told['seconds']:.0%} of a core"
    table.add("  sequencer, committing process meanwhile", shares)


def sealed_after(house: Installation, *, since: int = 0) -> list[float]:
    """Seconds from a record's own time to that of the checkpoint that covers it, of every hundredth record. A
    checkpoint has the time at which its pass began; it ends some tens of milliseconds later."""
    rows = house.sql(
        'SELECT l."index", e.at FROM audit_leaf l JOIN audit_event e ON e.id = l.event_id'
        ' WHERE l."index" >= %s AND l."index" %% 100 = 0 AND e.kind LIKE \'call.%%\' ORDER BY 1',
        since,
    )
    checkpoints = house.sql("SELECT size, at FROM audit_checkpoint ORDER BY size")
    waits, place = [], 0
    for index, at in rows:
        while place < len(checkpoints) and checkpoints[place][0] <= index:
            place += 1
        if place < len(checkpoints):
            waits.append(max(0.0, (checkpoints[place][1] - at).total_seconds()))
    return waits


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else float("nan")


# -- export


def measure_lag(house: Installation, table: Table, seconds: int, pace: int) -> None:
    """With a real worker, once it has caught up; the destination is a webhook of this process."""
    first = leaves_of(house)
    ages: list[float] = []
    with worker(house):
        began = time.monotonic()
        until(lambda: behind(house) == 0, seconds=300)
        table.add("worker catches up a webhook, start included", f"{first / (time.monotonic() - began):,.0f} events/s")
        with watched(house, ages):
            told = child(house, "record", str(seconds), str(pace))
    rate = told["events"] / told["seconds"]
    table.add(f"export lag to a webhook at {rate:,.0f} events/s, p50", f"{percentile(ages, 50):.2f} s")
    table.add("  p95", f"{percentile(ages, 95):.2f} s", "< 5 s")
    settle(house)
    table.add("  sealed at that rate, p99", f"{percentile(sealed_after(house, since=first), 99):.2f} s", "< 1.5 s")


def measure_store(house: Installation, table: Table, seconds: int, pace: int) -> None:
    """From a record to the moment since which it lies in the store."""
    first = leaves_of(house)
    with object_store() as store:
        bucket = store.locked_bucket("evidence")
        settings = {"bucket": bucket, "endpoint": store.url, "lock": "governance", "lock_days": 1}
        secret = {"name": "store-key", "kind": "basic", "value_from": {"env": "STORE_KEY"}}
        sink = {"name": "store", "kind": "s3", "settings": settings, "secret": "store-key"}
        house.apply({"secrets": [secret], "sinks": [sink]}, STORE_KEY=f"{ACCESS_KEY}:{SECRET_KEY}")
        ages: list[float] = []
        with worker(house):
            until(lambda: has_sent(house, first), seconds=600)
            with watched(house, ages):
                told = child(house, "record", str(seconds), str(pace))
    rate = told["events"] / told["seconds"]
    table.add(f"export lag to S3 at {rate:,.0f} events/s, p95", f"{percentile(ages, 95):.1f} s", "< 65 s")
    table.add("  longest", f"{max(ages):.1f} s")


def has_sent(house: Installation, leaves: int) -> bool:
    """Whether every sink has so many."""
    [(sinks, begun, acked)] = house.sql(
        "SELECT (SELECT count(*) FROM governance_sink), count(*), coalesce(min(acked_index), 0) FROM audit_sink_cursor"
    )
    return bool(begun >= sinks and acked >= leaves)


def behind(house: Installation) -> int:
    [(leaves, acked)] = house.sql(
        "SELECT (SELECT count(*) FROM audit_leaf), (SELECT coalesce(min(acked_index), -1) FROM audit_sink_cursor)"
    )
    return int(leaves - acked)


def worker(house: Installation) -> AbstractContextManager[int]:
    return part(house, "celery", "--quiet", "-A", "config", "worker", "--pool", "threads", "--concurrency", "2")


@contextmanager
def watched(house: Installation, ages: list[float]) -> Iterator[None]:
    """Fills `ages` as long as the block runs."""
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(house, ages, ended))
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def _watch(house: Installation, ages: list[float], ended: threading.Event) -> None:
    """The age of the oldest record, sealed or not, that has not arrived."""
    while not ended.wait(0.25):
        [(at,)] = house.sql(
            'SELECT min(e.at) FROM audit_leaf l JOIN audit_event e ON e.id = l.event_id WHERE l."index" ='
            " (SELECT min(acked_index) FROM audit_sink_cursor)"
        )
        ages.append(max(0.0, (datetime.now(UTC) - at).total_seconds()) if at else 0.0)


def until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("It never came true.")
        time.sleep(0.1)


def measure_export(house: Installation, table: Table) -> None:
    for name in ("native", "ocsf", "cef"):
        told = child(house, "export", name)
        text = f"{told['records'] / told['seconds']:,.0f} events/s"
        table.add(f"export catch-up, {name}, a destination that takes no time", text, ">= 5,000")
        table.add("  by processor time, without the database's", f"{told['records'] / told['cpu']:,.0f} events/s")


# -- the verifier


def measure_verifier(house: Installation, table: Table, leaves: int) -> None:
    target = house.folder / "bundle"
    child(house, "bundle", str(target), str(leaves))
    words = [sys.executable, "-I", "-S", str(target / "auditverify.py"), "bundle", str(target), "--key"]
    began, cpu = time.monotonic(), os.times().children_user + os.times().children_system
    done = subprocess.run(
        [*words, (target / "key.txt").read_text().strip()], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    used = os.times().children_user + os.times().children_system - cpu
    table.add(f"one-file verifier, {leaves:,} leaves", f"{seconds:.2f} s, processor {used:.2f} s", "< 5 s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
