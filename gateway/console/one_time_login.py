"""The page behind a one-time link, and where IT makes one.

Opening it only shows a button: mail scanners and chat previews that open links use nothing up.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from gateway.console.accounts.local import turned_away
from gateway.console.acting import person_named, person_of
from gateway.console.step_up import needs_fresh_login
from gateway.hostile_text import visible
from gateway.one_time_links import one_time_login_url, person_of_link
from gateway.recorder import recorder
from governance.duties import may_sign_in_as
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.models import User

BACKEND = "governance.duties.DutyBackend"
INVITE = "governance.invite_user"


@sensitive_variables()
@never_cache
@require_http_methods(["GET", "POST"])
def one_time_login(request: HttpRequest, token: str) -> HttpResponse:
    user = person_of_link(token)
    if user is None:
        return _gone(request)
    if request.method == "GET":
        return render(request, "console/one_time_login.html", {"person": user})
    if refusal := turned_away(request, user, by_link=True):
        return refusal
    if not _use_up(user):
        return _gone(request)
    request.came_by = "one-time link"  # type: ignore[attr-defined]
    _log_in(request, user)
    return redirect(_first_page(user))


def _gone(request: HttpRequest) -> HttpResponse:
    return render(request, "console/one_time_login.html", {"person": None}, status=410)


def _log_in(request: HttpRequest, user: User) -> None:
    """Who was signed in already may have a form open in another tab: its CSRF token stays good."""
    was_in, token = request.user == user, request.META.get("CSRF_COOKIE")
    login(request, user, backend=BACKEND)
    if was_in:
        request.META["CSRF_COOKIE"] = token


def _use_up(user: User) -> bool:
    """Of two that click at once, one gets in."""
    with governed_change(by=person_named(user)):
        unused = User.objects.filter(pk=user.pk, is_active=True, password=user.password, last_login=user.last_login)
        return unused.update(last_login=timezone.now()) == 1


def _first_page(user: User) -> str:
    if not user.has_usable_password():
        return "account_set_password"
    return "admin:index" if user.is_staff else "me"


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def make_one_time_login(request: HttpRequest, person_id: Any) -> HttpResponse:
    """A link is as good as its person, so nobody makes one for somebody who may do more than she may herself."""
    person = get_object_or_404(User, pk=person_id, is_active=True)
    if not (request.user.has_perm(INVITE) and may_sign_in_as(request.user, person)):
        raise PermissionDenied
    if again := needs_fresh_login(request, INVITE):
        return again
    title = f"One-time login for {visible(person.email)}"
    context = {**admin.site.each_context(request), "title": title, "person": person}
    if request.method == "POST":
        with governed_change(by=person_of(request)):
            record = recorder(by=person_of(request), now=timezone.now())
            record(Fact("person.one_time_login_made", f"person:{person.email}"))
        context["url"] = one_time_login_url(person)
    return render(request, "admin/make_one_time_login.html", context)
