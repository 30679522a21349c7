"""What the HTTP request alone must satisfy, and what it says before its body is read."""

import re

from gateway.mcp.errors import INVALID_REQUEST, ProtocolError
from gateway.mcp.guards import check_accepts_stream, check_addresses, check_types
from gateway.mcp.http import Request, Scope, read_request
from gateway.mcp.message import Message
from gateway.mcp.revisions import LEGACY, META_VERSION

BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/-]{8,512}=*)\Z")


def admitted(scope: Scope) -> Request:
    """Raises ProtocolError. GET and DELETE have a meaning only for a session of an earlier revision."""
    request = read_request(scope, scope["url_route"]["kwargs"].get("bundle"))
    check_addresses(request)
    if request.method == "POST":
        check_types(request)
        return request
    if request.method not in ("GET", "DELETE") or is_modern_header(request) or not request.session_id:
        raise ProtocolError(INVALID_REQUEST, "Send POST requests.", status=405, headers=((b"allow", b"POST"),))
    if request.method == "GET":
        check_accepts_stream(request)
    return request


def is_modern(request: Request, message: Message) -> bool:
    """The era of one request, never of a connection: `_meta` decides, else a header that names no legacy revision."""
    return META_VERSION in message.meta or is_modern_header(request)


def is_modern_header(request: Request) -> bool:
    return bool(request.version) and request.version not in LEGACY


def bearer_token(request: Request) -> str:
    """Empty when there is none; tokens in a URL are never looked at."""
    found = BEARER.match(request.text(b"authorization"))
    return found[1] if found else ""
