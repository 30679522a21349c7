"""Who may sign in here by password, passkey or one-time link, and what is asked of the break-glass account."""

from allauth.account.internal.stagekit import clear_login
from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from gateway.console import sign_ins
from gateway.console.single_sign_on.ways import only_way, ways
from governance.models import User

ELSEWHERE = "Here only the break-glass account signs in by itself. Use single sign-on."
NO_FACTOR = (
    "The break-glass account needs a second factor, and has none. Ask an owner for a one-time link, "
    "or make one on the machine with `manage.py create_owner`, and add a passkey or an authenticator app."
)


def turned_away(request: HttpRequest, person: User, *, by_link: bool = False) -> HttpResponse | None:
    """A page that says why, before she is in; None if she may go on. A link is the way back for who lost a factor."""
    if not person.break_glass and only_way():
        return _no(request, person, why=ELSEWHERE, code="local sign-in is off")
    if person.break_glass and not by_link and not is_mfa_enabled(person):
        return _no(request, person, why=NO_FACTOR, code="no second factor")
    return None


def _no(request: HttpRequest, person: User, *, why: str, code: str) -> HttpResponse:
    clear_login(request)
    sign_ins.turned_away(request, person, code=code)
    return render(request, "account/turned_away.html", {"why": why, "ways": ways()}, status=403)
