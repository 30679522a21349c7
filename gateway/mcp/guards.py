"""Which hosts and origins may talk to the endpoint: the defence against DNS rebinding (MCP transports, security)."""

from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from gateway.mcp.errors import INVALID_REQUEST, ProtocolError
from gateway.mcp.http import Request

JSON_TYPES = ("application/json", "application/*", "*/*")


def check_addresses(request: Request) -> None:
    """Raises ProtocolError 421 for a foreign Host, 403 for a foreign Origin."""
    if not is_our_host(request.text(b"host")):
        raise ProtocolError(INVALID_REQUEST, "This host name is not served here (ALLOWED_HOSTS).", status=421)
    origin = request.headers.get(b"origin")
    if origin is not None and not is_our_origin(origin.decode("latin-1")):
        raise ProtocolError(INVALID_REQUEST, "Requests from this origin are not accepted.", status=403)


def check_types(request: Request) -> None:
    """Raises ProtocolError 415 or 406."""
    content_type = request.text(b"content-type").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ProtocolError(INVALID_REQUEST, "Send the message with Content-Type: application/json.", status=415)
    accept = request.headers.get(b"accept")
    if accept is None:
        return
    accepted = {part.partition(";")[0].strip() for part in accept.decode("latin-1").lower().split(",")}
    if accepted.isdisjoint(JSON_TYPES):
        text = "Answers are JSON: send Accept: application/json, text/event-stream."
        raise ProtocolError(INVALID_REQUEST, text, status=406)


@lru_cache(maxsize=256)
def is_our_host(host: str) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@lru_cache(maxsize=256)
def is_our_origin(origin: str) -> bool:
    """Browsers send an origin; ours are the public address and loopback names we serve."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    if origin == settings.PUBLIC_URL.rstrip("/"):
        return True
    return parts.hostname in ("localhost", "127.0.0.1", "::1") and is_our_host(parts.netloc)
