"""The supervisor as its own process, over small children that write down their pids."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUPERVISOR = """
import sys
from pathlib import Path
from gateway import supervisor

supervisor.ORPHAN_GRACE_SECONDS = 1.0
folder, names = Path(sys.argv[1]), sys.argv[3:]

def overdue():
    file = folder / "overdue"
    return int(file.read_text()) if file.exists() else None

parts = [supervisor.Part(name, (sys.executable, "-S", str(folder / "child.py"), name)) for name in names]
sys.exit(supervisor.Supervisor(parts, drain_seconds=float(sys.argv[2]), overdue=overdue).run())
"""
CHILD = """
import os, signal, subprocess, sys, time
from pathlib import Path

name = sys.argv[1]
if name == "stubborn":
    signal.signal(signal.SIGTERM, lambda *_: Path(__file__).with_name("told to end").touch())
if name == "parent":
    grandchild = subprocess.Popen(["sleep", "300"])
    Path(__file__).with_name("grandchild").write_text(str(grandchild.pid))
with Path(__file__).with_name(name).open("a") as file:
    file.write(f"{os.getpid()}\\n")
if name == "crashing":
    sys.exit(3)
time.sleep(300)
"""


class Run:
    def __init__(self, folder: Path, *names: str, drain_seconds: float) -> None:
        self.folder = folder
        (folder / "child.py").write_text(CHILD)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(folder), str(drain_seconds), *names],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )

    def pids(self, name: str) -> list[int]:
        file = self.folder / name
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    def started(self, name: str, times: int = 1) -> int:
        """The pid of the latest start, once it has started so often."""
        eventually(lambda: len(self.pids(name)) >= times)
        return self.pids(name)[-1]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*names: str, drain_seconds: float = 3.0) -> Run:
        runs.append(Run(tmp_path, *names, drain_seconds=drain_seconds))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.communicate()


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Ended; a zombie that nobody has waited for counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return status.stdout.strip()[:1] in {"", "Z"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_children_and_grandchildren(supervise, number):
    run = supervise("plain", "parent")
    children = [run.started("plain"), run.started("parent")]
    run.process.send_signal(number)
    assert run.process.wait(30) == 0
    eventually(lambda: all(is_gone(pid) for pid in [*children, *run.pids("grandchild")]))


def test_a_child_that_ignores_sigterm_is_killed_after_the_drain(supervise):
    run = supervise("stubborn")
    pid = run.started("stubborn")
    run.process.terminate()
    assert run.process.wait(30) == 1
    assert is_gone(pid)


def test_a_second_signal_cuts_the_drain_short(supervise):
    run = supervise("stubborn", drain_seconds=300.0)
    run.started("stubborn")
    run.process.terminate()
    eventually((run.folder / "told to end").exists)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(60) == 1


def test_children_end_when_the_supervisor_is_killed(supervise):
    run = supervise("plain", "parent", "stubborn")
    children = [run.started(name) for name in ("plain", "parent", "stubborn")]
    run.process.kill()
    eventually(lambda: all(is_gone(pid) for pid in [*children, *run.pids("grandchild")]))


def test_a_killed_child_starts_again(supervise):
    run = supervise("plain")
    os.kill(run.started("plain"), signal.SIGKILL)
    assert not is_gone(run.started("plain", times=2))


def test_a_child_that_keeps_crashing_is_started_ever_more_slowly(supervise):
    run = supervise("crashing")
    run.started("crashing", times=4)
    run.process.terminate()
    _, errors = run.process.communicate(timeout=30)
    waits = [float(line.rsplit(b" ", 2)[1]) for line in errors.splitlines() if b"status 3" in line]
    assert waits == sorted(waits)
    assert waits[2] >= 4 * waits[0]


def test_a_child_that_holds_the_write_lock_too_long_is_killed_and_only_a_child(supervise):
    run = supervise("plain")
    pid = run.started("plain")
    (run.folder / "overdue").write_text(str(os.getpid()))
    time.sleep(0.5)
    assert not is_gone(pid)
    (run.folder / "overdue").write_text(str(pid))
    assert run.started("plain", times=2) != pid
    assert is_gone(pid)
