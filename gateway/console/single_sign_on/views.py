"""The way to the provider and back: to sign in, to prove it again, to be asked about quietly, to connect an account."""

import time
from typing import Any, Final
from urllib.parse import urlencode

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

from gateway.console.accounts.views import signed_in_recently
from gateway.console.single_sign_on import provider
from gateway.console.single_sign_on.journeys import (
    AGAIN,
    CONNECT,
    CONNECT_SECONDS,
    CONNECTS_UNTIL,
    RECHECK,
    SAID_NO,
    SIGN_IN,
    TOO_OLD,
    Failed,
    end,
    failed,
    is_current,
    may_connect,
    traveller,
)
from gateway.console.single_sign_on.oidc import CodeFlow, callback_url, id_token_of, setting
from gateway.console.single_sign_on.tokens import NotProven
from gateway.console.single_sign_on.ways import OIDC, Way, way_by, ways
from gateway.fetching import NotFetched
from gateway.sessions import CAME_BY
from governance.models import User
from governance.staff_identities import NotBound, live_of_person

PROVEN_WITHIN: Final = "60"
"""Seconds. Saying any makes the provider tell when she proved herself; 0 sends people round in circles at some."""

ASKED: Final[dict[str, dict[str, str]]] = {
    SIGN_IN: {},
    RECHECK: {"prompt": "none"},
    AGAIN: {"prompt": "login", "max_age": PROVEN_WITHIN},
    CONNECT: {"prompt": "login", "max_age": PROVEN_WITHIN},
}
"""For connecting, too, she proves herself anew: somebody else's session at the provider must not be connected."""

STATES = "oidc_states"
WORDS: Final = {
    "access_denied": "You, or your identity provider, said no.",
    "login_required": "You are not signed in at your identity provider any more.",
    "interaction_required": "Your identity provider wants to ask you something first.",
    "consent_required": "Your identity provider wants to ask you something first.",
    "account_selection_required": "Your identity provider wants to know which account you mean.",
}


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
        if self.purpose == CONNECT and not may_connect(request):
            return redirect("single_sign_on")
        if not consume(request, app="allauth.account", action="login"):
            return render(request, "account/too_many_requests.html", status=429)
        try:
            super().__init__()
            response: HttpResponseBase = super().get(request)
        except (NotFetched, NotProven) as why:
            return failed(request, _unreachable(why), way=_way(), status=503)
        self._note(request)
        return response

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        return {**ASKED[self.purpose], "redirect_uri": callback_url()}

    def _note(self, request: HttpRequest) -> None:
        """What this journey is for is kept with its state, not sent along."""
        newest = max(request.session[STATES].values(), key=lambda entry: entry["added_on"])
        newest["purpose"], newest["next"] = self.purpose, request.session.pop("oidc_login_next", None)
        request.session.modified = True


def _way() -> Way:
    way = way_by(OIDC)
    assert way
    return way


def _unreachable(why: Exception) -> Failed:
    return Failed("unreachable", f"Your identity provider cannot be asked. {why}")


@method_decorator([never_cache, sensitive_variables()], name="dispatch")
class Callback(OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """Where the provider sends people back to. Whatever is wrong ends on one page that says why."""

    get_settings = staticmethod(setting)

    def get(self, request: HttpRequest) -> HttpResponseBase:
        if not provider.is_configured():
            raise Http404
        journey = _journey(request)
        try:
            return self._arrived(request, journey)
        except NotFetched as why:
            return failed(request, _unreachable(why), way=_way(), journey=journey)
        except (NotProven, NotBound, Failed) as why:
            return failed(request, Failed(why.code, str(why)), way=_way(), journey=journey)

    def _arrived(self, request: HttpRequest, journey: dict[str, Any]) -> HttpResponseBase:
        _check_answer(request, journey)
        purpose, was = journey["purpose"], traveller(request, journey)
        flow = CodeFlow(
            max_age=time.time() - journey["added_on"] if purpose in (AGAIN, CONNECT) else None,
            connects=was if purpose == CONNECT else None,
        )
        flow.authenticate(request, nonce=journey["nonce"], code_verifier=journey["code_verifier"])
        request.session = type(request.session)(request.session.session_key)
        if flow.arrival is None:
            raise Failed("token", SAID_NO)
        return end(request, journey, flow.arrival, way=_way(), proven_at=flow.proven_at(), hint=flow.hint)


def _journey(request: HttpRequest) -> dict[str, Any]:
    """The one that this answer belongs to, used up by it, whatever it says; empty if there is none."""
    states = request.session.get(STATES)
    journey = states.pop(request.GET.get("state", ""), None) if isinstance(states, dict) else None
    if journey is None or not is_current(journey):
        return {}
    request.session.modified = True
    request.session.save()
    return dict(journey)


def _check_answer(request: HttpRequest, journey: dict[str, Any]) -> None:
    """Raises Failed."""
    if not journey:
        raise Failed("state", TOO_OLD)
    said, error = request.GET.get("iss"), request.GET.get("error")
    if said not in (None, settings.OIDC_ISSUER):
        raise Failed("iss", "The answer is another provider's.")
    if error:
        raise Failed("provider_error", WORDS.get(error, SAID_NO))
    if said is None and provider.provider().names_itself:
        raise Failed("iss", "The answer is another provider's.")


@never_cache
@login_required
@require_http_methods(["GET"])
def my_accounts(request: HttpRequest) -> HttpResponse:
    """Her accounts at providers, and the way to connect one."""
    if not ways():
        raise Http404
    assert isinstance(request.user, User)
    rows = list(live_of_person(request.user).order_by("created_at"))
    connected = {row.issuer for row in rows}
    unconnected = [way for way in ways() if way.issuer not in connected and not request.user.break_glass]
    return render(request, "account/single_sign_on.html", {"rows": rows, "unconnected": unconnected})


@require_http_methods(["POST"])
@signed_in_recently
def begin_connecting(request: HttpRequest, protocol: str) -> HttpResponseBase:
    """Only from a page of ours, soon after she signed in here by other means."""
    way = way_by(protocol)
    if way is None:
        raise Http404
    request.session[CONNECTS_UNTIL] = time.time() + CONNECT_SECONDS
    return render(request, "account/single_sign_on_connect.html", {"way": way})


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
    came = request.session.get(CAME_BY)
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
