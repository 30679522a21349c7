"""Which hosts and origins may talk to the endpoint: the defence against DNS rebinding (MCP transports, security)."""

from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from gateway.mcp.errors import INVALID_REQUEST, ProtocolError
from gateway.mcp.http import Request

JSON_TYPES = ("application/json", "application/*", "*/*")
STREAM_TYPES = ("text/event-stream", "text/*", "*/*")


def check_addresses(request: Request) -> None:
    """Raises ProtocolError 421 for a foreign Host, 403 for a foreign Origin."""
    if not is_our_host(request.text(b"host")):
        raise ProtocolError(INVALID_REQUEST, "This host name is not served here (ALLOWED_HOSTS).", status=421)
    origin = request.headers.get(b"origin")
    if origin is not None and not is_our_origin(origin.decode("latin-1")):
        raise ProtocolError(INVALID_REQUEST, "Requests from this origin are not accepted.", status=403)


def check_types(request: Request) -> None:
    """Raises ProtocolError 415 or 406."""
    if not _is_json(request.headers.get(b"content-type", b"")):
        raise ProtocolError(INVALID_REQUEST, "Send the message with Content-Type: application/json.", status=415)
    if not _accepts(request, JSON_TYPES):
        text = "Answers are JSON: send Accept: application/json, text/event-stream."
        raise ProtocolError(INVALID_REQUEST, text, status=406)


def check_accepts_stream(request: Request) -> None:
    """Raises ProtocolError 406."""
    if not _accepts(request, STREAM_TYPES):
        raise ProtocolError(INVALID_REQUEST, "This is a stream: send Accept: text/event-stream.", status=406)


def accepts_stream(request: Request) -> bool:
    """Whether an answer may be a stream. Who does not say so is not surprised by one."""
    return b"accept" in request.headers and _accepts(request, STREAM_TYPES)


def _accepts(request: Request, types: tuple[str, ...]) -> bool:
    accept = request.headers.get(b"accept")
    if accept is None:
        return True
    accepted = _media_ranges(accept)
    return not accepted.isdisjoint(types)


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


@lru_cache(maxsize=256)
def _media_ranges(accept: bytes) -> frozenset[str]:
    return frozenset(part.partition(";")[0].strip() for part in accept.decode("latin-1").lower().split(","))


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
