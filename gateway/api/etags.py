"""Strong entity tags: the hash of what was shown. A change says which state it saw, or does not happen."""

import hashlib
import re
from typing import Any

from rest_framework.request import Request

from gateway.api.bodies import encoded
from gateway.api.problems import Problem

_TAG = re.compile(r'(?:W/)?"[^"]*"')


def etag_of(shown: Any) -> str:
    return etag_of_bytes(encoded(shown))


def etag_of_bytes(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def check_if_match(request: Request, shown: Any, *, is_required: bool) -> None:
    """Inside the transaction, with the row locked: nobody can change it between this look and the write."""
    header = request.headers.get("If-Match")
    if header is None and is_required:
        raise Problem("precondition_required", "Send If-Match with the ETag of what you last read (or * to overwrite).")
    if header is not None and header.strip() != "*" and etag_of(shown) not in _TAG.findall(header):
        raise Problem("precondition_failed", "Read it again, and decide again.", headers={"ETag": etag_of(shown)})


def is_known(request: Request, etag: str) -> bool:
    """If-None-Match compares weakly (RFC 9110, 13.1.2)."""
    header = request.headers.get("If-None-Match", "")
    return header.strip() == "*" or etag in (tag.removeprefix("W/") for tag in _TAG.findall(header))
