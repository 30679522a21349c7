"""What a request says, as far as the library does not read it: its client's proof, and the endpoint it is for."""

from django.conf import settings
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749 import errors

from gateway.oauth.clients import Shown
from governance import oauth_resources
from governance.oauth_resources import BadResource

LONGEST = 4000
"""Of anything a client may show."""


class InvalidTarget(errors.OAuth2Error):  # type: ignore[misc]
    """RFC 8707, section 2."""

    error = "invalid_target"
    description = "Name one MCP endpoint of this gateway as resource."


def said(request: Request, name: str) -> str:
    """A parameter, empty when absent: the library knows but the usual ones."""
    return str(getattr(request, name, None) or "")


def shown_by(request: Request) -> Shown:
    header = str(request.headers.get("HTTP_AUTHORIZATION", ""))
    return Shown(
        client_id=said(request, "client_id"),
        secret=said(request, "client_secret")[:LONGEST],
        assertion_type=said(request, "client_assertion_type"),
        assertion=said(request, "client_assertion"),
        basic=header[:LONGEST] if header[:6].lower() == "basic " else "",
    )


def targets_of(request: Request) -> list[str]:
    """All that are named: the library keeps but the last."""
    pairs = [*(request.uri_query_params or ()), *(request.decoded_body or ())]
    return [value for name, value in pairs if name == "resource"]


def target_of(request: Request) -> str:
    """The one canonical endpoint that is asked for. Raises InvalidTarget."""
    named_targets = targets_of(request)
    if len(named_targets) != 1:
        raise InvalidTarget(request=request)
    try:
        return oauth_resources.canonical_resource(named_targets[0], origin=settings.PUBLIC_URL)
    except BadResource:
        raise InvalidTarget(request=request) from None


def check_same_target(request: Request, resource: str) -> None:
    """Who repeats it may not change it; it was fixed when the client was let in."""
    if targets_of(request) and target_of(request) != resource:
        raise InvalidTarget(request=request)
