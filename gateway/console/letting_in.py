"""Where a person lets a client in: by a redirect from it, or by the code that a device shows.

She sees who asks, where the answer goes and what for, may give less than is asked, and has signed in freshly. A request
that is wrong about the client or the address of the answer ends here and is never sent on (RFC 6749 section 4.1.2.1).
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.http import OAuth2ResponseRedirect
from oauthlib.oauth2.rfc6749 import errors

from gateway.actions import act
from gateway.api import throttling
from gateway.console.acting import person_of
from gateway.console.csp import HEADER, STRICT
from gateway.console.me import OwnPage
from gateway.console.step_up import is_fresh, sign_in_again
from gateway.oauth.asking import InvalidTarget
from gateway.oauth.client_documents import NoSuchClient, client_by_document
from gateway.oauth.clients import find_client
from gateway.oauth.endpoints import core
from gateway.oauth.validator import held_scopes
from gateway.reach.current import current_snapshot
from governance import authorizations, oauth_clients, oauth_resources, oauth_tokens
from governance.authorizations import NotAuthorizable
from governance.client_documents import is_document_id
from governance.models import Authorization, DeviceCode, OAuthClient
from governance.oauth_resources import BadResource, BadScope, bundles_of
from governance.snapshot import Bundle

SOURCE = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.:\[\]-]+|[a-z][a-z0-9+.-]*:")
CODES_PER_MINUTE = 10
NO_DEVICE = (
    "No device waits with this code. Codes live for ten minutes: look at your device again, or start there anew."
)
IN_WORDS = {
    "Invalid client_id parameter value.": "Nobody here knows a client by the id that it gives.",
    "Missing client_id parameter.": "It does not say who it is (client_id).",
    "Missing redirect URI.": "It does not say where the answer shall go (redirect_uri).",
    "Invalid redirect URI.": "The address for the answer (redirect_uri) is not well-formed.",
    "Mismatching redirect URI.": "The address for the answer (redirect_uri) is none of those that are known of it.",
}
"""What the library says of requests that are not sent back, for the person who reads it."""
TOLD_BY: dict[str, str] = {
    OAuthClient.Origin.ADMIN: "added by an administrator",
    OAuthClient.Origin.CIMD: "described by a document at that address",
    OAuthClient.Origin.DCR: "registered itself here",
}


class StillWaits(Exception):
    """Nobody has looked at the client yet."""

    def __init__(self, client: OAuthClient) -> None:
        self.client = client


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks of the person who looks at the page. `scopes` is what she may give of it."""

    client: OAuthClient
    resource: str
    scopes: list[str]
    redirect_uri: str = ""
    credentials: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def goes_to(self) -> str:
        """Whom the answer reaches: the one thing that a client cannot make up."""
        parts = urlsplit(self.redirect_uri)
        return parts.netloc if parts.scheme in ("http", "https") else f"{parts.scheme}:"

    @property
    def stays_here(self) -> bool:
        return bool(self.redirect_uri) and oauth_clients.is_loopback(self.redirect_uri)

    @property
    def is_vouched_for(self) -> bool:
        return self.client.origin == OAuthClient.Origin.ADMIN


class LettingIn(OwnPage):
    """Both ways: fresh sign-in before anything is shown."""

    template_name = "console/let_in.html"
    http_method_names = ("get", "post")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not is_fresh(request):
            return sign_in_again(request)
        return super().dispatch(request, *args, **kwargs)

    def page(self, asked: Asked, **more: Any) -> HttpResponse:
        shown = {
            "asked": asked,
            "told_by": TOLD_BY[asked.client.origin],
            "days": authorizations.LONGEST.days,
            "bundles": self._bundles(asked),
            "is_union": self._is_union(asked),
            **more,
        }
        response = render(self.request, self.template_name, shown)
        if asked.redirect_uri:
            response[HEADER] = STRICT.replace("form-action 'self'", f"form-action 'self' {_source(asked.redirect_uri)}")
        return response

    def _is_union(self, asked: Asked) -> bool:
        return not oauth_resources.bundle_of(asked.resource, origin=settings.PUBLIC_URL)

    def _bundles(self, asked: Asked) -> list[Bundle]:
        names = bundles_of(asked.scopes)
        held = current_snapshot().person_bundles(self.person.id.hex, self.now)
        return [bundle for bundle in held if bundle.name in names]

    def chosen(self, asked: Asked) -> list[str]:
        """What she left ticked; at the endpoint of one bundle there is nothing to choose."""
        if not self._is_union(asked):
            return asked.scopes
        ticked = set(self.request.POST.getlist("oauth_scope"))
        return [scope for scope in asked.scopes if scope in ticked]


def _source(redirect_uri: str) -> str:
    """For the browser, which holds a redirect after a form to what forms may be sent to."""
    parts = urlsplit(redirect_uri)
    source = f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"
    return source if SOURCE.fullmatch(source) else ""


class Consent(LettingIn):
    """GET and POST of /oauth/authorize: the same address, read and checked anew each time."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return self.page(self._asked())
        except StillWaits as waits:
            return self._waits(waits)
        except OAuthToolkitError as error:
            return self._refused(error)

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            asked = self._asked()
            chosen = self.chosen(asked)
            gives = request.POST.get("answer") == "allow" and bool(chosen)
            uri, *_ = core().create_authorization_response(request, chosen, dict(asked.credentials), gives)
        except StillWaits as waits:
            return self._waits(waits)
        except OAuthToolkitError as error:
            return self._refused(error)
        return _sent_to(uri)

    def _asked(self) -> Asked:
        """Raises OAuthToolkitError, FatalClientError where the client or its address is not to be trusted."""
        self._look_up(self.request.GET.get("client_id", ""))
        names, found = core().validate_authorization_request(self.request)
        credentials = {name: value for name, value in found.items() if name != "request"}
        client = find_client(credentials["client_id"])
        if client is None:
            raise FatalClientError(error=errors.InvalidClientIdError())
        if oauth_tokens.CHALLENGE.fullmatch(credentials.get("code_challenge") or "") is None:
            raise _refusal(errors.InvalidRequestError("Send a code_challenge of S256."), credentials)
        resource = self._resource(credentials)
        try:
            read = oauth_resources.read_scopes(names, resource=resource, origin=settings.PUBLIC_URL)
        except BadScope:
            raise _refusal(errors.InvalidScopeError(), credentials) from None
        scopes = held_scopes(read, resource, person_id=self.person.id.hex)
        return Asked(client, resource, scopes, credentials["redirect_uri"], credentials)

    def _look_up(self, client_id: str) -> None:
        """A client whose id is the address of its description may be new here, or have changed. Raises StillWaits."""
        if not is_document_id(client_id):
            self._look_whether_it_waits(client_id)
            return
        try:
            client = client_by_document(client_id, by=person_of(self.request), now=self.now)
        except NoSuchClient as error:
            raise FatalClientError(error=errors.InvalidClientIdError(str(error))) from None
        if client.status == OAuthClient.Status.PENDING:
            raise StillWaits(client)

    def _look_whether_it_waits(self, client_id: str) -> None:
        waiting = OAuthClient.objects.filter(client_id=client_id, status=OAuthClient.Status.PENDING).first()
        if waiting is not None:
            raise StillWaits(waiting)

    def _resource(self, credentials: dict[str, Any]) -> str:
        named = self.request.GET.getlist("resource")
        try:
            return oauth_resources.canonical_resource(named[0] if len(named) == 1 else "", origin=settings.PUBLIC_URL)
        except BadResource:
            raise _refusal(InvalidTarget(), credentials) from None

    def _waits(self, waits: StillWaits) -> HttpResponse:
        return render(self.request, "console/let_in_waits.html", {"client": waits.client}, status=400)

    def _refused(self, error: OAuthToolkitError) -> HttpResponse:
        told = error.oauthlib_error
        if isinstance(error, FatalClientError) or not told.redirect_uri:
            context = {"why": IN_WORDS.get(told.description, told.description) or told.error}
            return render(self.request, "console/let_in_refused.html", context, status=400)
        parts = urlsplit(told.redirect_uri)
        query = [*parse_qsl(parts.query, keep_blank_values=True), *told.twotuples, ("iss", settings.PUBLIC_URL)]
        return _sent_to(urlunsplit(parts._replace(query=urlencode(query))))


def _refusal(error: errors.OAuth2Error, credentials: dict[str, Any]) -> OAuthToolkitError:
    error.state = credentials.get("state")
    return OAuthToolkitError(error=error, redirect_uri=credentials["redirect_uri"])


def _sent_to(uri: str) -> HttpResponse:
    response: HttpResponse = OAuth2ResponseRedirect(uri, [urlsplit(uri).scheme])
    return response


class Device(LettingIn):
    """RFC 8628, section 3.3: she types what her device shows, sees what it would get, and decides."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._ask(typed=request.GET.get("user_code", "")[:20])

    def post(self, request: HttpRequest) -> HttpResponse:
        if throttling.count(f"user-code:{self.person.id}") > CODES_PER_MINUTE:
            return self._ask(
                problem=f"Too many codes were tried: at most {CODES_PER_MINUTE} a minute. Wait a minute.", status=429
            )
        typed = request.POST.get("user_code", "")[:20]
        row = oauth_tokens.find_device(typed, now=self.now)
        if row is None:
            return self._ask(typed=typed, problem=NO_DEVICE)
        scopes = held_scopes(row.oauth_scopes, row.resource, person_id=self.person.id.hex)
        asked = Asked(row.client, row.resource, scopes)
        if "answer" not in request.POST:
            return self.page(asked, user_code=typed)
        return self._decide(row, asked)

    def _decide(self, row: DeviceCode, asked: Asked) -> HttpResponse:
        chosen, person, by = self.chosen(asked), self.person, person_of(self.request)
        gives = self.request.POST.get("answer") == "allow" and bool(chosen)

        def work(record: Any, now: Any) -> bool:
            given = None
            if gives:
                given = authorizations.let_in(
                    row.client,
                    person,
                    resource=row.resource,
                    oauth_scopes=chosen,
                    basis=Authorization.Basis.DEVICE,
                    by=by,
                    record=record,
                    now=now,
                )
            if not oauth_tokens.decide_device(row, given, now=now):
                raise NotAuthorizable("Somebody decided about this device a moment ago, or it waited too long.")
            return gives

        try:
            is_in = act(work, by=by)
        except NotAuthorizable as error:
            return self._ask(problem=str(error))
        return render(self.request, "console/let_in_done.html", {"is_in": is_in, "client": row.client})

    def _ask(self, *, typed: str = "", problem: str = "", status: int = 200) -> HttpResponse:
        context = {"typed": typed, "problem": problem}
        return render(self.request, "console/let_in_device.html", context, status=status)
