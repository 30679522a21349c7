"""Runs as its own process: `python -m tests.audit.sealing migrate | write N | sequence | verify`.

Processes, so that they can be killed; a database of their own (in SEALING), so that evidence may stay.
"""

import json
import os
import signal
import sys
from threading import Event

import django
from django.conf import settings

settings.configure(INSTALLED_APPS=["audit"], USE_TZ=True, **json.loads(os.environ["SEALING"]))
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402

from audit.checkpoint import installation_verifier  # noqa: E402
from audit.record import record  # noqa: E402
from audit.sequencer import run  # noqa: E402
from audit.verify import verify  # noqa: E402
from tests.audit.writing import event  # noqa: E402


def write(count: int) -> None:
    for _ in range(count // 10):
        with transaction.atomic():
            for _ in range(10):
                record(event())


def sequence() -> None:
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print("ready", flush=True)
    run(stop)


def check() -> None:
    report = verify(installation_verifier())
    print(json.dumps([report.figure, report.pending, *map(str, report.problems)]))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["migrate"]:
            call_command("migrate", verbosity=0)
        case ["write", count]:
            write(int(count))
        case ["sequence"]:
            sequence()
        case ["verify"]:
            check()
