import signal
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.checkpoint import BadKey
from audit.sequencer import LogDamaged, run


class Command(BaseCommand):
    help = "Orders and signs the evidence log until it is told to stop. Several may run; one leads."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            run(stop)
        except (LogDamaged, BadKey, OSError) as error:
            raise CommandError(f"sequencer stopped: {error}") from error
