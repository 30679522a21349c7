"""Where issuers tell that access is over: security events pushed to us (RFC 8935), and Universal Logout.

What proves a message is its signature alone. Both answer only when it is in force; what was heard before is heard
again, because senders repeat what they are not sure of.
"""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from connectors.json_depth import is_too_deep
from gateway.departures import Braked
from gateway.jwks import KeysAway
from gateway.oauth.assertions import DEEPEST, MOST_BYTES, Expected, NotBelieved
from gateway.oauth.trusted import our_issuer, our_names, vouched
from gateway.security_events.acting import Done, carry_out
from gateway.security_events.reading import Effect, Event, NotUnderstood, events_of, subjects_of

logger = logging.getLogger(__name__)

PUSH_PATH: Final = "/ssf/events"
LOGOUT_PATH: Final = "/oauth/global-token-revocation"
EVENT_KIND: Final = "secevent+jwt"
LOGOUT_KIND: Final = "global-token-revocation+jwt"
EVENTS_TAKEN_FOR: Final = timedelta(days=7)
"""Senders repeat what we could not take, for so long."""
LOGOUT_LONGEST: Final = timedelta(minutes=10)
RETRY_SECONDS: Final = "60"
ERRORS: Final = {"issuer": "invalid_issuer", "audience": "invalid_audience", "signature": "invalid_key"}
"""Of RFC 8935, section 2.4."""


@csrf_exempt
@require_POST
def push(request: HttpRequest) -> HttpResponse:
    if request.content_type != "application/secevent+jwt":
        return _no("invalid_request", "Send one token, as application/secevent+jwt.")
    text = request.read(MOST_BYTES + 1)
    try:
        take_event(text.decode("ascii", "replace").strip(), now=datetime.now(UTC))
    except NotBelieved as reason:
        if reason.code != "replayed":
            return _no(ERRORS.get(reason.code, "invalid_request"), str(reason))
    except NotUnderstood as reason:
        return _no("invalid_request", str(reason))
    except (KeysAway, Braked) as reason:
        return _later(reason)
    return HttpResponse(status=202)


def take_event(text: str, *, now: datetime) -> Done:
    """One security event token, however it came. Not inside a transaction. Raises NotBelieved, NotUnderstood, KeysAway,
    Braked."""
    expected = Expected(
        issuer="",
        audiences=(*our_names(), our_issuer() + PUSH_PATH),
        algorithms=(),
        kinds=(EVENT_KIND,),
        longest=EVENTS_TAKEN_FOR,
        only_for_us=False,
        expires=False,
    )
    found = vouched(text, expected, now=now, ends_access=True)
    return carry_out(found.statement, found.issuer, events_of(found.statement.claims))


@csrf_exempt
@require_POST
def universal_logout(request: HttpRequest) -> HttpResponse:
    """draft-parecki-oauth-global-token-revocation: sessions and every client's tokens of one person."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    event = _logout_of(request.read(MOST_BYTES + 1))
    if event is None:
        return HttpResponse(status=400)
    expected = Expected(
        issuer="",
        audiences=(*our_names(), our_issuer() + LOGOUT_PATH),
        algorithms=(),
        kinds=(LOGOUT_KIND,),
        longest=LOGOUT_LONGEST,
    )
    try:
        if scheme.lower() != "bearer":
            raise NotBelieved("form", "It is no bearer token.")
        found = vouched(token, expected, now=datetime.now(UTC), ends_access=True)
        done = carry_out(found.statement, found.issuer, [event])
    except NotBelieved as reason:
        logger.info("A Universal Logout was refused: %s", reason.code)
        return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    except (KeysAway, Braked) as reason:
        return _later(reason)
    return HttpResponse(status=404 if done.missing else 204)


def _logout_of(body: bytes) -> Event | None:
    try:
        said: Any = json.loads(body) if len(body) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or is_too_deep(body, said, max_depth=DEEPEST):
        return None
    subjects = tuple(subjects_of(said.get("sub_id", said.get("subject"))))
    return Event("global-token-revocation", Effect.ACCESS, subjects) if subjects else None


def _no(error: str, message: str) -> HttpResponse:
    logger.info("A security event was refused: %s", error)
    return JsonResponse({"err": error, "description": message}, status=400)


def _later(reason: Exception) -> HttpResponse:
    logger.warning("A security event has to come again: %s", reason)
    return HttpResponse(status=503, headers={"Retry-After": RETRY_SECONDS})
