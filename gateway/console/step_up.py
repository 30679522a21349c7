"""Dangerous acts want a sign-in that is fresh.

Every way in stamps its session (sign_ins.py), and so does signing in again on request: by password, authenticator
app or passkey. A POST that comes too late is not kept for later, because sessions are stored in the clear and a
form may hold a secret; the person is led back to the page she came from.
"""

import time
from datetime import timedelta
from urllib.parse import urlsplit

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from governance.duties import FRESH_LOGIN

FRESH = timedelta(minutes=15)
STAMP = "signed_in_at"


def stamp(request: HttpRequest) -> None:
    request.session[STAMP] = time.time()


def is_fresh(request: HttpRequest) -> bool:
    signed_in_at = request.session.get(STAMP, 0)
    return request.user.is_authenticated and 0 <= time.time() - signed_in_at < FRESH.total_seconds()


def needs_fresh_login(request: HttpRequest, permission: str) -> HttpResponse | None:
    """The way to sign in again, when the act is dangerous and the last sign-in too long ago; else None."""
    if permission not in FRESH_LOGIN or is_fresh(request):
        return None
    return sign_in_again(request)


def sign_in_again(request: HttpRequest) -> HttpResponse:
    ways = get_adapter(request).get_reauthentication_methods(request.user)
    if not ways:
        return HttpResponseRedirect(reverse("account_link_too_old"))
    if request.method != "GET":
        messages.warning(request, "Nothing was done yet. You have signed in again: please repeat the last step.")
    return HttpResponseRedirect(f"{ways[0]['url']}?{urlencode({'next': _way_back(request)})}")


def _way_back(request: HttpRequest) -> str:
    if request.method == "GET":
        return request.get_full_path()
    came_from = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(came_from, allowed_hosts={request.get_host()}):
        return request.path
    page = urlsplit(came_from)
    return f"{page.path}?{page.query}" if page.query else page.path
