"""Mail to people: plain text, one link that changes nothing, no argument of any call."""

import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.template.loader import render_to_string

from gateway.models import Notice
from gateway.notices import summary
from gateway.notices.sending import Undelivered
from governance.models import ApprovalRequest, User


@dataclass(frozen=True, slots=True)
class Mail:
    to: str
    subject: str
    text: str


def written(notice: Notice, request: ApprovalRequest | None) -> Mail | None:
    """None if there is nobody to write to any more."""
    person = User.objects.filter(pk=notice.person_id, is_active=True).first() if notice.person_id else None
    if person is None:
        return None
    if request is None:
        text = render_to_string("mail/notice.txt", {"person": person, "text": text_of(notice), "url": url_of(notice)})
    else:
        text = render_to_string(f"mail/approval_{notice.kind}.txt", _about(person, request))
    return Mail(person.email, summary.plain(notice.subject), text)


def _about(person: User, request: ApprovalRequest) -> dict[str, Any]:
    return {
        "person": person,
        "request": request,
        "who": summary.who(request),
        "what": summary.what(request),
        "why": summary.why(request),
        "digest": summary.digest(request),
        "outcome": summary.outcome(request),
        "url": summary.url_of(request),
    }


def text_of(notice: Notice) -> str:
    return "\n".join(summary.plain(line) for line in notice.body.get("lines", ()))


def url_of(notice: Notice) -> str:
    return f"{settings.PUBLIC_URL}{notice.body.get('path', '/')}"


def as_event(notice: Notice) -> dict[str, Any]:
    """For programs."""
    return {"subject": notice.subject, "text": text_of(notice), "url": url_of(notice)}


def send_all(letters: list[tuple[Notice, Mail]]) -> Iterator[tuple[Notice, str | Undelivered]]:
    """Over one connection, each settled as soon as it is sent; without a connection none is."""
    if not letters:
        return
    connection = get_connection()
    try:
        connection.open()
    except (OSError, smtplib.SMTPException) as error:
        yield from ((notice, _failure(error)) for notice, _ in letters)
        return
    try:
        for notice, letter in letters:
            yield notice, _sent(letter, connection)
    finally:
        connection.close()


def _sent(letter: Mail, connection: BaseEmailBackend) -> str | Undelivered:
    message = EmailMessage(letter.subject, letter.text, settings.DEFAULT_FROM_EMAIL, [letter.to], connection=connection)
    try:
        message.send()
    except (OSError, smtplib.SMTPException) as error:
        return _failure(error)
    return ""


def _failure(error: Exception) -> Undelivered:
    """Servers repeat what they were told in their errors, so only the kind of error is kept."""
    is_final = isinstance(error, smtplib.SMTPRecipientsRefused)
    return Undelivered(f"The mail server: {type(error).__name__}.", is_final=is_final)
