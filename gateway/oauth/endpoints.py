"""What clients themselves ask under /oauth/: no cookies, no pages. The library reads, `validator.py` answers."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.oauth2_backends import OAuthLibCore, get_oauthlib_core
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749 import errors

from gateway.api import throttling
from gateway.oauth import identity_assertions, uses, workloads
from gateway.oauth.asking import LONGEST, said, target_of
from gateway.oauth.assertions import NotBelieved
from gateway.oauth.client_assertions import ALGORITHMS
from gateway.oauth.spent import spend
from gateway.oauth.validator import Validator
from governance import oauth_clients, oauth_resources, oauth_tokens
from governance.models import AccessToken, Organization

logger = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024
FAILURES_PER_ADDRESS = 60
AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")

View = Callable[[HttpRequest], HttpResponse]


@cache
def core() -> OAuthLibCore:
    return get_oauthlib_core()


def read(request: HttpRequest) -> Request:
    """As the library reads it, for what it has no endpoint of its own."""
    uri, method, body, headers = core()._extract_params(request)
    return Request(uri, method, body, headers)


def for_clients(view: View) -> View:
    """POSTs of programs, browsers' among them: no cookie takes part, so any origin may ask. Whoever fails to prove
    anything too often is sent away before anything is looked up."""

    @csrf_exempt
    @sensitive_variables()
    def endpoint(request: HttpRequest) -> HttpResponse:
        address = f"oauth:{request.META.get('REMOTE_ADDR', '')}"
        if request.method == "OPTIONS":
            response = HttpResponse(status=204)
        elif request.method != "POST":
            response = _refused("invalid_request", "Send a POST request.", 405)
        elif int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BYTES or len(request.body) > MOST_BYTES:
            response = _refused("invalid_request", "The request is too large.", 413)
        elif throttling.counted(address) > FAILURES_PER_ADDRESS:
            response = _refused("slow_down", "Too many requests failed; wait a minute.", 429)
        else:
            response = _served(view, request)
            if response.status_code == 401:
                throttling.count(address)
        return _open_to_browsers(response)

    return endpoint


def _served(view: View, request: HttpRequest) -> HttpResponse:
    """Without the database nothing can be recorded, so nothing is issued."""
    try:
        response = view(request)
        uses.write_left()
        return response
    except (OperationalError, InterfaceError) as error:
        logger.warning("%s was not answered: %s", request.path, type(error).__name__)
        return _refused("temporarily_unavailable", "The gateway cannot record this now. Try again soon.", 503)


def _open_to_browsers(response: HttpResponse) -> HttpResponse:
    response["Access-Control-Allow-Origin"] = "*"
    response["Access-Control-Allow-Headers"] = "Authorization, Content-Type, MCP-Protocol-Version"
    response["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
    response["Cache-Control"] = "no-store"
    return response


def _refused(error: str, description: str, status: int) -> JsonResponse:
    return JsonResponse({"error": error, "error_description": description}, status=status)


def _as_error(error: errors.OAuth2Error) -> HttpResponse:
    return HttpResponse(error.json, status=error.status_code, headers=error.headers, content_type="application/json")


def _answered(headers: dict[str, str], body: str | None, status: int) -> HttpResponse:
    response = HttpResponse(body or "", status=status, content_type="application/json")
    for name, value in headers.items():
        response[name] = value
    return response


@for_clients
def token(request: HttpRequest) -> HttpResponse:
    _, headers, body, status = core().create_token_response(request)
    return _answered(headers, body, status)


@for_clients
def revoke(request: HttpRequest) -> HttpResponse:
    """RFC 7009, of the client's own tokens only; what is nobody's, or another's, is answered the same."""
    try:
        _, headers, body, status = core().create_revocation_response(request)
    except errors.OAuth2Error as error:
        return _as_error(error)
    return _answered(headers, body, status)


@for_clients
def introspect(request: HttpRequest) -> HttpResponse:
    """RFC 7662, for clients that prove themselves, of their own tokens."""
    asked = read(request)
    if not Validator().authenticate_client(asked) or not _is_first(asked):
        return _as_error(errors.InvalidClientError(request=asked))
    row = oauth_tokens.find_live(said(asked, "token")[:LONGEST], now=datetime.now(UTC))
    if row is None or row.client_id != asked.client.id:
        return JsonResponse({"active": False})
    return JsonResponse(_introspected(row))


def _is_first(asked: Request) -> bool:
    """Whether what proved the client was not taken before; it is taken now."""
    try:
        if asked.proven.statement is not None:
            spend(asked.proven.statement)
    except NotBelieved:
        return False
    return True


def _introspected(row: AccessToken) -> dict[str, Any]:
    person = {"username": row.person.email} if row.person is not None else {}
    return {
        "active": True,
        "scope": " ".join(row.oauth_scopes),
        "client_id": row.client.client_id if row.client is not None else "",
        "token_type": "Bearer",
        "exp": int(row.expires_at.timestamp()),
        "iat": int(row.issued_at.timestamp()),
        "sub": row.agent.name,
        "aud": row.resource,
        "iss": settings.PUBLIC_URL,
    } | person


@for_clients
def device_authorization(request: HttpRequest) -> HttpResponse:
    """RFC 8628, section 3.1."""
    asked = read(request)
    try:
        client, resource, scopes = _device_asked(asked)
    except errors.OAuth2Error as error:
        return _as_error(error)
    codes = oauth_tokens.new_device_code(client, resource=resource, oauth_scopes=scopes, now=datetime.now(UTC))
    page = f"{settings.PUBLIC_URL}/oauth/device"
    return JsonResponse(
        {
            "device_code": codes.device,
            "user_code": codes.user,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={codes.user}",
            "expires_in": int(oauth_tokens.DEVICE_LIFETIME.total_seconds()),
            "interval": int(oauth_tokens.POLL_INTERVAL.total_seconds()),
        }
    )


def _device_asked(asked: Request) -> tuple[Any, str, tuple[str, ...]]:
    validator = Validator()
    proves = validator.client_authentication_required(asked)
    if not (
        validator.authenticate_client(asked) if proves else validator.authenticate_client_id(asked.client_id, asked)
    ):
        raise errors.InvalidClientError(request=asked)
    if oauth_clients.DEVICE not in asked.client.grant_types:
        raise errors.UnauthorizedClientError(request=asked)
    resource = target_of(asked)
    if not validator.validate_scopes(asked.client_id, said(asked, "scope").split(), asked.client, asked):
        raise errors.InvalidScopeError(request=asked)
    return asked.client, resource, tuple(asked.scopes)


def _self_described(origin: str) -> dict[str, Any]:
    """Only what the organisation wants: a client that finds no way to introduce itself asks an administrator."""
    wanted = Organization.objects.values_list("client_hosts", "clients_may_register").first()
    hosts, may_register = wanted or ([], False)
    document = {"client_id_metadata_document_supported": True} if hosts else {}
    return document | ({"registration_endpoint": f"{origin}/oauth/register"} if may_register else {})


def metadata(request: HttpRequest) -> HttpResponse:
    """RFC 8414. The issuer is the public address, whatever Host says; clients that put an endpoint's path behind the
    well-known one get the same document."""
    origin = settings.PUBLIC_URL
    methods = {"token_endpoint_auth_methods_supported": AUTH_METHODS}
    proofs = {f"{name}_endpoint_auth_methods_supported": AUTH_METHODS[1:] for name in ("revocation", "introspection")}
    grants = (*oauth_clients.GRANT_TYPES, workloads.GRANT_TYPE)
    assert identity_assertions.GRANT_TYPE in grants
    document = {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/oauth/authorize",
        "token_endpoint": f"{origin}/oauth/token",
        "revocation_endpoint": f"{origin}/oauth/revoke",
        "introspection_endpoint": f"{origin}/oauth/introspect",
        "device_authorization_endpoint": f"{origin}/oauth/device_authorization",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": grants,
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "authorization_response_iss_parameter_supported": True,
        "protected_resources": [oauth_resources.resource_of(None, origin=origin)],
        **methods,
        **proofs,
        **_self_described(origin),
    }
    return _open_to_browsers(JsonResponse(document))
