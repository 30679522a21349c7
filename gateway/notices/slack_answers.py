"""What Slack shows to the one who pressed a button that did not do what she wanted."""

import asyncio
import logging
from enum import StrEnum
from typing import Final
from uuid import UUID

from gateway.notices import slack, summary
from gateway.notices.delivery import opened
from gateway.notices.sending import Outgoing, Undelivered, send, ways_out
from governance.approval_rows import (
    CannotDecide,
    Changed,
    DecidedAlready,
    Ended,
    Incomplete,
    NotEligible,
    StepUpNeeded,
    WrongPlace,
)
from governance.models import ApprovalRequest, NotificationChannel

logger = logging.getLogger(__name__)


class No(StrEnum):
    STRANGER = "stranger"
    ON_PAGE = "on-page"
    OVER = "over"
    NOT_ELIGIBLE = "not-eligible"
    CHANGED = "changed"
    TWICE = "twice"
    INCOMPLETE = "incomplete"
    STEP_UP = "step-up"
    FAILED = "failed"


TEXTS: Final = {
    No.STRANGER: "Gatehouse does not know your Slack account. An administrator can say who you are.",
    No.ON_PAGE: "This is decided on its page, not here.",
    No.OVER: "It is over already.",
    No.NOT_ELIGIBLE: "You may not decide this one.",
    No.CHANGED: "It has changed since this message. Look at it again on its page.",
    No.TWICE: "You have decided this one already.",
    No.INCOMPLETE: "A reason or a ticket is wanted. Give it on the page.",
    No.STEP_UP: "It wants a fresh sign-in. Decide on the page.",
    No.FAILED: "That did not work. Decide on the page.",
}
REASONS: Final[dict[type[CannotDecide], No]] = {
    Ended: No.OVER,
    NotEligible: No.NOT_ELIGIBLE,
    Changed: No.CHANGED,
    DecidedAlready: No.TWICE,
    Incomplete: No.INCOMPLETE,
    StepUpNeeded: No.STEP_UP,
    WrongPlace: No.ON_PAGE,
}


def no_for(reason: CannotDecide) -> No:
    return REASONS.get(type(reason), No.FAILED)


def whisper(*, channel_id: str, request_key: str, where: str, ts: str, account: str, answer: str) -> None:
    """Only she sees it. A message that still asks for what is over is rewritten besides: it may be one whose sending
    nobody could note."""
    channel = NotificationChannel.objects.filter(pk=channel_id, is_enabled=True).first()
    request = ApprovalRequest.objects.filter(key=UUID(request_key)).first() if request_key else None
    if channel is None:
        return
    try:
        token = opened(channel.secret)
    except Undelivered as failure:
        logger.warning("Slack channel %s: %s", channel.name, failure)
        return
    text = TEXTS[No(answer)] + (f" {summary.url_of(request)}" if request else "")
    parcels = [slack.whispered(text, channel, token=token, where=where, account=account)]
    if request is not None and answer == No.OVER:
        outcome, reference = summary.outcome(request), f"{where}:{ts}"
        parcels.append(slack.rewritten(request, channel, token=token, reference=reference, outcome=outcome))
    asyncio.run(_send(parcels, channel.name))


async def _send(parcels: list[Outgoing], channel: str) -> None:
    with ways_out() as ways:
        for parcel in parcels:
            try:
                await send(parcel, ways)
            except Undelivered as failure:
                logger.warning("Slack channel %s: %s", channel, failure)
