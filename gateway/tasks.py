"""Work in the background: thin shells over actions. Messages carry nothing that could not be asked again."""

import logging

from celery import shared_task

from gateway.drift import rediscover
from gateway.recovery import recover
from governance.fence.log import trim_change_log

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def discover_tools() -> None:
    """Finds definitions that changed upstream; they wait for review."""
    for name, found in rediscover().items():
        if found.error:
            logger.warning("connector %s: %s", name, found.error)


@shared_task(ignore_result=True)
def recover_calls() -> None:
    """Closes what dead gateway processes left open, also when no gateway is left to do it."""
    if closed := recover():
        logger.warning("closed %d calls of dead gateway processes as unknown", closed)


@shared_task(ignore_result=True)
def trim_changes() -> None:
    trim_change_log()
