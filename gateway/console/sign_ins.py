"""Signing in and failing to, as evidence. Django's signals are the one place all doors pass."""

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest

from audit.event import AuditEvent
from audit.record import record
from governance.fence.actor import governed_change
from governance.models import User

LONGEST_EMAIL = 254


def signed_in(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Kind person.signed_in; `backend` or `one-time link` says how."""
    person = f"person:{user.email}"
    how = "one-time link" if getattr(request, "by_one_time_link", False) else "password"
    _record("person.signed_in", actor=person, person=user.email, details={"how": how, "address": _address(request)})


def sign_in_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """The e-mail is whatever a stranger typed; the password is not among what Django hands on."""
    email = str(credentials.get("username", ""))[:LONGEST_EMAIL]
    details = {"address": _address(request) if request else ""}
    _record("person.sign_in_failed", actor="stranger", person=email, details=details)


def _record(kind: str, *, actor: str, person: str, details: dict[str, str]) -> None:
    with governed_change(by=actor):
        record(AuditEvent(kind=kind, at=datetime.now(UTC), actor=actor, person=person, details=details))


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
