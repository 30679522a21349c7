import logging
import signal
from threading import Event
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, connection

from audit.checkpoint import BadKey
from audit.sequencer import LogDamaged, OtherDatabase, run
from gateway.restored import hold_if_other_database

LOOK_AGAIN_SECONDS: Final = 3.0

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Orders and signs the evidence log until it is told to stop. Several may run; one leads."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.is_set():
            if not may_begin():
                stop.wait(LOOK_AGAIN_SECONDS)
                continue
            try:
                run(stop)
            except OtherDatabase as error:
                logger.critical("sequencer: nothing is signed: %s", error)
            except (LogDamaged, BadKey, OSError) as error:
                raise CommandError(f"sequencer stopped: {error}") from error


def may_begin() -> bool:
    """Whether this is the database that was signed before, or somebody has confirmed that it counts."""
    try:
        return not hold_if_other_database()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("sequencer: %s, trying again", type(error).__name__)
        connection.close()
        return False
