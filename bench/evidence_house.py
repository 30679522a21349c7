"""The installation whose evidence is measured: its processes, and the lines that are printed of it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.end_to_end.installation import REPOSITORY, Installation

SEAL_SECONDS = 300.0


@dataclass
class Table:
    """Lines of a figure, what it was, and what it should be."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, name: str, value: str, bar: str = "") -> None:
        self.rows.append((name, value, bar))
        print(f"{name:58} {value:>34}   {bar}", flush=True)


@contextmanager
def part(house: Installation, *words: str) -> Iterator[int]:
    """A long-lived part of the installation; its pid."""
    environment = house.environment | {"PYTHONPATH": str(REPOSITORY)}
    with (house.folder / f"part-{words[0]}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *words], env=environment, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def child(house: Installation, *words: str, told: str = "") -> dict[str, Any]:
    """What `bench.evidence_child` says, run as a process of the installation; `told` is what it reads."""
    environment = house.environment | {"PYTHONPATH": str(REPOSITORY)}
    argv = [sys.executable, "-m", "bench.evidence_child", *words]
    done = subprocess.run(argv, input=told, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def settle(house: Installation) -> None:
    """Until all is sealed and signed."""
    deadline = time.monotonic() + SEAL_SECONDS
    while time.monotonic() < deadline:
        [(waiting,)] = house.sql("SELECT count(*) FROM audit_pending")
        [(leaves,)] = house.sql("SELECT count(*) FROM audit_leaf")
        [(signed,)] = house.sql("SELECT coalesce(max(size), 0) FROM audit_checkpoint")
        if not waiting and leaves == signed:
            return
        time.sleep(0.2)
    sys.exit("The sequencer does not come to an end.")


def leaves_of(house: Installation) -> int:
    [(leaves,)] = house.sql("SELECT count(*) FROM audit_leaf")
    return int(leaves)


def holding(house: Installation, leaves: int) -> None:
    """At least so many, recorded now if need be."""
    while leaves_of(house) < leaves:
        child(house, "record", "5", "0")
        settle(house)
