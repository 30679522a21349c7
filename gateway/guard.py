"""Ends what a dead supervisor left behind: run as a script by gateway/supervisor.py, standard library only.

It leads the process group that all children join, and reads a pipe whose other end only the supervisor holds.
The end of that pipe is a sign of the supervisor's death that kill -9 cannot suppress, on Linux and macOS.
"""

import os
import signal
import sys
import time


def main(grace_seconds: float) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(grace_seconds)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(float(sys.argv[1]))
