"""Runs as its own process: `python -m tests.audit.sealing migrate | write N | sequence | seal | verify | export FILE`.

Processes, so that they can be killed; a database of their own (in SEALING), so that evidence may stay.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from threading import Event
from time import sleep
from uuid import UUID

import django
from django.conf import settings

settings.configure(INSTALLED_APPS=["audit"], USE_TZ=True, **json.loads(os.environ["SEALING"]))
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from audit import cursors  # noqa: E402
from audit.checkpoint import installation_signer, installation_verifier  # noqa: E402
from audit.export import Destination, Exporter  # noqa: E402
from audit.leaves import log_size  # noqa: E402
from audit.models import Pending, SinkCursor  # noqa: E402
from audit.record import record  # noqa: E402
from audit.sequencer import Sequencer, run  # noqa: E402
from audit.sinks.base import Record  # noqa: E402
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


class File:
    """A destination that acknowledges what is on its disk, and takes its time."""

    max_records, max_bytes = 7, 100_000

    def __init__(self, path: str) -> None:
        self._path = path

    def send(self, records: Sequence[Record]) -> None:
        with open(self._path, "a", encoding="ascii") as file:
            file.writelines(f"{each.index}\n" for each in records if not each.is_checkpoint)
        sleep(0.01)

    def close(self) -> None: ...


def export(path: str) -> None:
    """Until everything has arrived. A lease is short here, as whoever holds one is killed."""
    cursors.LEASE = timedelta(seconds=0.2)
    to = Destination(UUID(int=7), "file", "1", "Example Corp", "native", "as_is")
    cursors.begin(to.id, at=0)
    print("ready", flush=True)
    while SinkCursor.objects.get().acked_index < log_size():
        if lease := cursors.take(to.id, version=to.version, now=timezone.now()):
            Exporter(to, File(path)).run(lease, Event())
        sleep(0.05)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["migrate"]:
            call_command("migrate", verbosity=0)
        case ["write", count]:
            write(int(count))
        case ["sequence"]:
            sequence()
        case ["seal"]:
            while Pending.objects.exists():
                Sequencer(installation_signer()).advance(timezone.now())
        case ["export", path]:
            export(path)
        case ["verify"]:
            check()
