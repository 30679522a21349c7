"""SAML's way to the provider and back.

The provider's page posts its answer from another site, without our session's cookie. So the answer goes once through a
page of ours, which posts it again from here; nothing of it is kept or believed in between.
"""

import time
from typing import Any, Final

from allauth.core.internal.ratelimit import consume
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from gateway.console.single_sign_on import assertions
from gateway.console.single_sign_on.arriving import arrive, connect
from gateway.console.single_sign_on.journeys import (
    AGAIN,
    CONNECT,
    RECHECK,
    SIGN_IN,
    TOO_OLD,
    Failed,
    end,
    failed,
    is_current,
    may_connect,
    traveller,
)
from gateway.console.single_sign_on.tokens import NotProven
from gateway.console.single_sign_on.ways import SAML, Way, way_by
from governance.staff_identities import NotBound

JOURNEYS: Final = "saml_journeys"
MOST_JOURNEYS: Final = 5


def _way() -> Way:
    """Http404 where there is no such provider."""
    way = way_by(SAML)
    if way is None:
        raise Http404
    return way


@method_decorator(never_cache, name="dispatch")
class Start(View):
    purpose = SIGN_IN

    def get(self, request: HttpRequest) -> HttpResponseBase:
        _way()
        if self.purpose == CONNECT and not may_connect(request):
            return redirect("single_sign_on")
        if not consume(request, app="allauth.account", action="login"):
            return render(request, "account/too_many_requests.html", status=429)
        made = assertions.new_request(
            asks_nothing=self.purpose == RECHECK, proves_anew=self.purpose in (AGAIN, CONNECT)
        )
        known = request.session.get(JOURNEYS, {})
        newest = sorted(known.items(), key=lambda entry: entry[1]["added_on"])[-(MOST_JOURNEYS - 1) :]
        journey = {"purpose": self.purpose, "next": _next(request), "added_on": time.time()}
        request.session[JOURNEYS] = {**dict(newest), made.id: journey}
        return redirect(made.url)


def _next(request: HttpRequest) -> str:
    way_back = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(way_back, allowed_hosts={request.get_host()})
    return way_back if is_ours else ""


@csrf_exempt
@never_cache
@sensitive_post_parameters()
@require_http_methods(["POST"])
def callback(request: HttpRequest) -> HttpResponse:
    _way()
    posted = request.POST.get("SAMLResponse", "")[: assertions.LONGEST_RESPONSE + 1]
    return render(request, "account/saml_arrived.html", {"response": posted})


@csrf_exempt
@never_cache
@sensitive_post_parameters()
@sensitive_variables()
@require_http_methods(["POST"])
def finish(request: HttpRequest) -> HttpResponseBase:
    """Needs no token against forgery: an answer is only good for the session that asked for it, once."""
    way, journey = _way(), dict[str, Any]()
    try:
        answer = assertions.Answer(request.POST.get("SAMLResponse", ""))
        journey = _journey(request, answer.answers)
        return _arrived(request, journey, answer, way=way)
    except (NotProven, NotBound, Failed) as why:
        return failed(request, Failed(why.code, str(why)), way=way, journey=journey)


def _arrived(request: HttpRequest, journey: dict[str, Any], answer: assertions.Answer, *, way: Way) -> HttpResponseBase:
    if not journey:
        raise Failed("state", TOO_OLD)
    was, is_proven_anew = traveller(request, journey), journey["purpose"] in (AGAIN, CONNECT)
    proven = answer.proven(request_id=journey["id"], proven_since=journey["added_on"] if is_proven_anew else None)
    is_connecting = journey["purpose"] == CONNECT and was is not None
    arrival = connect(was, proven.account) if is_connecting and was else arrive(proven.account)
    return end(request, journey, arrival, way=way, proven_at=proven.proven_at)


def _journey(request: HttpRequest, request_id: str) -> dict[str, Any]:
    """The one that the answer names, used up by it, whatever it says; empty if there is none."""
    known = request.session.get(JOURNEYS, {})
    journey = known.pop(request_id, None)
    if journey is None or not is_current(journey):
        return {}
    request.session[JOURNEYS] = known
    request.session.save()
    return {**journey, "id": request_id}


@never_cache
@require_http_methods(["GET"])
def metadata(request: HttpRequest) -> HttpResponse:
    """What the provider's administrator loads."""
    _way()
    return HttpResponse(assertions.metadata(), content_type="application/samlmetadata+xml")
