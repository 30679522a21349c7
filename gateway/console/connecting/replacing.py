"""A new value for a secret: tried at every system that uses it first, stored only then.

Whoever types the value must see where it will be sent, and say so: an IT admin could have pointed a connector at a
listener of hers just before. What was seen is compared again when the value is sent, and once more, under the
secret's lock, when it is stored. The value lives in this request alone: it is in no page, message, session or log.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import admin
from django.core.signing import BadSignature, Signer
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from connectors.base import UpstreamAuth
from connectors.egress import Egress
from connectors.kinds import KINDS
from gateway.actions import act
from gateway.console.acting import person_named
from gateway.console.connecting.checks import failed
from gateway.console.connecting.doors import behind, still_may
from gateway.console.connecting.examine import spec_of, tools
from gateway.discovery import Question, ask_all
from governance.destinations import destinations, origins
from governance.facts import Fact, Recorder
from governance.models import Connector, Epoch, Secret, User
from governance.registry import Catalogue
from governance.vault import UnusableSecret, auth_headers, check_presentable, put_secret_value

PERMISSION: Final = "governance.replace_secret"
TEMPLATE: Final = "console/connecting/replace.html"
LONGEST_VALUE: Final = 64 * 1024
MOVED = "The addresses changed since you opened this page. Nothing was sent. Look at them again."
UNSEEN = "Say that you have looked at the addresses."
SIGNER = Signer(salt="gatehouse.replace-secret")

Places = Mapping[str, list[str]]


class Moved(Exception):
    """The secret goes elsewhere by now, or the person may not any more; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one system said to the new value."""

    connector: str
    is_accepted: bool
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of the form."""

    secret: Secret
    places: Places
    connectors: tuple[Connector, ...]
    value: str = field(repr=False)
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


@never_cache
@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
@behind(PERMISSION)
@sensitive_variables()
async def replace_secret(request: HttpRequest, secret_id: UUID) -> HttpResponse:
    if request.method == "GET":
        return await sync_to_async(_page)(request, secret_id)
    attempt, error = await sync_to_async(_attempt)(request, secret_id)
    if error:
        return await sync_to_async(_page)(request, secret_id, error=error, status=422)
    trials = await try_value(attempt)
    if not all(trial.is_accepted for trial in trials) and not attempt.anyway:
        return await sync_to_async(_page)(request, secret_id, trials=trials, status=409)
    try:
        done = await sync_to_async(_switch)(attempt, trials, request.user)
    except Moved:
        return await sync_to_async(_page)(request, secret_id, error=MOVED, trials=trials, status=409)
    except OperationalError:
        busy = "The database was busy, so nothing was stored. Try again."
        return await sync_to_async(_page)(request, secret_id, error=busy, trials=trials, status=503)
    return await sync_to_async(_page)(request, secret_id, trials=trials, done=done)


@sensitive_variables()
def _attempt(request: HttpRequest, secret_id: UUID) -> tuple[Attempt, str]:
    """What was submitted, and what is wrong with it. The rows that are compared are the rows that will be asked."""
    secret = _secret(secret_id)
    connectors = tuple(secret.connectors.order_by("name"))
    value = request.POST.get("value", "")
    attempt = Attempt(
        secret,
        {each.name: origins(each.urls) for each in connectors},
        connectors,
        value,
        request.POST.get("seen") == "on",
        request.POST.get("anyway") == "on",
    )
    return attempt, _complaint(attempt, request.POST.get("places", ""))


@sensitive_variables()
def _complaint(attempt: Attempt, token: str) -> str:
    if _was_shown(attempt.secret, token) != attempt.places:
        return MOVED
    if attempt.places and not attempt.is_seen:
        return UNSEEN
    if not attempt.value or len(attempt.value) > LONGEST_VALUE:
        return "Enter the new value."
    try:
        check_presentable(attempt.secret.kind, attempt.secret.header_name, attempt.value)
    except UnusableSecret as reason:
        return str(reason)
    return ""


@sensitive_variables()
async def try_value(attempt: Attempt) -> list[Trial]:
    """Presents the value, not yet stored, to every system that uses the secret, all at once."""
    if attempt.secret.kind == Secret.Kind.OAUTH_CLIENT:
        return [Trial(name, False, "This kind of secret cannot be tried beforehand.") for name in attempt.places]
    headers = auth_headers(attempt.secret.kind, attempt.secret.header_name, attempt.value)
    auth = partial(UpstreamAuth, headers, "trial")
    egress = Egress(allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS)
    kinds = {name: kind(egress) for name, kind in KINDS.items()}
    try:
        found = await ask_all([Question(spec_of(each), auth) for each in attempt.connectors], kinds)
    finally:
        for kind in kinds.values():
            await kind.close()
        egress.close()
    return [_trial(name, found[name], places) for name, places in attempt.places.items()]


def _trial(name: str, found: Catalogue, places: list[str]) -> Trial:
    if not found.error:
        return Trial(name, True, f"accepts it, {tools(len(found.tools))}")
    check = failed(found.error, host=", ".join(places), addresses=(), is_connected=True, is_speaking=False)
    remedy = "Is the value complete, and already valid there?" if check.key == "access" else check.remedy
    return Trial(name, False, check.text, remedy)


@dataclass(frozen=True, slots=True)
class Done:
    version: int
    epoch: int
    is_verified: bool


@sensitive_variables()
def _switch(attempt: Attempt, trials: list[Trial], user: Any) -> Done:
    """One transaction: the new value live, the old one retired, and evidence of what was verified. Raises Moved."""
    accepted = [trial.connector for trial in trials if trial.is_accepted]
    is_verified = bool(trials) and len(accepted) == len(trials)
    by = person_named(user)

    @sensitive_variables()
    def work(record: Recorder, now: datetime) -> Done:
        secret = Secret.objects.select_for_update().get(pk=attempt.secret.pk)
        if destinations(secret) != attempt.places or _is_another_way(secret, attempt.secret):
            raise Moved
        if not still_may(user.pk, PERMISSION):
            raise Moved
        version = put_secret_value(secret, value=attempt.value, by=by, record=record, now=now)
        told = {"version": version.number, "verified": is_verified, "accepted_by": accepted, "sent_to": attempt.places}
        record(Fact("secret.replaced", f"secret:{secret.name}", told))
        return Done(version.number, Epoch.objects.values_list("number", flat=True).get(id=1), is_verified)

    return act(work, by=by)


def _is_another_way(now: Secret, then: Secret) -> bool:
    return (now.kind, now.header_name) != (then.kind, then.header_name)


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
    return render(request, TEMPLATE, context, status=status)
