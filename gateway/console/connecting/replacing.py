"""A new value for a secret: tried at every system that uses it first, stored only then.

Whoever types the value must see where it will be sent, and say so: an IT admin could have pointed a connector at a
listener of hers just before. What was seen is compared again when the value is sent, and once more, under the
secret's lock, when it is stored. The value lives in this request alone: it is in no page, message, session or log.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.core.signing import BadSignature, Signer
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from gateway.actions import act
from gateway.console.acting import person_named
from gateway.console.connecting.doors import behind
from gateway.secret_trials import (
    PERMISSION,
    Candidate,
    Done,
    Moved,
    Places,
    Trial,
    candidate,
    check_candidate,
    is_accepted,
    store,
    try_value,
)
from governance.destinations import destinations
from governance.models import Secret, User
from governance.vault import UnusableSecret

TEMPLATE: Final = "console/connecting/replace.html"
LONGEST_VALUE: Final = 64 * 1024
MOVED = "The addresses changed since you opened this page. Nothing was sent. Look at them again."
UNSEEN = "Say that you have looked at the addresses."
NOT_KEPT = "The new value was neither sent nor kept: enter it again."
SIGNER = Signer(salt="gatehouse.replace-secret")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of the form."""

    tried: Candidate
    is_seen: bool
    anyway: bool


def seal_places(secret: Secret, places: Places) -> str:
    """What the page showed, so that another page's or another secret's addresses cannot be passed off for it."""
    return SIGNER.sign_object([str(secret.pk), dict(places)])


def _was_shown(secret: Secret, token: str) -> Places | None:
    try:
        shown, places = SIGNER.unsign_object(token)
    except (BadSignature, ValueError):
        return None
    return dict(places) if shown == str(secret.pk) else None


def _as_typed(request: HttpRequest, secret_id: UUID) -> HttpResponse:
    """All that was typed is secret, so none of it."""
    return _page(request, secret_id, problem=NOT_KEPT)


@never_cache
@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
@behind(PERMISSION, as_typed=_as_typed)
@sensitive_variables()
async def replace_secret(request: HttpRequest, secret_id: UUID) -> HttpResponse:
    if request.method == "GET":
        return await sync_to_async(_page)(request, secret_id)
    attempt, problem = await sync_to_async(_attempt)(request, secret_id)
    if problem:
        return await sync_to_async(_page)(request, secret_id, problem=problem, status=422)
    trials = await try_value(attempt.tried)
    if not is_accepted(trials) and not attempt.anyway:
        return await sync_to_async(_page)(request, secret_id, trials=trials, status=409)
    try:
        done = await sync_to_async(_switch)(attempt, trials, request.user)
    except Moved:
        return await sync_to_async(_page)(request, secret_id, problem=MOVED, trials=trials, status=409)
    except OperationalError:
        busy = "The database was busy, so nothing was stored. Try again."
        return await sync_to_async(_page)(request, secret_id, problem=busy, trials=trials, status=503)
    return await sync_to_async(_page)(request, secret_id, trials=trials, done=done)


@sensitive_variables()
def _attempt(request: HttpRequest, secret_id: UUID) -> tuple[Attempt, str]:
    """What was submitted, and what is wrong with it. The rows that are compared are the rows that will be asked."""
    tried = candidate(_secret(secret_id), request.POST.get("value", ""))
    attempt = Attempt(tried, request.POST.get("seen") == "on", request.POST.get("anyway") == "on")
    return attempt, _complaint(attempt, request.POST.get("places", ""))


@sensitive_variables()
def _complaint(attempt: Attempt, token: str) -> str:
    tried = attempt.tried
    if _was_shown(tried.secret, token) != tried.places:
        return MOVED
    if tried.places and not attempt.is_seen:
        return UNSEEN
    if not tried.value or len(tried.value) > LONGEST_VALUE:
        return "Enter the new value."
    try:
        check_candidate(tried)
    except UnusableSecret as reason:
        return str(reason)
    return ""


@sensitive_variables()
def _switch(attempt: Attempt, trials: list[Trial], user: Any) -> Done:
    """Raises Moved."""
    return act(
        lambda record, now: store(attempt.tried, trials, person=user, record=record, now=now), by=person_named(user)
    )


def _secret(secret_id: UUID) -> Secret:
    secret = Secret.objects.filter(pk=secret_id).first()
    if secret is None:
        raise Http404
    return secret


def _page(request: HttpRequest, secret_id: UUID, *, status: int = 200, **told: Any) -> HttpResponse:
    """Takes nothing that was typed: the value cannot find its way back into the page."""
    secret = _secret(secret_id)
    places = destinations(secret)
    assert isinstance(request.user, User)
    context = {
        **admin.site.each_context(request),
        "title": f"Replace the value of {secret.name}",
        "secret": secret,
        "live": secret.versions.filter(retired_at=None).only("number", "created_at").first(),
        "places": places,
        "token": seal_places(secret, places),
        **told,
    }
    return TemplateResponse(request, TEMPLATE, context, status=status)
