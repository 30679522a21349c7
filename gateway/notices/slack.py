"""What Slack is told, as Block Kit; and what it answers.

Only our own words are markup. Names come from agents and upstreams: they are plain text, so that none of them can
mention a channel, hide a link or look like a line of ours.
"""

import json
from typing import Any, Final

from gateway.notices import summary
from gateway.notices.sending import Outgoing, Reply, Undelivered
from governance.approval_rows import approval_digest, asks_of
from governance.models import ApprovalRequest, NotificationChannel
from governance.notification_channels import is_slack

API: Final = "https://slack.com/api"
OPEN, APPROVE, DENY = "open", "approve", "deny"
"""Action ids of the buttons."""
MAY_PASS: Final = frozenset(
    ("ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org")
)
"""What Slack calls its own troubles; every other error needs somebody to put something right."""

Block = dict[str, Any]


def posted(request: ApprovalRequest, channel: NotificationChannel, *, token: str) -> Outgoing:
    """A new message about a request that waits."""
    return _message("chat.postMessage", channel, token, {"channel": channel.target, **_waiting(request, channel)})


def rewritten(
    request: ApprovalRequest, channel: NotificationChannel, *, token: str, reference: str, outcome: str
) -> Outgoing:
    """The message as it reads once there is nothing left to decide: no button but the one that opens the page."""
    where, _, ts = reference.partition(":")
    body = {"channel": where, "ts": ts, **_over(request, outcome)}
    return _message("chat.update", channel, token, body)


def told(subject: str, text: str, url: str, channel: NotificationChannel, *, token: str) -> Outgoing:
    """Something that asks for no decision."""
    blocks = [_plain(subject), _plain(text), {"type": "actions", "elements": [_opens(url)]}]
    return _message("chat.postMessage", channel, token, {"channel": channel.target, **_with(subject, blocks)})


def whispered(text: str, channel: NotificationChannel, *, token: str, where: str, account: str) -> Outgoing:
    """Only the one who pressed a button sees it."""
    body = {"channel": where, "user": account, "text": _escaped(text)}
    return _message("chat.postEphemeral", channel, token, body)


def offers_decision(request: ApprovalRequest, channel: NotificationChannel) -> bool:
    """Only where the channel and every rule that asks allow it, and none wants more than a press of a button."""
    terms = [ask.terms for ask in asks_of(request)]
    demands = any(each.needs_reason or each.ticket or each.step_up for each in terms)
    return channel.allows_decisions and bool(terms) and not demands and all(each.in_chat for each in terms)


def _waiting(request: ApprovalRequest, channel: NotificationChannel) -> Block:
    title = f"{request.name}: approval wanted"
    elements = [_opens(summary.url_of(request))]
    if offers_decision(request, channel):
        elements += [_decides(request, APPROVE, "Approve", "primary"), _decides(request, DENY, "Deny", "danger")]
    blocks = [*_facts(request, title), _countdown(request), {"type": "actions", "elements": elements}]
    return _with(title, blocks)


def _over(request: ApprovalRequest, outcome: str) -> Block:
    title = f"{request.name}: {request.get_state_display().lower()}"
    blocks = [
        *_facts(request, title),
        _plain(outcome),
        {"type": "actions", "elements": [_opens(summary.url_of(request))]},
    ]
    return _with(title, blocks)


def _facts(request: ApprovalRequest, title: str) -> list[Block]:
    facts = (
        ("Who", summary.who(request)),
        ("What", summary.what(request)),
        ("Why a human", "; ".join(summary.why(request))),
        ("Digest", summary.digest(request)),
    )
    header = {"type": "header", "text": _text(title[:150])}
    return [header, {"type": "section", "fields": [_text(f"{name}: {said}"[:2000]) for name, said in facts if said]}]


def _countdown(request: ApprovalRequest) -> Block:
    until = int(request.expires_at.timestamp())
    text = f"Answer before <!date^{until}^{{time}} ({{ago}})|{request.expires_at:%H:%M} UTC>."
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}


def _opens(url: str) -> Block:
    return {"type": "button", "action_id": OPEN, "text": _text("Open"), "url": url}


def _decides(request: ApprovalRequest, action: str, label: str, style: str) -> Block:
    """Its value names what was shown, so that a press on an old message decides nothing."""
    value = f"{request.key}:{approval_digest(request).hex()}:{request.revision}"
    return {"type": "button", "action_id": action, "text": _text(label), "style": style, "value": value}


def _plain(text: str) -> Block:
    return {"type": "section", "text": _text(text[:3000])}


def _text(text: str) -> Block:
    return {"type": "plain_text", "text": text or "-", "emoji": False}


def _with(title: str, blocks: list[Block]) -> Block:
    return {"text": _escaped(title), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _message(method: str, channel: NotificationChannel, token: str, body: Block) -> Outgoing:
    """Raises Undelivered: a token goes nowhere else."""
    if channel.url and not is_slack(channel.url):
        raise Undelivered("Its address is not Slack's.", is_final=True)
    url = f"{(channel.url or API).rstrip('/')}/{method}"
    return Outgoing(url, (("Authorization", f"Bearer {token}"),), json.dumps(body).encode(), _reference)


def _reference(reply: Reply) -> str:
    """Slack answers 200 to nearly everything; what became of it stands in the body. Raises Undelivered."""
    try:
        answer = json.loads(reply.body)
        is_ok, error = answer["ok"] is True, str(answer.get("error", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Undelivered("It did not answer as Slack does.") from None
    if not is_ok:
        raise Undelivered(f"Slack: {summary.plain(error)}", is_final=error not in MAY_PASS)
    return f"{answer.get('channel', '')}:{answer.get('ts', '')}"[:200]
