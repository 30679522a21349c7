"""Work in the background: thin shells over actions. Messages carry nothing that could not be asked again."""

import logging
import threading
from datetime import UTC, datetime
from typing import Any

from celery import shared_task

from audit.tally import count_new_calls
from gateway import password_resets
from gateway.drift import rediscover
from gateway.models import IDEMPOTENCY_LIFETIME, IdempotentAnswer
from gateway.offboardings import begin_due, follow_unfinished
from gateway.recovery import recover
from gateway.store import forget_what_is_over
from governance.fence.log import trim_change_log

logger = logging.getLogger(__name__)

QUESTIONS = threading.BoundedSemaphore(2)
"""Of the worker's four threads: planned offboardings must not wait for slow upstreams."""
ASK_LATER_SECONDS = 10


@shared_task(ignore_result=True)
def discover_tools() -> None:
    """Finds definitions that changed upstream; they wait for review."""
    for name, found in rediscover().items():
        if found.error:
            logger.warning("connector %s: %s", name, found.error)


@shared_task(bind=True, ignore_result=True, max_retries=None)
def discover_connector(self: Any, name: str, by: str) -> None:
    """One system, asked because a person wants it now; a little later while enough others are."""
    if not QUESTIONS.acquire(blocking=False):
        raise self.retry(countdown=ASK_LATER_SECONDS)
    try:
        rediscover(only=name, by=by)
    finally:
        QUESTIONS.release()


@shared_task(ignore_result=True)
def recover_calls() -> None:
    """Closes what dead gateway processes left open, also when no gateway is left to do it."""
    if closed := recover():
        logger.warning("closed %d calls of dead gateway processes as unknown", closed)


@shared_task(ignore_result=True)
def offboard_people() -> None:
    """Begins what is planned for now, and goes on with what nobody watches any more."""
    if begun := begin_due():
        logger.info("began %d planned offboardings", begun)
    follow_unfinished()


@shared_task(ignore_result=True)
def trim_changes() -> None:
    trim_change_log()


@shared_task(ignore_result=True)
def forget_answers() -> None:
    """What was kept for repeated Idempotency-Keys, once their day is over."""
    IdempotentAnswer.objects.filter(created_at__lt=datetime.now(UTC) - IDEMPOTENCY_LIFETIME).delete()


@shared_task(ignore_result=True)
def forget_exchanges() -> None:
    """Sessions, streams, tasks and letters of MCP clients, once their time is over."""
    forget_what_is_over()


@shared_task(ignore_result=True)
def count_calls() -> None:
    """Keeps the numbers of the home page up to the log."""
    count_new_calls()


@shared_task(ignore_result=True, autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def mail_password_reset(person_id: str) -> None:
    password_resets.mail_password_reset(person_id)
