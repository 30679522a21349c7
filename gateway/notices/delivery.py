"""Sending what is written: claimed, sent, marked, each by itself.

A notice is claimed by moving its next try into the future, so that a worker that dies with it loses nothing: it is
tried again then. What may have arrived before the worker died arrives twice at most; nothing is ever lost.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from django.db.models import F, Q
from django.views.decorators.debug import sensitive_variables

from gateway.models import Notice
from gateway.notices import mail, slack, summary, webhook
from gateway.notices.sending import Outgoing, Undelivered, send, ways_out
from governance.models import ApprovalRequest, NotificationChannel, Secret, SecretVersion
from governance.vault import VaultError, keyring, open_secret_version

BATCH: Final = 20
CLAIMED_FOR: Final = timedelta(minutes=2)
"""Longer than a batch takes, however slow its receivers are."""
FIRST_PAUSE_SECONDS: Final = 5
LONGEST_PAUSE_SECONDS: Final = 3600
MOST_TRIES: Final = 12
"""Over some three hours."""
KEPT_FOR: Final = timedelta(days=30)
SHORT: Final = timedelta(seconds=5)

Kind = Notice.Kind
OPEN: Final = Q(sent_at=None, given_up_at=None)


@dataclass(frozen=True, slots=True)
class Postponed:
    """An earlier message has to be settled first."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Moot:
    """There is nothing to tell any more, so it is forgotten."""


Prepared = Outgoing | mail.Mail | Postponed | Moot | Undelivered


def deliver_due() -> int:
    """Sends all that is due; returns how many were tried. Any number of workers may do so at once."""
    tried = 0
    while claimed := _claim(datetime.now(UTC)):
        _deliver(claimed)
        tried += len(claimed)
    return tried


def try_again(notices: Iterable[Notice], *, now: datetime) -> int:
    """Those that were given up, with all their tries anew."""
    dead = Notice.objects.filter(pk__in=[notice.pk for notice in notices]).exclude(given_up_at=None)
    return dead.update(given_up_at=None, tries=0, next_try_at=now, error="")


def forget_old(now: datetime) -> int:
    return Notice.objects.filter(written_at__lt=now - KEPT_FOR).delete()[0]


def _claim(now: datetime) -> list[Notice]:
    due = Notice.objects.filter(OPEN, next_try_at__lte=now).order_by("next_try_at", "id")[:BATCH]
    return [notice for notice in due if _claimed(notice, now)]


def _claimed(notice: Notice, now: datetime) -> bool:
    rows = Notice.objects.filter(OPEN, pk=notice.pk, next_try_at=notice.next_try_at)
    notice.tries += 1
    notice.next_try_at = now + CLAIMED_FOR
    return bool(rows.update(tries=F("tries") + 1, next_try_at=notice.next_try_at))


def _deliver(claimed: list[Notice]) -> None:
    outgoing: list[tuple[Notice, Outgoing]] = []
    letters: list[tuple[Notice, mail.Mail]] = []
    for notice in claimed:
        match prepare(notice, datetime.now(UTC)):
            case Outgoing() as parcel:
                outgoing.append((notice, parcel))
            case mail.Mail() as letter:
                letters.append((notice, letter))
            case instead:
                _settle(notice, instead)
    for notice, became in chain(asyncio.run(_send_all(outgoing)), mail.send_all(letters)):
        _settle(notice, became)


async def _send_all(outgoing: list[tuple[Notice, Outgoing]]) -> list[tuple[Notice, str | Undelivered]]:
    """At the same time: a slow receiver holds up nobody else."""
    with ways_out() as ways:

        async def one(notice: Notice, parcel: Outgoing) -> tuple[Notice, str | Undelivered]:
            try:
                return notice, await send(parcel, ways)
            except Undelivered as failure:
                return notice, failure

        return list(await asyncio.gather(*(one(notice, parcel) for notice, parcel in outgoing)))


def _settle(notice: Notice, became: str | Postponed | Moot | Undelivered) -> None:
    """The reference of a message that arrived is kept even if the claim ran out meanwhile."""
    now = datetime.now(UTC)
    mine = Notice.objects.filter(OPEN, pk=notice.pk, next_try_at=notice.next_try_at)
    match became:
        case str():
            Notice.objects.filter(pk=notice.pk).update(sent_at=now, given_up_at=None, reference=became, error="")
        case Postponed(until):
            mine.update(next_try_at=until, tries=F("tries") - 1)
        case Moot():
            mine.delete()
        case Undelivered() if became.is_final or notice.tries >= MOST_TRIES:
            mine.update(given_up_at=now, error=str(became))
        case Undelivered():
            mine.update(next_try_at=now + _pause(notice.tries, became.retry_after), error=str(became))


def _pause(tries: int, asked: int) -> timedelta:
    doubled = FIRST_PAUSE_SECONDS * 2 ** (tries - 1)
    return timedelta(seconds=max(asked, min(doubled, LONGEST_PAUSE_SECONDS)))


def prepare(notice: Notice, now: datetime) -> Prepared:
    """What is sent now: as things are, not as they were when it was written."""
    request = None
    if notice.request_number is not None:
        request = ApprovalRequest.objects.filter(number=notice.request_number).first()
        if request is None:
            return Moot()
    try:
        if notice.channel_id is None:
            return _for_person(notice, request)
        channel = NotificationChannel.objects.filter(pk=notice.channel_id, is_enabled=True).first()
        if channel is None:
            return Undelivered("The channel is gone or switched off.", is_final=True)
        if channel.kind == NotificationChannel.Kind.SLACK:
            return _for_slack(notice, channel, request, now)
        return _for_webhook(notice, channel, request, now)
    except Undelivered as failure:
        return failure


def _for_person(notice: Notice, request: ApprovalRequest | None) -> Prepared:
    if request is not None and notice.kind != Kind.ENDED and request.state != ApprovalRequest.State.PENDING:
        return Moot()
    return mail.written(notice, request) or Moot()


def _for_slack(
    notice: Notice, channel: NotificationChannel, request: ApprovalRequest | None, now: datetime
) -> Prepared:
    token = opened(channel.secret)
    if request is None:
        return slack.told(notice.subject, mail.text_of(notice), mail.url_of(notice), channel, token=token)
    if notice.kind == Kind.ENDED:
        return _rewriting(notice, channel, request, token)
    if request.state != ApprovalRequest.State.PENDING:
        return Moot()
    return slack.posted(request, channel, token=token)


def _rewriting(notice: Notice, channel: NotificationChannel, request: ApprovalRequest, token: str) -> Prepared:
    """After the message it rewrites, which may be on its way just now."""
    first = Notice.objects.filter(request_number=request.number, channel_id=channel.pk).exclude(kind=Kind.ENDED)
    told = first.exclude(reference="").first()
    if told is not None:
        outcome = summary.outcome(request)
        return slack.rewritten(request, channel, token=token, reference=told.reference, outcome=outcome)
    waiting = first.filter(OPEN).first()
    if waiting is None:
        return Moot()
    if Notice.objects.filter(OPEN, pk=waiting.pk, tries=0).delete()[0]:
        return Moot()
    return Postponed(waiting.next_try_at + SHORT)


def _for_webhook(
    notice: Notice, channel: NotificationChannel, request: ApprovalRequest | None, now: datetime
) -> Prepared:
    if request is not None:
        name, about = f"approval.{notice.kind}", {"request": summary.as_event(request)}
    else:
        name, about = f"gatehouse.{notice.kind}", mail.as_event(notice)
    body = webhook.event(name, about, number=notice.pk, at=notice.written_at)
    return webhook.posted(channel.url, body, key=opened(channel.secret), now=now)


@sensitive_variables()
def opened(secret: Secret | None) -> str:
    """Its live value; empty where there is none to be had. Raises Undelivered."""
    if secret is None:
        return ""
    version = SecretVersion.objects.filter(secret=secret, retired_at=None).first()
    if version is None:
        raise Undelivered(f"The secret {secret.name} has no value yet.")
    try:
        return open_secret_version(version, keyring=keyring())
    except VaultError:
        raise Undelivered(f"The secret {secret.name} cannot be opened.") from None
