"""Work in the background: thin shells over actions. Messages carry nothing that could not be asked again."""

import logging
import threading
from datetime import UTC, datetime
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutdown
from django.utils.module_loading import import_string

from audit.checkpoint import installation_verifier
from audit.sightings import count_new_findings
from audit.tally import count_new_calls
from gateway import (
    approving,
    baselines,
    evidence_alarms,
    keeping,
    packs,
    password_resets,
    restored,
    rotations,
    search_filling,
    zombies,
)
from gateway.access_reviews import remind_due
from gateway.accounts.revoking import end_forsaken, revoke_due
from gateway.drift import rediscover
from gateway.exporting import ExportThread
from gateway.models import IDEMPOTENCY_LIFETIME, IdempotentAnswer, Report
from gateway.notices import slack_answers
from gateway.notices.delivery import deliver_due
from gateway.offboardings import begin_due, follow_unfinished, take_up_what_is_left
from gateway.recovery import recover
from gateway.security_events.polling import poll_all
from gateway.store import forget_what_is_over
from gateway.sweeps import forget_what_is_old
from governance.directory_pulls import due
from governance.fence.log import trim_change_log
from governance.models import Anchor

logger = logging.getLogger(__name__)

QUESTIONS = threading.BoundedSemaphore(2)
"""Of the worker's four threads: planned offboardings must not wait for slow upstreams."""
ASK_LATER_SECONDS = 10
MAKE_REPORTS = "gateway.compliance.keeping.make_due"
LOOK_AT_ALL = "gateway.scim.pulling.looking.look_at_all"
KEEP_DUE = "gateway.anchoring.keeping.keep_due"
LOOK_FOR_NEWER = "gateway.anchoring.reading.look_for_newer"
EXPORT = ExportThread()


@worker_ready.connect
def begin_export(**_: Any) -> None:
    """Sinks are no tasks: they take as long as they take, and the worker's few threads are for others."""
    EXPORT.start()


@worker_ready.connect
def ask_anchors_first(**_: Any) -> None:
    ask_anchors.delay()


@worker_shutdown.connect
def end_export(**_: Any) -> None:
    if EXPORT.is_alive():
        EXPORT.stop()


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
def finish_offboardings() -> None:
    """What the withdrawal left for later, a step at a time."""
    take_up_what_is_left()


@shared_task(ignore_result=True)
def sweep_zombies() -> None:
    """Looks for what should have ended. It ends nothing: a human does, who sees it on the home page."""
    zombies.sweep()


@shared_task(ignore_result=True)
def revoke_accounts() -> None:
    """At their providers, what has ended here; the rows are all there is to know."""
    end_forsaken()
    if revoked := revoke_due():
        logger.info("finished the revocation of %d connected accounts", revoked)


@shared_task(ignore_result=True)
def keep_evidence() -> None:
    """As long as its retention class says, and what a legal hold keeps for as long as that."""
    keeping.keep_to_terms(datetime.now(UTC))


@shared_task(ignore_result=True)
def trim_changes() -> None:
    trim_change_log()


@shared_task(ignore_result=True)
def poll_security_events() -> None:
    """Of issuers that do not send them."""
    poll_all()


@shared_task(ignore_result=True)
def compare_directories() -> None:
    """With their own lists. The protocol's library is loaded only where a directory has one."""
    if due(datetime.now(UTC)):
        import_string(LOOK_AT_ALL)()


@shared_task(ignore_result=True)
def forget_answers() -> None:
    """What was kept for repeated Idempotency-Keys, once their day is over."""
    IdempotentAnswer.objects.filter(created_at__lt=datetime.now(UTC) - IDEMPOTENCY_LIFETIME).delete()


@shared_task(ignore_result=True)
def forget_exchanges() -> None:
    """Sessions, streams, tasks and letters of MCP clients, once their time is over."""
    forget_what_is_over()


@shared_task(ignore_result=True)
def send_notices() -> None:
    """What is due by now; the rows are all there is to know."""
    deliver_due()


@shared_task(ignore_result=True)
def whisper(**about: str) -> None:
    """To whoever pressed a button in a chat, why it did not do what she wanted. A courtesy: it is tried once."""
    slack_answers.whisper(**about)


@shared_task(ignore_result=True)
def watch_credentials() -> None:
    """Which keys and secrets are too old or unused: asked for, told, ended as the organization's terms say."""
    if changed := rotations.watch():
        logger.info("rotation: %d rows changed", changed)


@shared_task(ignore_result=True)
def watch_approvals() -> None:
    """Tells of what the clock has ended, and goes to others where nobody answered. It decides nothing: whoever uses a
    request compares the clock in the same UPDATE, so that a worker that is away extends nothing."""
    approving.look_at_clock()


@shared_task(ignore_result=True)
def forget_old() -> None:
    """Arguments of approval requests, labels of runs and notices, once nobody needs them."""
    forget_what_is_old()


@shared_task(ignore_result=True)
def remind_reviewers() -> None:
    """Of access that is to be attested, before it is due and after."""
    if told := remind_due():
        logger.info("reminded %d reviewers of access", told)


@shared_task(ignore_result=True)
def make_reports() -> None:
    """Evidence reports that somebody asked for on a screen. What draws paper is loaded only where there are any."""
    if Report.objects.exists():
        import_string(MAKE_REPORTS)()


@shared_task(ignore_result=True)
def count_calls() -> None:
    """Keeps the numbers of the home page up to the log."""
    count_new_calls()


@shared_task(ignore_result=True)
def learn_baselines() -> None:
    """What is usual for each agent."""
    baselines.learn(datetime.now(UTC))


@shared_task(ignore_result=True)
def count_findings() -> None:
    """Fills the inbox of findings from the log; notes when a release brought another pack of detection rules."""
    packs.note_pack()
    count_new_findings()


@shared_task(ignore_result=True)
def fill_search() -> None:
    """Keeps the words of calls findable."""
    search_filling.fill()


@shared_task(ignore_result=True)
def watch_evidence() -> None:
    """Whether it is sealed, kept elsewhere and has room; who is to know is told once."""
    evidence_alarms.look(datetime.now(UTC))
    restored.hold_if_anchors_know_better()


@shared_task(ignore_result=True)
def ask_anchors() -> None:
    """Whether they keep more than this database has. Asked as a worker starts: a database may have been exchanged."""
    verifier = installation_verifier() if Anchor.objects.filter(is_enabled=True).exists() else None
    if verifier is not None:
        import_string(LOOK_FOR_NEWER)(verifier.name)
        restored.hold_if_anchors_know_better()


@shared_task(ignore_result=True)
def keep_checkpoints() -> None:
    """Where nobody here can change them. The libraries for that are loaded only where there is an anchor."""
    if Anchor.objects.exists():
        import_string(KEEP_DUE)(datetime.now(UTC))


@shared_task(ignore_result=True, autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def mail_password_reset(person_id: str) -> None:
    password_resets.mail_password_reset(person_id)
