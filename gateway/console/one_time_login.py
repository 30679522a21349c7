"""Links that sign a person in once: her first way in, before she has a password.

A link names the person and fingerprints her password and last sign-in, so any sign-in or new password ends it.
The page behind it only shows a button; mail scanners and chat previews that open links use nothing up.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from gateway.console.base import person_of
from gateway.recorder import recorder
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.models import User

SALT = "gatehouse.one-time-login"
LIFETIME = timedelta(hours=24)
BACKEND = "governance.duties.DutyBackend"


def one_time_login_url(user: User) -> str:
    """An absolute link that signs `user` in once within 24 hours. Whoever holds it can; show it once, log it never."""
    return f"{settings.PUBLIC_URL}{reverse('one_time_login', args=[_token(user)])}"


def _token(user: User) -> str:
    return signing.dumps([str(user.pk), _state(user)], salt=SALT)


def _state(user: User) -> str:
    seen = user.last_login.isoformat() if user.last_login else ""
    return salted_hmac(SALT, f"{user.pk}|{user.email}|{user.password}|{seen}", algorithm="sha256").hexdigest()


def _person_of(token: str) -> User | None:
    try:
        person_id, state = signing.loads(token, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=person_id, is_active=True).first()
    return user if user and constant_time_compare(state, _state(user)) else None


@sensitive_variables()
@never_cache
@require_http_methods(["GET", "POST"])
def one_time_login(request: HttpRequest, token: str) -> HttpResponse:
    user = _person_of(token)
    if user is None or (request.method == "POST" and not _use_up(user)):
        return render(request, "console/one_time_login.html", {"person": None}, status=410)
    if request.method == "GET":
        return render(request, "console/one_time_login.html", {"person": user})
    request.by_one_time_link = True  # type: ignore[attr-defined]
    login(request, user, backend=BACKEND)
    return redirect(_first_page(user))


def _use_up(user: User) -> bool:
    """Of two that click at once, one gets in."""
    with governed_change(by=f"person:{user.email}"):
        unused = User.objects.filter(pk=user.pk, is_active=True, password=user.password, last_login=user.last_login)
        return unused.update(last_login=timezone.now()) == 1


def _first_page(user: User) -> str:
    if not user.is_staff:
        return "me"
    return "admin:index" if user.has_usable_password() else "admin:password_change"


@never_cache
@require_http_methods(["GET", "POST"])
def make_one_time_login(request: HttpRequest, person_id: Any) -> HttpResponse:
    """An owner makes a link for somebody; nobody else may, because the link is as good as the person."""
    if not request.user.is_superuser:
        raise PermissionDenied
    person = get_object_or_404(User, pk=person_id, is_active=True)
    context = {**admin.site.each_context(request), "title": f"One-time login for {person.email}", "person": person}
    if request.method == "POST":
        with governed_change(by=person_of(request)):
            record = recorder(by=person_of(request), now=timezone.now())
            record(Fact("person.one_time_login_made", f"person:{person.email}"))
        context["url"] = one_time_login_url(person)
    return render(request, "admin/make_one_time_login.html", context)


@never_cache
@login_required
def me(request: HttpRequest) -> HttpResponse:
    """A person's own page."""
    return render(request, "console/me.html", {"agents": request.user.agents.all()})  # type: ignore[union-attr]
