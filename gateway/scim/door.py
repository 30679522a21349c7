"""`/scim/v2/`: who may come in, from where, how often and with how much; what is asked is served behind."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from gateway.api import throttling
from gateway.scim.answers import refusal, stranger, too_often
from gateway.scim.wire import understood
from governance import canonical
from governance.directories import find_live, is_welcome_from, note_use, still_live
from governance.models import Directory, DirectoryToken

SERVE = "gateway.scim.serving.serve"
MOST_BYTES = 1024 * 1024
MOST_BYTES_OF_A_GROUP = 8 * 1024 * 1024
"""A PUT of a group with all its members is one body."""
MAX_DEPTH = 16
MOST_OPERATIONS = 2_000
LONGEST_FILTER = 4_000
MOST_NESTED = 30
PER_MINUTE = 12_000
FAILURES_PER_ADDRESS = 60
NUL = b"\\u0000"


@dataclass(frozen=True, slots=True)
class Asked:
    """One message that may be served. `body` is None where there is none; `hint` says by what right it came, which
    `still_counts` looks at again in its transaction."""

    directory: Directory
    hint: str
    still_counts: Callable[[], bool]
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    address: str
    at: datetime


class Refused(Exception):
    def __init__(self, status: int, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind


@csrf_exempt
@sensitive_variables()
def scim(request: HttpRequest, path: str = "") -> HttpResponse:
    token = _token_of(request)
    if token is None:
        if throttling.count(_stranger(request)) > FAILURES_PER_ADDRESS:
            return too_often(throttling.seconds_left())
        return stranger()
    if throttling.count(f"scim:{token.id}") > PER_MINUTE:
        return too_often(throttling.seconds_left())
    try:
        asked = _asked(request, path, token)
    except Refused as refused:
        return refusal(refused.status, str(refused), kind=refused.kind)
    note_use(token, now=asked.at)
    return _serve()(asked)


@lru_cache(maxsize=1)
def _serve() -> Callable[[Asked], HttpResponse]:
    """Loads the protocol's library when it is first needed: it takes as long as all the rest of the pages."""
    found: Callable[[Asked], HttpResponse] = import_string(SERVE)
    return found


def _token_of(request: HttpRequest) -> DirectoryToken | None:
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    token = find_live(text.strip()) if scheme.lower() == "bearer" else None
    if token is None or not is_welcome_from(token.directory, request.META.get("REMOTE_ADDR", "")):
        return None
    return token


def _stranger(request: HttpRequest) -> str:
    return f"failed:{request.META.get('REMOTE_ADDR', '')}"


def _asked(request: HttpRequest, path: str, token: DirectoryToken) -> Asked:
    query = request.GET.dict()
    _check_text(path, *query.values(), longest=LONGEST_FILTER)
    return Asked(
        directory=token.directory,
        hint=token.hint,
        still_counts=partial(still_live, token),
        method=str(request.method),
        path=f"/{path}",
        query={str(key): str(value) for key, value in query.items()},
        headers={name: value for name, value in request.headers.items() if name.lower() != "authorization"},
        body=_body_of(request, path),
        address=request.META.get("REMOTE_ADDR", ""),
        at=datetime.now(UTC),
    )


def _body_of(request: HttpRequest, path: str) -> Any:
    limit = MOST_BYTES_OF_A_GROUP if path.lower().startswith("groups") else MOST_BYTES
    raw = request.read(limit + 1)
    if len(raw) > limit:
        raise Refused(413, f"A message has at most {limit} bytes.")
    if not raw:
        return None
    if NUL in raw:
        raise Refused(400, "Texts cannot hold the character U+0000.", "invalidValue")
    try:
        body = understood(str(request.method), canonical.parse(raw, max_depth=MAX_DEPTH))
    except canonical.NotCanonical as reason:
        raise Refused(400, reason.message, "invalidSyntax") from None
    _check_operations(body)
    return body


def _check_operations(body: Any) -> None:
    """A path is parsed like a filter, so it is bounded like one."""
    operations = body.get("Operations") if isinstance(body, dict) else None
    if not isinstance(operations, list):
        return
    if len(operations) > MOST_OPERATIONS:
        raise Refused(413, f"A message has at most {MOST_OPERATIONS} operations.")
    for operation in operations:
        if isinstance(operation, dict):
            _check_text(*(str(operation.get(key) or "") for key in ("path", "Path")), longest=1_000)


def _check_text(*texts: str, longest: int) -> None:
    """Parsers of filters go as deep as brackets do."""
    for text in texts:
        if len(text) > longest or text.count("(") + text.count("[") > MOST_NESTED or "\x00" in text:
            raise Refused(400, "That is too long or too deeply nested to be looked for.", "invalidFilter")
