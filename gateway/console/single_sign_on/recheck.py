"""Ends with its next request a session whose account was ended here, and asks the provider every few minutes whether
she is still who she was, without a word to her.

In the place of the library's SessionRefresh, which knows of GET requests only: what it lets pass goes on for ever.
"""

import time
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import urlencode

from gateway.console.single_sign_on.ways import Way, way_by
from gateway.sessions import CAME_BY
from governance.models import User
from governance.staff_identities import is_live

GRACE_SECONDS: Final = 300
"""What is no page of its own is let through for so long after the next question was due."""

EXEMPT: Final = (
    *("/account/single-sign-on/", "/account/again/by-single-sign-on/", "/account/again/by-saml/"),
    *("/account/logout/", "/account/login/", "/static/", "/api/"),
)


class AskAgain(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        came = request.session.get(CAME_BY)
        if not came or not isinstance(request.user, User):
            return None
        sign_on = way_by(came.get("protocol", ""))
        if sign_on is None or not is_live(came["identity"], request.user):
            logout(request)
            return None
        overdue = time.time() - _checked_at(came) - settings.OIDC_RECHECK_SECONDS
        if overdue < 0 or request.path.startswith(EXEMPT):
            return None
        return _asked(request, sign_on, is_late=overdue >= GRACE_SECONDS)


def _asked(request: HttpRequest, sign_on: Way, *, is_late: bool) -> HttpResponse | None:
    way = f"{reverse(sign_on.recheck)}?{urlencode({'next': _back(request)})}"
    if _is_page(request):
        return redirect(way)
    return render(request, "account/single_sign_on_recheck.html", {"way": way}, status=403) if is_late else None


def _checked_at(came: dict[str, Any]) -> float:
    checked_at = came.get("checked_at", 0)
    return checked_at if checked_at <= time.time() else 0


def _is_page(request: HttpRequest) -> bool:
    """What a browser opens in a tab, so that it may go to another site and come back."""
    destination = request.headers.get("Sec-Fetch-Dest", "document")
    return request.method == "GET" and destination == "document" and "X-Requested-With" not in request.headers


def _back(request: HttpRequest) -> str:
    return request.get_full_path() if request.method == "GET" else reverse("me")
