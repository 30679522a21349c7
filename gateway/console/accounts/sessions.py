"""The places where a person is signed in, and ending them: her own, one by one or all others."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from allauth.account.internal.flows.logout import logout
from allauth.core import context
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from gateway.console import sign_ins
from gateway.hostile_text import visible

BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
"""Marks are looked for in this order: Edge calls itself Chrome, too, and Chrome calls itself Safari."""

SEEN_EVERY = timedelta(minutes=5)


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]
    def end_sessions(self, sessions: Iterable[UserSession]) -> None:
        for session in sessions:
            session.end()
            sign_ins.session_ended(context.request, session.user, address=session.ip)


class SessionList(ListUserSessionsView):  # type: ignore[misc]
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().get_context_data(**kwargs)
        for session in found["sessions"]:
            session.browser = browser_of(session.user_agent)
        return found


def browser_of(user_agent: str) -> str:
    """For recognising one's own devices by; whatever is not known is shown as it is."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return " on ".join(filter(None, (browser, system))) or visible(user_agent[:80]) or "Unknown browser"


@never_cache
@login_required
@require_POST
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    session = get_object_or_404(UserSession, pk=session_id, user=request.user)
    if session.session_key == request.session.session_key:
        logout(request)
        session.delete()
        return redirect("account_login")
    SessionsAdapter().end_sessions([session])
    return redirect("usersessions_list")


class RememberLastSeen(MiddlewareMixin):
    """Notes a session's last use, at most every few minutes because each note is a write."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        key = request.session.session_key
        if key and request.user.is_authenticated and cache.add(f"seen:{key}", 1, SEEN_EVERY.total_seconds()):
            UserSession.objects.filter(session_key=key).update(last_seen_at=timezone.now())
        return response
