"""What is to be told, written in the transaction of what it is about. Delivery reads it and sends it.

Quiet on purpose: one mail to a person about a request, one message to a channel, which is rewritten when it is over.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from gateway.bus import post, topic_of
from gateway.models import Notice
from gateway.notices.audience import channels, channels_for, deciders, reviewers, with_duty
from governance.lifecycle import noun_of
from governance.models import (
    AccessReview,
    ApprovalRequest,
    BundleVersion,
    Directory,
    Freeze,
    Grant,
    PolicyVersion,
    RotationTask,
    User,
)
from governance.snapshot import Snapshot

INBOX: Final = topic_of("approvals")
"""Letters to it name the request (its key, as text) that was asked, escalated or ended: for open pages."""

Kind = Notice.Kind
LONGEST_SUBJECT = 300
MOST_LINES: Final = 20


def asked(request: ApprovalRequest, *, snapshot: Snapshot, now: datetime) -> None:
    """To everybody who may decide, and to the channels of their teams."""
    people = deciders(request, snapshot=snapshot, now=now)
    subject = f"{request.name}: {request.agent or request.person} waits for you"
    _write(Kind.ASKED, subject, people, channels_for(request, is_late=False), now=now, request=request)
    _ring(request)


def escalated(request: ApprovalRequest, *, snapshot: Snapshot, now: datetime) -> None:
    """Nobody answered in time: to those who have not been told."""
    told = Notice.objects.filter(request_number=request.number)
    mailed, shown = _ids(told, "person_id"), _ids(told, "channel_id")
    people = [each for each in deciders(request, snapshot=snapshot, now=now) if each not in mailed]
    subject = f"{request.name}: nobody has answered yet"
    _write(Kind.ESCALATED, subject, people, channels_for(request, is_late=True) - shown, now=now, request=request)
    _ring(request)


def ended(request: ApprovalRequest, *, now: datetime) -> None:
    """Approved, denied, expired, withdrawn or void: what channels said of it is rewritten. People get no second mail,
    unless it had to be escalated: then those who were mailed first hear that somebody took care of it."""
    told = Notice.objects.filter(request_number=request.number, kind__in=(Kind.ASKED, Kind.ESCALATED))
    people = _ids(told, "person_id") if request.escalated_at else set()
    subject = f"{request.name}: {request.get_state_display().lower()}"
    _write(Kind.ENDED, subject, people, _ids(told, "channel_id"), now=now, request=request)
    _ring(request)


def break_glass(grant: Grant, *, now: datetime) -> None:
    """To all who watch over rights, at once."""
    who = grant.agent.name if grant.agent else str(grant.person)
    body = {
        "lines": [
            f"{grant.created_by} took access for {who} without approval, until {_moment(grant.ends_at)}.",
            f"Bundle: {grant.bundle or '-'}. Tool: {grant.tool or 'all of it'}.",
            f"Reason given: {grant.reason or 'none'}.",
            "It is to be reviewed afterwards.",
        ],
        "path": f"/admin/governance/grant/{grant.pk}/change/",
    }
    _write(Kind.BREAK_GLASS, f"Break-glass: {who}", with_duty(User.Duty.SECURITY), channels(), now=now, body=body)


def break_glass_account_used(account: User, *, how: str, address: str, now: datetime) -> None:
    """To owners, security and the channels for alerts, at once; also to the account's own address."""
    body = {
        "lines": [
            f"{account.email}, the break-glass account, signed in by {how} from {address or 'an unknown address'}.",
            "It may do everything. If nobody of you knows why, switch the account off and change its proofs.",
            "It is to be reviewed afterwards.",
        ],
        "path": "/admin/break-glass-account/",
    }
    subject = "The break-glass account signed in"
    _write(Kind.BREAK_GLASS, subject, with_duty(User.Duty.SECURITY), channels(), now=now, body=body)


def review_wanted(version: BundleVersion | PolicyVersion, *, now: datetime) -> None:
    """To those who may agree to what somebody else drafted."""
    noun, name = noun_of(version), f"{noun_of(version)} {version}"
    body = {
        "lines": [f"{version.submitted_by.removeprefix('person:')} asks for a review of {name}.", version.summary],
        "path": f"/admin/versions/{noun}/{version.pk}/",
    }
    _write(Kind.REVIEW, f"Review wanted: {name}", reviewers(version), [], now=now, body=body)


def frozen(freeze: Freeze, *, reaction: str, now: datetime) -> None:
    """A reaction stopped something; nobody was asked."""
    until = f"until {_moment(freeze.ends_at)}" if freeze.ends_at else "until somebody lifts it"
    reacted(f"{freeze.target} is frozen", f"{until}. {freeze.reason}", reaction=reaction, now=now)


def reacted(subject: str, text: str, *, reaction: str, now: datetime) -> None:
    """What a reaction did, to those who look after security and agents."""
    duties = (User.Duty.SECURITY, User.Duty.IT_ADMIN)
    body = {"lines": [f"{subject}: {text}", f"Reaction: {reaction}."], "path": "/admin/governance/freeze/"}
    _write(Kind.FROZEN, f"Gatehouse acted: {subject}", with_duty(*duties), channels(), now=now, body=body)


def definitions_suspicious(tools: Sequence[tuple[str, bool]], *, now: datetime) -> None:
    """Tools, and whether they are served already, to those who decide about definitions, in one message."""
    states = {True: "is served since before it was looked at; look at it now", False: "waits, and no agent has it"}
    shown = [f"{tool}: its definition {states[is_served]}." for tool, is_served in tools[:MOST_LINES]]
    more = [f"{len(tools) - MOST_LINES} more."] if len(tools) > MOST_LINES else []
    body = {"lines": [*shown, *more], "path": "/admin/review/"}
    subject = f"Something suspicious in what tools say of themselves: {tools[0][0]}"
    _write(Kind.REVIEW, subject, with_duty(User.Duty.SECURITY), channels(), now=now, body=body)


def losses_held(directory: Directory, people: int, *, now: datetime) -> None:
    """To those who look after people, once for each burst: a message of a thousand memberships is no thousand mails."""
    path = f"/admin/directories/{directory.pk}/losses/"
    recent = Notice.objects.filter(kind=Kind.DIRECTORY, body__path=path, written_at__gt=now - timedelta(minutes=10))
    if recent.exists():
        return
    body = {
        "lines": [
            f"{directory} takes something away from more people than may lose something at once.",
            f"It waits until somebody agrees, for {people} people so far.",
        ],
        "path": path,
    }
    subject = f"{directory} takes away from many: it waits for you"
    _write(Kind.DIRECTORY, subject, with_duty(User.Duty.IT_ADMIN), channels(), now=now, body=body)


def directory_differs(directory: Directory, found: int, *, now: datetime) -> None:
    """To those who look after people, when a look at its own list finds what the look before did not."""
    subject = f"{directory} says otherwise than what is here"
    _of_directory(directory, subject, f"Its own list differs from what is here in {found} places.", now=now)


def directory_unread(directory: Directory, problem: str, *, now: datetime) -> None:
    _of_directory(directory, f"The list of {directory} cannot be read", f"It was read before. {problem}", now=now)


def _of_directory(directory: Directory, subject: str, line: str, *, now: datetime) -> None:
    body = {"lines": [line], "path": f"/admin/directories/{directory.pk}/"}
    _write(Kind.DIRECTORY, subject, with_duty(User.Duty.IT_ADMIN), channels(), now=now, body=body)


def evidence_in_trouble(sentence: str, *, now: datetime) -> None:
    """To owners, who look after security, and the channels for alerts, once while it lasts."""
    _about_evidence("Evidence needs you", sentence, now=now)


def evidence_is_well(sentence: str, *, now: datetime) -> None:
    """To the same: what they were told of is over."""
    _about_evidence("Evidence: this is over", sentence, now=now)


def _about_evidence(subject: str, sentence: str, *, now: datetime) -> None:
    body = {"lines": [sentence], "path": "/admin/"}
    duties = (User.Duty.SECURITY, User.Duty.IT_ADMIN)
    _write(Kind.EVIDENCE, subject, with_duty(*duties), channels(), now=now, body=body)


def canary_seen(name: str, *, agent: str, where: str, planted_in: str, path: str, now: datetime) -> None:
    """To those who look after security, at once: nobody has any honest use for it."""
    planted = [f"It was planted in: {planted_in}."] if planted_in else []
    body = {"lines": [f"The canary {name} turned up with agent {agent}, in {where}.", *planted], "path": path}
    _write(Kind.CANARY, f"Canary: {name}", with_duty(User.Duty.SECURITY), channels(), now=now, body=body)


def to_replace(tasks: Sequence[RotationTask], *, owner: User | None, now: datetime) -> None:
    """To who sees to them, in one message; what is nobody's goes to those who look after agents and to channels."""
    shown = [f"{task}, due {_moment(task.due_at)}." for task in tasks[:MOST_LINES]]
    rest = [f"And {len(tasks) - MOST_LINES} more."] if len(tasks) > MOST_LINES else []
    body = {"lines": [*shown, *rest], "path": "/me/" if owner else "/admin/governance/rotationtask/?state__exact=open"}
    subject = f"{len(tasks)} to be replaced" if len(tasks) > 1 else f"To be replaced: {tasks[0].subject_name}"
    people = [owner.pk] if owner else with_duty(User.Duty.IT_ADMIN)
    _write(Kind.ROTATION, subject, people, [] if owner else channels(), now=now, body=body)


def to_attest(review: AccessReview, reviewer_id: UUID | None, count: int, *, now: datetime) -> None:
    """What is nobody's goes to those who look after reviews and to channels."""
    lines = [f"Access review: {review.title}", f"{count} to attest until {_moment(review.due_at)}."]
    people = [reviewer_id] if reviewer_id else with_duty(User.Duty.SECURITY, User.Duty.IT_ADMIN)
    subject = f"Access to attest: {review.title}"
    body = {"lines": lines, "path": "/reviews/"}
    _write(Kind.ATTEST, subject, people, [] if reviewer_id else channels(), now=now, body=body)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _ids(told: QuerySet[Notice], field: str) -> set[UUID]:
    return {each for each in told.values_list(field, flat=True) if each is not None}


def _ring(request: ApprovalRequest) -> None:
    post(INBOX, str(request.key).encode())


def _write(
    kind: Notice.Kind,
    subject: str,
    people: Iterable[UUID],
    where: Iterable[UUID],
    *,
    now: datetime,
    request: ApprovalRequest | None = None,
    body: Mapping[str, Any] | None = None,
) -> None:
    """Without a mail server there is no mail to people, only their page and the channels."""
    receivers = [{"person_id": each} for each in people] if settings.EMAIL_HOST else []
    Notice.objects.bulk_create(
        Notice(
            kind=kind,
            request_number=request.number if request else None,
            subject=subject[:LONGEST_SUBJECT],
            body=body or {},
            written_at=now,
            next_try_at=now,
            **receiver,
        )
        for receiver in [*receivers, *({"channel_id": each} for each in where)]
    )
