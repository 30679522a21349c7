"""What processes and the machine use, from /proc (Linux)."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 15
LOG_TAIL = 2000


class StartFailed(Exception):
    """A process ended, or never answered; the text holds the end of its log."""


@contextmanager
def running(
    argv: Sequence[str], *, folder: Path, environment: Mapping[str, str], inherit: Sequence[int] = ()
) -> Iterator[int]:
    """The pid of a process that ends with the block; its output is in `log` of the folder."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment, pass_fds=inherit, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def log_tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-LOG_TAIL:]


def has_ended(pid: int) -> bool:
    """Also true of a child that nobody has waited for."""
    fields = _fields(pid)
    return not fields or fields[0] == "Z"


def parent_of(pid: int) -> int:
    return int(_fields(pid)[1])


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    parents = {int(name): _fields(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    found = [pid]
    for ancestor in found:
        found += [child for child, fields in parents.items() if fields and int(fields[1]) == ancestor]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree, and of its children that ended and were waited for."""
    every = [_fields(member) for member in tree(pid)]
    return sum(int(ticks) for fields in every for ticks in fields[11:15]) / TICKS_A_SECOND


def memory_mib(pid: int) -> float:
    """PSS: what is shared counts in shares."""
    kib = 0
    for member in tree(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
            kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def machine_seconds() -> tuple[float, float]:
    """CPU seconds of all cores since boot: in all, and not idle."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    return sum(ticks) / TICKS_A_SECOND, (sum(ticks) - ticks[3] - ticks[4]) / TICKS_A_SECOND


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat after the command's name, from the state on; empty once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
