"""Answers that need no library: whoever shows no token shall not make us load one."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import HttpResponse

MEDIA_TYPE = "application/scim+json"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> HttpResponse:
    response = HttpResponse(b"" if body is None else orjson.dumps(body, default=str), status=status)
    response["Content-Type"] = MEDIA_TYPE
    response["Cache-Control"] = "no-store"
    for name, value in (headers or {}).items():
        response[name] = value
    return response


def refusal(status: int, detail: str, *, kind: str = "", headers: Mapping[str, str] | None = None) -> HttpResponse:
    said = {"schemas": [ERROR], "status": str(status), "detail": detail}
    return answer(status, said | ({"scimType": kind} if kind else {}), headers)


def stranger() -> HttpResponse:
    """Without saying what was wrong with the token."""
    return refusal(401, "Show a bearer token of this directory.", headers={"WWW-Authenticate": 'Bearer realm="SCIM"'})


def too_often(seconds: float) -> HttpResponse:
    return refusal(429, "Too many requests. Try again later.", headers={"Retry-After": str(int(seconds) + 1)})


def busy() -> HttpResponse:
    return refusal(503, "The database is busy. Send it again.", headers={"Retry-After": "2"})
