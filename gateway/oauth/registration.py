"""Clients that register themselves (RFC 7591), and look after what they registered (RFC 7592). Off unless the
organisation wants it. Whoever registers has nothing by it: a public client that waits until an administrator has looked
at it, and then still needs a person to let it in.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from connectors.json_depth import is_too_deep
from gateway.actions import act
from gateway.models import ClientRegistration
from governance import client_documents, key_text, oauth_clients
from governance.client_documents import Described, TooManyWait
from governance.facts import Recorder
from governance.models import OAuthClient, Organization
from governance.oauth_clients import BadClient

BODY_BYTES: Final = 16 * 1024
DEEPEST: Final = 8
TOKEN_PREFIX: Final = "gate_rr_"  # noqa: S105  (what tokens begin with)
AN_HOUR: Final = 3600
MOST_AN_HOUR: Final = 10
BY: Final = "client:registration"


class _No(Exception):
    """A refusal as RFC 7591 words it."""

    def __init__(self, status: int, error: str, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error = error


def _answering(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            if not Organization.objects.filter(clients_may_register=True).exists():
                raise _No(403, "access_denied", "Clients do not register themselves here. Ask an administrator.")
            response = view(request, *args, **kwargs)
        except _No as no:
            body = {"error": no.error} | ({"error_description": str(no)} if str(no) else {})
            response = JsonResponse(body, status=no.status)
        except BadClient as bad:
            kind = "invalid_redirect_uri" if bad.field == "redirect_uris" else "invalid_client_metadata"
            response = JsonResponse({"error": kind, "error_description": str(bad)}, status=400)
        response.headers["Cache-Control"] = "no-store"
        return response

    return answer


@csrf_exempt
@require_POST
@_answering
def register(request: HttpRequest) -> HttpResponse:
    _bound(request)
    described = client_documents.read_metadata(_body(request))
    token = key_text.new_text(TOKEN_PREFIX)

    def work(record: Recorder, now: datetime) -> OAuthClient:
        client = client_documents.enqueue(described, origin=OAuthClient.Origin.DCR, by=BY, record=record, now=now)
        ClientRegistration.objects.create(
            client_id=client.client_id, digest=key_text.digest_of(token), registered_at=now
        )
        return client

    try:
        return JsonResponse(_shown(act(work, by=BY), token), status=201)
    except TooManyWait as reason:
        raise _No(503, "temporarily_unavailable", str(reason)) from None


@csrf_exempt
@require_http_methods(["GET", "PUT", "DELETE"])
@_answering
def registered(request: HttpRequest, client_id: str) -> HttpResponse:
    """The same answer for a client that is not there, one of somebody else, and a wrong token."""
    client, token = _own(request, client_id)
    if request.method == "GET":
        return JsonResponse(_shown(client, token))
    if request.method == "DELETE":
        act(lambda record, now: oauth_clients.disable(client, by=BY, record=record, now=now), by=BY)
        ClientRegistration.objects.filter(client_id=client_id).delete()
        return HttpResponse(status=204)
    said = _body(request)
    if said.get("client_id") != client_id:
        raise _No(400, "invalid_client_metadata", "It is about another client.")
    described: Described = client_documents.read_metadata(said)
    changed = act(lambda record, _: client_documents.renew(client, described, by=BY, record=record), by=BY)
    return JsonResponse(_shown(changed, token))


def _own(request: HttpRequest, client_id: str) -> tuple[OAuthClient, str]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    digest = key_text.digest_of(token) if key_text.is_well_formed(token, prefix=TOKEN_PREFIX) else b""
    rows = ClientRegistration.objects.filter(client_id=client_id[:255], digest=digest) if digest else None
    clients = OAuthClient.objects.filter(client_id=client_id[:255], origin=OAuthClient.Origin.DCR)
    client = clients.exclude(status=OAuthClient.Status.DISABLED).first()
    if scheme.lower() != "bearer" or rows is None or not rows.exists() or client is None:
        raise _No(401, "invalid_token")
    return client, token


def _bound(request: HttpRequest) -> None:
    """By address, for whoever would fill the queue; the queue itself is bounded as well."""
    key = f"oauth:registered:{request.META.get('REMOTE_ADDR', '')}"
    if not cache.add(key, 1, AN_HOUR) and _one_more(key) > MOST_AN_HOUR:
        raise _No(429, "temporarily_unavailable", "Too many registrations from this address. Try again in an hour.")


def _one_more(key: str) -> int:
    """Its hour may end just now."""
    try:
        return int(cache.incr(key))
    except ValueError:
        return 1


def _body(request: HttpRequest) -> dict[str, Any]:
    raw = request.read(BODY_BYTES + 1)
    try:
        found = json.loads(raw) if len(raw) <= BODY_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or is_too_deep(raw, found, max_depth=DEEPEST):
        raise _No(400, "invalid_client_metadata", f"Send a JSON object of at most {BODY_BYTES // 1024} KiB.")
    return found


def _shown(client: OAuthClient, token: str) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created_at.astimezone(UTC).timestamp()),
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "grant_types": client.grant_types,
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "registration_access_token": token,
        "registration_client_uri": f"{settings.PUBLIC_URL}/oauth/register/{client.client_id}",
    }
