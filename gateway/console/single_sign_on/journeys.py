"""To the provider and back, whichever protocol carries it: what a journey is for, and how it ends."""

import time
from typing import Any, Final

from allauth.account.internal.flows.logout import logout
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from gateway.console import sign_ins
from gateway.console.single_sign_on.arriving import Arrival, mark, sign_in
from gateway.console.single_sign_on.ways import Way
from gateway.console.step_up import STAMP
from governance.models import User

SIGN_IN, RECHECK, AGAIN, CONNECT = "sign_in", "recheck", "again", "connect"
MINUTES: Final = 10
CONNECTS_UNTIL: Final = "connects_until"
CONNECT_SECONDS: Final = 5 * 60
SAID_NO: Final = "Your identity provider did not let you in."
TOO_OLD: Final = "This sign-in was begun too long ago, or in another browser. Begin it again."


class Failed(Exception):
    """Why she is not in; shown to her, and its code kept in evidence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def may_connect(request: HttpRequest) -> bool:
    return bool(request.user.is_authenticated and request.session.get(CONNECTS_UNTIL, 0) > time.time())


def is_current(journey: dict[str, Any] | None) -> bool:
    return journey is not None and "purpose" in journey and journey["added_on"] > time.time() - MINUTES * 60


def traveller(request: HttpRequest, journey: dict[str, Any]) -> User | None:
    """Who is signed in already, where the journey is about her. Raises Failed."""
    if journey["purpose"] == SIGN_IN:
        return None
    if not isinstance(request.user, User):
        raise Failed("signed_out", "You are not signed in here any more.")
    return request.user


def end(
    request: HttpRequest, journey: dict[str, Any], arrival: Arrival, *, way: Way, proven_at: float, hint: str = ""
) -> HttpResponseBase:
    """Raises Failed."""
    purpose = journey["purpose"]
    if purpose in (RECHECK, AGAIN) and arrival.person != request.user:
        raise Failed("somebody_else", "At your identity provider somebody else is signed in.")
    if purpose == SIGN_IN:
        sign_in(request, arrival, proven_at=proven_at)
        mark(request, arrival, protocol=way.protocol, hint=hint)
    elif arrival.has_lost_rights:
        logout(request)
    elif purpose != CONNECT:
        mark(request, arrival, protocol=way.protocol, hint=hint)
    if purpose == AGAIN and request.user.is_authenticated:
        request.session[STAMP] = min(proven_at, time.time())
    return redirect(_on(request, journey))


def _on(request: HttpRequest, journey: dict[str, Any]) -> str:
    if journey["purpose"] == CONNECT:
        return reverse("single_sign_on")
    home = "admin:index" if request.user.is_authenticated and request.user.is_staff else "me"
    return journey.get("next") or reverse(home)


def failed(
    request: HttpRequest, why: Failed, *, way: Way, journey: dict[str, Any] | None = None, status: int = 403
) -> HttpResponse:
    """Who was only to be asked about is out: what is not known is no yes."""
    journey = journey or {}
    if journey.get("purpose") == RECHECK:
        logout(request)
    if why.code != "provider_error":
        sign_ins.single_sign_on_failed(request, code=why.code)
    context = {"why": str(why), "back": journey.get("next") or "", "way": way}
    return render(request, "account/single_sign_on_failed.html", context, status=status)
