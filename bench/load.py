"""One cell: a closed loop against one target, every answer checked, and what the target used meanwhile."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import cpu_seconds, machine_seconds, memory_mib

FOLDER = Path(__file__).resolve().parent
LARGE_BYTES = 16 * 1024
GRACE_SECONDS = 60


class DriverFailed(Exception):
    """The driver itself broke; what it said."""


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    origin: str
    path: str
    pid: int
    """Of the process, or of the parent of the processes, whose CPU and memory count."""
    token: str = field(default="", repr=False)
    server_pid: int | None = None
    """Of the database server, when it is one on this machine."""
    cold_start_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    payload: str
    in_flight: int

    @property
    def filler(self) -> str:
        return "x" * LARGE_BYTES if self.payload == "large" else ""


@dataclass(frozen=True, slots=True)
class Row:
    target: str
    payload: str
    in_flight: int
    calls_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    first_error: str
    cpu_ms: float
    """Of the target's processes, per good answer."""
    server_cpu_ms: float | None
    """The same of the database server."""
    memory_mib: float
    cold_start_seconds: float | None
    foreign_share: float
    """Of the machine's CPU, what went to processes that are no part of the measurement."""


@dataclass(frozen=True, slots=True)
class Meter:
    """CPU seconds so far."""

    target: float
    server: float
    harness: float
    capacity: float
    busy: float

    @classmethod
    def read(cls, target: Target, upstream: Target) -> "Meter":
        server = cpu_seconds(target.server_pid) if target.server_pid else 0.0
        return cls(cpu_seconds(target.pid), server, _harness_seconds(target, upstream), *machine_seconds())

    def since(self, earlier: "Meter") -> "Meter":
        names = ("target", "server", "harness", "capacity", "busy")
        return Meter(*(getattr(self, name) - getattr(earlier, name) for name in names))

    @property
    def foreign_share(self) -> float:
        return max(0.0, self.busy - self.target - self.server - self.harness) / self.capacity


def _harness_seconds(target: Target, upstream: Target) -> float:
    own = sum(os.times()[:4])
    return own if target.pid == upstream.pid else own + cpu_seconds(upstream.pid)


def measure(target: Target, cell: Cell, upstream: Target, *, seconds: float) -> Row:
    before = Meter.read(target, upstream)
    words = _drive(target, cell, seconds=seconds).split(maxsplit=6)
    used = Meter.read(target, upstream).since(before)
    elapsed, good, bad, p50_ms, p99_ms = float(words[1]), int(words[2]), int(words[3]), *map(float, words[4:6])
    return Row(
        target=target.name,
        payload=cell.payload,
        in_flight=cell.in_flight,
        calls_per_second=good / elapsed,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        errors=bad,
        first_error=words[6] if len(words) > 6 else "",
        cpu_ms=1000 * used.target / max(good, 1),
        server_cpu_ms=1000 * used.server / max(good, 1) if target.server_pid else None,
        memory_mib=memory_mib(target.pid),
        cold_start_seconds=target.cold_start_seconds,
        foreign_share=used.foreign_share,
    )


def _drive(target: Target, cell: Cell, *, seconds: float) -> str:
    """The driver's one line of results: `BENCH seconds good bad p50_ms p99_ms first bad answer`."""
    environment = {"BENCH_PATH": target.path, "BENCH_TOKEN": target.token, "BENCH_FILLER": cell.filler}
    argv = [sys.executable, "-m", "bench.driver", target.origin, str(cell.in_flight), str(seconds)]
    if wrk := shutil.which("wrk"):
        amount = ["-t1", f"-c{cell.in_flight}", f"-d{seconds:.0f}s", "--timeout", "10s"]
        argv = [wrk, *amount, "-s", str(FOLDER / "call.lua"), target.origin]
    limit = seconds + GRACE_SECONDS
    done = subprocess.run(
        argv,
        env=os.environ | environment,
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("BENCH ")]
    if done.returncode or not lines:
        raise DriverFailed(f"{argv[0]}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return lines[0]
