"""Dangerous acts want a sign-in that is fresh.

Every way in stamps its session (sign_ins.py), and so does signing in again on request: by password, authenticator
app or passkey. A POST that comes too late is not kept for later, because sessions are stored in the clear and a
form may hold a secret. Where something was typed, the answer is the same page with all of it, and the person signs in
again beside it; elsewhere she is led back to the page she came from.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from governance.duties import FRESH_LOGIN

FRESH = timedelta(minutes=15)
STAMP = "signed_in_at"
NOTHING_DONE = "Nothing was done yet. Please repeat the last step when you have signed in again."
STALE = (
    "Nothing was saved yet. Your sign-in is older than 15 minutes. "
    '<a class="underline" href="{}" target="_blank">Sign in again in a new tab</a>, '
    "then press the button here once more. What you typed is still on this page, but for secret values."
)

Page = Callable[[], HttpResponse | None]
"""The page of a POST with what was typed, having done nothing and not rendered yet; None if nothing can be typed."""


def nothing_typed(*_: Any, **__: Any) -> None:
    """The `Page` of what is only a button."""


def stamp(request: HttpRequest) -> None:
    request.session[STAMP] = time.time()


def is_fresh(request: HttpRequest) -> bool:
    at = signed_in_at(request)
    return at is not None and datetime.now(UTC) - at < FRESH


def signed_in_at(request: HttpRequest) -> datetime | None:
    """When she last proved who she is; None where nothing tells, or it would be in the future."""
    stamped = request.session.get(STAMP, 0)
    return (
        datetime.fromtimestamp(stamped, UTC) if request.user.is_authenticated and 0 < stamped <= time.time() else None
    )


def needs_fresh_login(request: HttpRequest, permission: str, *, as_typed: Page = nothing_typed) -> HttpResponse | None:
    """The way to sign in again, when the act is dangerous and the last sign-in too long ago; else None."""
    if permission not in FRESH_LOGIN or is_fresh(request):
        return None
    return sign_in_again(request, as_typed=as_typed)


def sign_in_again(request: HttpRequest, *, as_typed: Page = nothing_typed) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseRedirect(way_to_sign_in(request, back=request.get_full_path()))
    page = as_typed()
    if page is None:
        messages.warning(request, NOTHING_DONE)
        return HttpResponseRedirect(way_to_sign_in(request, back=_came_from(request)))
    messages.error(request, format_html(STALE, way_to_sign_in(request, back=f"{reverse('me')}?signed-in-again")))
    page.status_code = 403
    return page


def way_to_sign_in(request: HttpRequest, *, back: str) -> str:
    """Where she proves who she is, and then gets to `back`. Who came by one-time link and chose no password has nothing
    to sign in with."""
    ways = get_adapter(request).get_reauthentication_methods(request.user)
    return f"{ways[0]['url']}?{urlencode({'next': back})}" if ways else reverse("account_link_too_old")


def _came_from(request: HttpRequest) -> str:
    came_from = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(came_from, allowed_hosts={request.get_host()}):
        return request.path
    page = urlsplit(came_from)
    return f"{page.path}?{page.query}" if page.query else page.path
