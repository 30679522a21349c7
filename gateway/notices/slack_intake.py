"""Where Slack tells that somebody pressed a button. Signed over the raw body, taken once, answered at once.

Who pressed it is who an administrator says this account is, and then decides as on the page: the same verb, the same
rules. No sign-in stands behind it, so a rule that wants a recent one is refused here.
"""

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from kombu.exceptions import OperationalError

from gateway import approving
from gateway.notices.delivery import opened
from gateway.notices.sending import Undelivered
from gateway.notices.slack import APPROVE, DENY, offers_decision
from gateway.notices.slack_answers import No, no_for
from gateway.notices.slack_presses import BODY_BYTES, NotUnderstood, Press, press_of
from gateway.notices.slack_signature import CLOCK_SECONDS, is_from_slack
from gateway.tasks import whisper
from governance.approval_rows import Authentication, CannotDecide
from governance.approvals import CHAT, Ballot
from governance.models import ApprovalRequest, ChatIdentity, NotificationChannel, User

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS: Final = 2 * CLOCK_SECONDS
"""Longer than a signature holds, in either direction of the clock."""


@csrf_exempt
@require_POST
def interactions(request: HttpRequest, name: str) -> HttpResponse:
    """The same answer for a channel that is not there and for one whose signature is wrong."""
    body = request.read(BODY_BYTES + 1)
    if len(body) > BODY_BYTES:
        return HttpResponse(status=413)
    channel = _channel(name)
    if channel is None or not _is_signed(request, body, channel):
        return HttpResponse(status=401)
    try:
        press = press_of(body)
    except NotUnderstood:
        return HttpResponse(status=400)
    if press.action not in (APPROVE, DENY):
        return HttpResponse()
    if not cache.add(f"slack:{channel.pk}:{press.once}", 1, REMEMBERED_SECONDS):
        return HttpResponse(status=409)
    if (refused := _decided(press, channel, request.META.get("REMOTE_ADDR", ""))) is not None:
        _whisper(refused, press, channel)
    return HttpResponse()


def _channel(name: str) -> NotificationChannel | None:
    slack = NotificationChannel.objects.filter(kind=NotificationChannel.Kind.SLACK, is_enabled=True)
    return slack.select_related("signing_secret").filter(name=name).first()


def _is_signed(request: HttpRequest, body: bytes, channel: NotificationChannel) -> bool:
    try:
        key = opened(channel.signing_secret)
    except Undelivered as failure:
        logger.warning("Slack channel %s: %s", channel.name, failure)
        return False
    return is_from_slack(
        body,
        timestamp=request.headers.get("X-Slack-Request-Timestamp", ""),
        signature=request.headers.get("X-Slack-Signature", ""),
        key=key,
        now=datetime.now(UTC),
    )


def _decided(press: Press, channel: NotificationChannel, ip: str) -> No | None:
    """None when it was; else why not."""
    person = _person(press, channel)
    if person is None:
        logger.warning("Slack channel %s: account %s of %s is nobody", channel.name, press.account, press.workspace)
        return No.STRANGER
    request = ApprovalRequest.objects.filter(key=press.request_key).first() if press.request_key else None
    if request is None or not offers_decision(request, channel):
        return No.ON_PAGE
    ballot = Ballot(
        by=person,
        digest=press.digest,
        revision=press.revision,
        channel=CHAT,
        authentication=Authentication(method="slack", at=None, ip=ip),
    )
    try:
        approving.decide(request, ballot, approves=press.action == APPROVE)
    except CannotDecide as reason:
        return no_for(reason)
    return None


def _person(press: Press, channel: NotificationChannel) -> User | None:
    identities = ChatIdentity.objects.filter(channel=channel, workspace=press.workspace, account=press.account)
    found = identities.select_related("person").filter(person__is_active=True).first()
    return found.person if found else None


def _whisper(refused: No, press: Press, channel: NotificationChannel) -> None:
    """By a worker, because Slack waits three seconds for our answer. Without a broker she sees nothing happen."""
    with suppress(OperationalError):
        whisper.delay(
            channel_id=str(channel.pk),
            request_key=str(press.request_key or ""),
            where=press.where,
            ts=press.ts,
            account=press.account,
            answer=str(refused),
        )
