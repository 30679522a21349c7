"""The way to the provider and back: to sign in, to prove it again, to be asked about quietly, to connect an account."""

import time
from typing import Any, Final
from urllib.parse import urlencode

from allauth.account.internal.flows.logout import logout
from allauth.account.views import LogoutView
from allauth.core.internal.ratelimit import consume
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from gateway.console import sign_ins
from gateway.console.accounts.views import signed_in_recently
from gateway.console.single_sign_on import provider
from gateway.console.single_sign_on.arriving import SESSION_KEY, mark, sign_in
from gateway.console.single_sign_on.oidc import STATE_MINUTES, CodeFlow, callback_url, id_token_of, setting
from gateway.console.single_sign_on.tokens import NotProven
from gateway.console.step_up import FRESH, STAMP
from gateway.fetching import NotFetched
from governance.models import User
from governance.staff_identities import NotBound, live_of_person

SIGN_IN, RECHECK, AGAIN, CONNECT = "sign_in", "recheck", "again", "connect"
ASKED: Final[dict[str, dict[str, str]]] = {
    SIGN_IN: {},
    RECHECK: {"prompt": "none"},
    AGAIN: {"prompt": "login", "max_age": "0"},
    CONNECT: {"prompt": "login", "max_age": "0"},
}
"""For connecting, too, she proves herself anew: somebody else's session at the provider must not be connected."""

STATES = "oidc_states"
CONNECTS_UNTIL = "connects_until"
CONNECT_SECONDS = 5 * 60
SAID_NO: Final = "Your identity provider did not let you in."
WORDS: Final = {
    "access_denied": "You, or your identity provider, said no.",
    "login_required": "You are not signed in at your identity provider any more.",
    "interaction_required": "Your identity provider wants to ask you something first.",
    "consent_required": "Your identity provider wants to ask you something first.",
    "account_selection_required": "Your identity provider wants to know which account you mean.",
}


class Failed(Exception):
    """Why she is not in; shown to her, and its code kept in evidence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@method_decorator(never_cache, name="dispatch")
class Start(OIDCAuthenticationRequestView):  # type: ignore[misc]
    """Opens the provider's page with a state, a nonce and a PKCE challenge that only this session knows."""

    get_settings = staticmethod(setting)
    purpose = SIGN_IN

    def __init__(self, **kwargs: Any) -> None:
        """Nothing is asked of the provider yet."""
        super(OIDCAuthenticationRequestView, self).__init__(**kwargs)

    def get(self, request: HttpRequest) -> HttpResponseBase:
        if not provider.is_configured():
            raise Http404
        if self.purpose == CONNECT and not _may_connect(request):
            return redirect("single_sign_on")
        if not consume(request, app="allauth.account", action="login"):
            return render(request, "account/too_many_requests.html", status=429)
        try:
            super().__init__()
            response: HttpResponseBase = super().get(request)
        except (NotFetched, NotProven) as why:
            return _failed(request, Failed("unreachable", f"Your identity provider cannot be asked. {why}"), status=503)
        self._note(request)
        return response

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        return {**ASKED[self.purpose], "redirect_uri": callback_url()}

    def _note(self, request: HttpRequest) -> None:
        """What this journey is for is kept with its state, not sent along."""
        newest = max(request.session[STATES].values(), key=lambda entry: entry["added_on"])
        newest["purpose"], newest["next"] = self.purpose, request.session.pop("oidc_login_next", None)
        request.session.modified = True


def _may_connect(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.session.get(CONNECTS_UNTIL, 0) > time.time()


@method_decorator([never_cache, sensitive_variables()], name="dispatch")
class Callback(OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """Where the provider sends people back to. Whatever is wrong ends on one page that says why."""

    get_settings = staticmethod(setting)

    def get(self, request: HttpRequest) -> HttpResponseBase:
        journey: dict[str, Any] = {}
        try:
            journey = _journey(request)
            return self._arrived(request, journey)
        except (NotFetched, NotProven, NotBound, Failed) as why:
            if journey.get("purpose") == RECHECK:
                logout(request)
            code = getattr(why, "code", "unreachable")
            message = str(why) if code != "unreachable" else f"Your identity provider cannot be asked. {why}"
            return _failed(request, Failed(code, message), back=journey.get("next") or "")

    def _arrived(self, request: HttpRequest, journey: dict[str, Any]) -> HttpResponseBase:
        purpose, was = journey["purpose"], request.user
        if purpose != SIGN_IN and not isinstance(was, User):
            raise Failed("signed_out", "You are not signed in here any more.")
        flow = CodeFlow(
            max_age=FRESH.total_seconds() if purpose in (AGAIN, CONNECT) else None,
            connects=was if purpose == CONNECT and isinstance(was, User) else None,
        )
        flow.authenticate(request, nonce=journey["nonce"], code_verifier=journey["code_verifier"])
        request.session = type(request.session)(request.session.session_key)
        if flow.arrival is None:
            raise Failed("token", SAID_NO)
        if purpose in (RECHECK, AGAIN) and flow.arrival.person != was:
            raise Failed("somebody_else", "At your identity provider somebody else is signed in.")
        if purpose == SIGN_IN:
            sign_in(request, flow.arrival, proven_at=flow.proven_at(), hint=flow.hint)
        elif flow.arrival.has_lost_rights:
            logout(request)
        elif purpose != CONNECT:
            mark(request, flow.arrival, hint=flow.hint)
        if purpose == AGAIN and request.user.is_authenticated:
            request.session[STAMP] = min(flow.proven_at(), time.time())
        return redirect(_way_on(request, journey))


def _journey(request: HttpRequest) -> dict[str, Any]:
    """The one that this answer belongs to; used up by it, whatever it says. Raises Failed."""
    states = request.session.get(STATES)
    journey = states.pop(request.GET.get("state", ""), None) if isinstance(states, dict) else None
    if journey is None or "purpose" not in journey or journey["added_on"] < time.time() - STATE_MINUTES * 60:
        raise Failed("state", "This sign-in was begun too long ago, or in another browser. Begin it again.")
    request.session.modified = True
    request.session.save()
    said = request.GET.get("iss")
    if said != settings.OIDC_ISSUER and (said is not None or provider.provider().names_itself):
        raise Failed("iss", "The answer is another provider's.")
    if error := request.GET.get("error"):
        raise Failed("provider_error", WORDS.get(error, SAID_NO))
    return dict(journey)


def _way_on(request: HttpRequest, journey: dict[str, Any]) -> str:
    if journey["purpose"] == CONNECT:
        return reverse("single_sign_on")
    home = "admin:index" if request.user.is_authenticated and request.user.is_staff else "me"
    return journey.get("next") or reverse(home)


def _failed(request: HttpRequest, why: Failed, *, status: int = 403, back: str = "") -> HttpResponse:
    if why.code != "provider_error":
        sign_ins.single_sign_on_failed(request, code=why.code)
    context = {"why": str(why), "back": back, "name": settings.OIDC_NAME}
    return render(request, "account/single_sign_on_failed.html", context, status=status)


@never_cache
@login_required
@require_http_methods(["GET"])
def my_accounts(request: HttpRequest) -> HttpResponse:
    """Her accounts at the provider, and the way to connect one."""
    if not provider.is_configured():
        raise Http404
    assert isinstance(request.user, User)
    rows = live_of_person(request.user).order_by("created_at")
    can_connect = not request.user.break_glass and not rows.filter(issuer=settings.OIDC_ISSUER).exists()
    context = {"rows": rows, "can_connect": can_connect, "name": settings.OIDC_NAME}
    return render(request, "account/single_sign_on.html", context)


@require_http_methods(["POST"])
@signed_in_recently
def begin_connecting(request: HttpRequest) -> HttpResponseBase:
    """Only from a page of ours, soon after she signed in here by other means."""
    if not provider.is_configured():
        raise Http404
    request.session[CONNECTS_UNTIL] = time.time() + CONNECT_SECONDS
    return render(request, "account/single_sign_on_connect.html", {"name": settings.OIDC_NAME})


@method_decorator([never_cache, sensitive_variables()], name="dispatch")
class SignOut(LogoutView):  # type: ignore[misc]
    """Here at once; at the provider by one more press, because a form of ours leads to no other site."""

    def post(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        way = way_out(self.request)
        response: HttpResponseBase = super().post(*args, **kwargs)
        if not way:
            return response
        return render(self.request, "account/signed_out.html", {"way": way, "name": settings.OIDC_NAME})


@sensitive_variables()
def way_out(request: HttpRequest) -> str:
    """RP-initiated logout at the provider; empty if she did not come from there, or it offers none."""
    came = request.session.get(SESSION_KEY)
    if not (came and provider.is_configured()):
        return ""
    try:
        endpoint = provider.provider().end_session_endpoint
    except (NotFetched, NotProven):
        return ""
    if not endpoint:
        return ""
    back = f"{settings.PUBLIC_URL}{reverse('account_login')}"
    parameters = {"client_id": settings.OIDC_CLIENT_ID, "post_logout_redirect_uri": back}
    if hint := id_token_of(request, came.get("hint", "")):
        parameters["id_token_hint"] = hint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"
