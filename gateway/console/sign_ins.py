"""Signing in and failing to, and what people change about their ways in, as evidence.

The signals of Django and of django-allauth are the one place all doors pass. Failures are counted and told at most
once a minute for each person and address: who guesses must not be able to flood the log.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.signals import authentication_step_completed, password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed, authenticator_added, authenticator_removed, authenticator_reset
from allauth.mfa.utils import is_mfa_enabled
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.cache import cache
from django.db.models.signals import post_save
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from audit.event import AuditEvent
from audit.record import record
from gateway import notices
from gateway.console.acting import person_named
from gateway.console.step_up import stamp
from gateway.sessions import end_all_sessions
from governance.fence.actor import governed_change
from governance.models import User

USED = "break_glass_account.used"
LONGEST_EMAIL = 254
TOLD_EVERY_SECONDS = 60
COUNTED_FOR_SECONDS = 24 * 60 * 60
WAYS = {
    Authenticator.Type.TOTP: "authenticator app",
    Authenticator.Type.WEBAUTHN: "passkey",
    Authenticator.Type.RECOVERY_CODES: "recovery codes",
}


def listen() -> None:
    user_logged_in.connect(signed_in)
    user_logged_out.connect(signed_out)
    user_login_failed.connect(sign_in_failed)
    authentication_step_completed.connect(signed_in_again)
    authentication_failed.connect(second_factor_failed)
    post_save.connect(switched_off, sender=User)
    for signal, kind in (
        (password_set, "person.password_set"),
        (password_changed, "person.password_changed"),
        (password_reset, "person.password_reset"),
    ):
        signal.connect(_teller_of_password(kind), weak=False)
    for signal, kind in (
        (authenticator_added, "person.second_factor_added"),
        (authenticator_removed, "person.second_factor_removed"),
        (authenticator_reset, "person.recovery_codes_made"),
    ):
        signal.connect(_teller_of_second_factor(kind), weak=False)


def signed_in(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Kind person.signed_in; `how` names the proofs in their order."""
    stamp(request)
    _tell("person.signed_in", request, user, how=_how(request, user))
    if user.break_glass:
        _tell_of_break_glass(request, user)
    if request.META.get("REMOTE_ADDR"):
        UserSession.objects.create_from_request(request)
    if user.is_staff and user.has_usable_password() and not (is_mfa_enabled(user) or _came_by(request)):
        _suggest_second_factor(request)


def _tell_of_break_glass(request: HttpRequest, user: User) -> None:
    """Loud: whoever has its proofs may do everything, and no directory can stop her."""
    now, how, address = datetime.now(UTC), _how(request, user), _address(request)
    with governed_change(by=person_named(user)):
        details = {"address": address, "how": how}
        record(AuditEvent(kind=USED, at=now, actor=person_named(user), person=user.email, details=details))
        notices.break_glass_account_used(user, how=how, address=address, now=now)


def _suggest_second_factor(request: HttpRequest) -> None:
    text = 'Your password alone lets somebody in. <a href="{}">Add a second factor</a>: it takes two minutes.'
    messages.warning(request, format_html(text, reverse("mfa_index")), fail_silently=True)


def switched_off(sender: Any, instance: User, created: bool, **_: Any) -> None:
    if not (instance.is_active or created):
        end_all_sessions(instance)


def signed_in_again(sender: Any, request: HttpRequest, user: User, **step: Any) -> None:
    if step.get("reauthenticated") and request.user.is_authenticated and request.user.pk == user.pk:
        stamp(request)


def signed_out(sender: Any, request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        _tell("person.signed_out", request, user)


def sign_in_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """The e-mail is whatever a stranger typed; the password is not among what Django hands on."""
    _tell_of_failures("person.sign_in_failed", request, _typed(credentials), how="password")


def second_factor_failed(sender: Any, request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    _tell_of_failures("person.sign_in_failed", request, user.email, how=WAYS[authenticator.type])


def locked_out(request: HttpRequest, email: str) -> None:
    """An attempt that was not even looked at, because too many failed before it."""
    _tell_of_failures("person.sign_in_locked", request, email, how="password")


def turned_away(request: HttpRequest, user: User, *, code: str) -> None:
    """Her proofs were right, and she is not let in this way."""
    _tell_of_failures("person.sign_in_failed", request, user.email, how=code)


def single_sign_on_failed(request: HttpRequest, *, code: str) -> None:
    """The provider let her go, and here she was stopped. Whose account it claims to be is not proven, so not told."""
    _tell_of_failures("person.sign_in_failed", request, "", how=f"single sign-on: {code}")


def session_ended(request: HttpRequest, user: User, *, address: str) -> None:
    _tell("person.session_ended", request, user, ended_address=address)


def _how(request: HttpRequest, user: User) -> str:
    if came_by := _came_by(request):
        return came_by
    steps = get_authentication_records(request, user)
    return ", ".join(WAYS.get(step.get("type"), step["method"]) for step in steps) or "password"


def _came_by(request: HttpRequest) -> str:
    """What is none of the sign-in library's ways: a one-time link, single sign-on."""
    return str(getattr(request, "came_by", ""))


def _teller_of_password(kind: str) -> Any:
    def tell(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
        _tell(kind, request, user)

    return tell


def _teller_of_second_factor(kind: str) -> Any:
    def tell(sender: Any, request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
        _tell(kind, request, user, factor=WAYS[authenticator.type])

    return tell


def _tell(kind: str, request: HttpRequest, user: User, **details: Any) -> None:
    person = person_named(user)
    _record(kind, actor=person, person=user.email, details={"address": _address(request), **details})


def _tell_of_failures(kind: str, request: HttpRequest | None, email: str, *, how: str) -> None:
    """`attempts` are those since the last event of this kind, person and address."""
    address = _address(request) if request else ""
    email = email[:LONGEST_EMAIL]
    key = hashlib.sha256(f"{kind}|{email.lower()}|{address}|{how}".encode()).hexdigest()
    cache.add(f"failures:{key}", 0, COUNTED_FOR_SECONDS)
    try:
        attempts = cache.incr(f"failures:{key}")
    except ValueError:  # it was forgotten in between
        attempts = 1
    if cache.add(f"told:{key}", 1, TOLD_EVERY_SECONDS):
        cache.delete(f"failures:{key}")
        details = {"address": address, "how": how, "attempts": attempts}
        _record(kind, actor="stranger", person=email, details=details)


def _record(kind: str, *, actor: str, person: str, details: dict[str, Any]) -> None:
    with governed_change(by=actor):
        record(AuditEvent(kind=kind, at=datetime.now(UTC), actor=actor, person=person, details=details))


def _typed(credentials: dict[str, Any]) -> str:
    return str(credentials.get("email") or credentials.get("username") or "")


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
