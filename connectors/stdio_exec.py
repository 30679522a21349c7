"""Runs one program for the gateway, within limits, and sees to it that nothing of it outlives the gateway.

    python -I -S stdio_exec.py GATEWAY_PID MEMORY_MB PROGRAM [ARGUMENT...]

It stays between the gateway and the program as the one that inherits all its orphans, so that even what the program
detached from itself ends with it: when the program ends, when the gateway says so (SIGTERM), and when the gateway is
killed. It imports nothing of ours and never a shell.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, NoReturn

GRACE_SECONDS: Final = 2
"""Between asking a program to end and ending it."""
REAPING_SECONDS: Final = 5.0
OPEN_FILES: Final = 1024
PROCESSES: Final = 2048
"""Of the operating-system user in all, so it bounds a fork bomb, no more."""
NOT_RUN: Final = 127
KILLED: Final = 128
"""Added to the number of the signal that ended the program."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38


def main(words: Sequence[str]) -> int:
    gateway, memory_mb, *command = words
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _die_with(int(gateway), by=signal.SIGTERM)
    guard = os.getpid()
    program = os.fork()
    if program == 0:
        _die_with(guard, by=signal.SIGKILL)
        _become(command, memory_mb=int(memory_mb))
    return _watch(program)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        sys.exit(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _die_with(parent: int, *, by: signal.Signals) -> None:
    """The parent may be dead already: then nobody would tell us."""
    _prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(NOT_RUN)


# -- the program


def _become(command: Sequence[str], *, memory_mb: int) -> NoReturn:
    os.setsid()
    os.umask(0o077)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        _limit(memory_mb)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        os.execve(command[0], list(command), os.environ)  # noqa: S606  (that there is no shell is the point)
    except (OSError, ValueError) as error:
        os.write(2, f"gatehouse: {command[0]} cannot be run: {error}\n".encode())
    os._exit(NOT_RUN)


def _limit(memory_mb: int) -> None:
    """RLIMIT_DATA, not RLIMIT_AS: what is written to counts. Node and the JVM reserve address space by the gigabyte."""
    for limit, most in (
        (resource.RLIMIT_DATA, memory_mb * 1024 * 1024),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (bound, bound))


# -- its guard


def _watch(program: int) -> int:
    """The program's exit code, once all that it started is gone."""
    signal.signal(signal.SIGTERM, lambda *_: _ask_to_end(program))
    signal.signal(signal.SIGALRM, lambda *_: _signal_group(program, signal.SIGKILL))
    for pipe in (0, 1):
        os.close(pipe)
    while True:
        pid, status = os.wait()
        if pid == program:
            break
    signal.alarm(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_orphans()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else KILLED - code


def _ask_to_end(program: int) -> None:
    _signal_group(program, signal.SIGTERM)
    signal.alarm(GRACE_SECONDS)


def _signal_group(program: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(program, number)
        os.killpg(program, number)


def _end_orphans() -> None:
    """Those of a killed one become ours in turn, until there are none."""
    gives_up_at = time.monotonic() + REAPING_SECONDS
    while time.monotonic() < gives_up_at:
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _children() -> Iterator[int]:
    ours = os.getpid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", encoding="latin-1") as stat:
            if int(stat.read().rpartition(")")[2].split()[1]) == ours:
                yield int(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
