"""Every error of the API as a problem document (RFC 9457) with a stable code, naming the field and the way out."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelError
from django.db import DatabaseError, IntegrityError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from governance.house_rules import RuleBroken
from governance.lifecycle import Refused

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
WHOLE = ""
"""The field of an error that is about the whole request."""


@dataclass(frozen=True, slots=True)
class Kind:
    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "invalid_json": Kind(400, "The body is not JSON"),
    "too_deep": Kind(400, "The body is nested too deeply"),
    "duplicate_key": Kind(400, "A key occurs twice"),
    "number_out_of_range": Kind(400, "A number is too large"),
    "invalid_input": Kind(400, "The body has the wrong shape"),
    "invalid_parameter": Kind(400, "A parameter will not do"),
    "invalid_header": Kind(400, "A header will not do"),
    "not_authenticated": Kind(401, "A personal token is needed"),
    "missing_scope": Kind(403, "The token lacks a scope"),
    "permission_denied": Kind(403, "You may not do this"),
    "not_found": Kind(404, "There is nothing here"),
    "method_not_allowed": Kind(405, "This cannot be done here"),
    "not_acceptable": Kind(406, "Answers are JSON"),
    "conflict": Kind(409, "What is stored stands against it"),
    "in_progress": Kind(409, "The same request is being carried out"),
    "value_refused": Kind(409, "A system does not accept the value"),
    "wrong_state": Kind(409, "The version is not in a state for this"),
    "overtaken": Kind(409, "Something else is in force by now"),
    "review_required": Kind(409, "Somebody else has to agree first"),
    "self_review": Kind(403, "Nobody reviews what she has written"),
    "checks_failed": Kind(422, "A check or test of the rules fails"),
    "warnings_open": Kind(422, "There are warnings to confirm"),
    "length_required": Kind(411, "The length of the body is needed"),
    "precondition_failed": Kind(412, "It was changed in the meantime"),
    "too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body must be JSON"),
    "refused": Kind(422, "A value will not do"),
    "idempotency_key_reused": Kind(422, "The Idempotency-Key was used for another request"),
    "precondition_required": Kind(428, "Say which state you saw"),
    "too_many_requests": Kind(429, "Too many requests"),
    "internal_error": Kind(500, "Something broke on our side"),
    "busy": Kind(503, "Try again in a moment"),
}
NOT_A_QUESTION_OF_SHAPE = frozenset({"does_not_exist", "unique", "forbidden", "rule", "null_characters_not_allowed"})
"""Codes of errors that no schema could have told beforehand: 422 instead of 400."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """`field` is where, as in `rules[1].effect`."""

    field: str
    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "message": self.message}


class Problem(exceptions.APIException):  # type: ignore[misc]
    """An error that already knows its code."""

    def __init__(
        self, code: str, detail: str, *, errors: Iterable[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail, code)
        self.code = code
        self.status_code = KINDS[code].status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """Django REST framework's exception handler. What nobody foresaw is logged and answered without its insides."""
    problem = _problem_of(error)
    headers = dict(problem.headers)
    if problem.status_code == 401:
        headers["WWW-Authenticate"] = context["view"].get_authenticate_header(context["request"])
    return Response(_document(problem), status=problem.status_code, headers=headers, content_type=MEDIA_TYPE)


def _document(problem: Problem) -> dict[str, Any]:
    kind = KINDS[problem.code]
    return {
        "type": f"urn:gatehouse:problem:{problem.code}",
        "code": problem.code,
        "title": kind.title,
        "status": kind.status,
        "detail": str(problem.detail),
        "errors": [error.as_json() for error in problem.errors],
    }


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    for kinds, translate in _TRANSLATIONS:
        if isinstance(error, kinds):
            return translate(error)
    logger.error("the API could not answer", exc_info=error)
    return Problem("internal_error", "It is in the log. If it happens again, tell whoever runs this installation.")


def of_fields(errors: Iterable[FieldError], *, code: str = "") -> Problem:
    found = tuple(errors)
    is_refusal = bool(found) and all(error.code in NOT_A_QUESTION_OF_SHAPE for error in found)
    detail = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in found[:5])
    return Problem(code or ("refused" if is_refusal else "invalid_input"), detail, errors=found)


def flattened(detail: Any, path: str = WHOLE) -> Iterator[FieldError]:
    """The nested errors of serializers, each with its path."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            yield from flattened(inner, _step(path, key))
    elif isinstance(detail, list) and any(isinstance(inner, Mapping) for inner in detail):
        for position, inner in enumerate(detail):
            yield from flattened(inner, _step(path, position))
    elif isinstance(detail, list):
        for inner in detail:
            yield from flattened(inner, path)
    else:
        yield FieldError(path, str(getattr(detail, "code", "invalid")), str(detail))


def _step(path: str, key: Any) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    if key == "non_field_errors":
        return path
    return f"{path}.{key}" if path else str(key)


def _of_serializer(error: Any) -> Problem:
    return of_fields(flattened(error.detail))


def _of_model(error: Any) -> Problem:
    by_field = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
    return of_fields(
        FieldError(WHOLE if field == "__all__" else field, "rule", message)
        for field, messages in by_field.items()
        for message in messages
    )


def _of_rule(error: Any) -> Problem:
    return of_fields([FieldError(error.field, "rule", str(error))])


def _of_step(error: Any) -> Problem:
    """A step of a version that cannot be taken; its field is one of the request, where there is one."""
    if error.code not in KINDS:
        return of_fields([FieldError(error.field, "rule", str(error))])
    return Problem(error.code, str(error))


def _of_throttle(error: Any) -> Problem:
    seconds = str(max(1, int(error.wait or RETRY_SECONDS)))
    return Problem("too_many_requests", f"Try again in {seconds} seconds.", headers={"Retry-After": seconds})


def _of_protected(error: Any) -> Problem:
    names = sorted({f"{row._meta.verbose_name} {row}" for row in error.protected_objects})
    return Problem("conflict", f"It is still used by {', '.join(names[:5])}. Take it off there first.")


def _of_integrity(error: Any) -> Problem:
    return Problem("conflict", "Something of the same name or place was stored in the meantime. Read it and try again.")


def _of_database(error: Any) -> Problem:
    """Values that a column cannot hold are the client's; everything else about the database is ours."""
    logger.warning("the database refused a request of the API: %s", type(error.__cause__ or error).__name__)
    if isinstance(error, OperationalError):
        return Problem("busy", "Nothing was changed.", headers={"Retry-After": str(RETRY_SECONDS)})
    return Problem("internal_error", "Nothing was changed.")


def _plain(code: str, detail: str = "") -> Callable[[Any], Problem]:
    return lambda error: Problem(code, detail or str(getattr(error, "detail", "")))


_TRANSLATIONS: tuple[tuple[Any, Callable[[Any], Problem]], ...] = (
    (exceptions.ValidationError, _of_serializer),
    (
        (exceptions.NotAuthenticated, exceptions.AuthenticationFailed),
        _plain("not_authenticated", "Send `Authorization: Bearer gate_pt_...`. You make one on the page /me/tokens/."),
    ),
    ((exceptions.PermissionDenied, PermissionDenied), _plain("permission_denied", "Your duties do not include it.")),
    ((exceptions.NotFound, Http404), _plain("not_found", "No such thing, or none that you may see.")),
    (exceptions.MethodNotAllowed, _plain("method_not_allowed")),
    (exceptions.NotAcceptable, _plain("not_acceptable", "Accept application/json.")),
    (exceptions.UnsupportedMediaType, _plain("unsupported_media_type", "Send Content-Type: application/json.")),
    (exceptions.Throttled, _of_throttle),
    (exceptions.ParseError, _plain("invalid_json")),
    (RequestDataTooBig, _plain("too_large", "Send at most one megabyte.")),
    (Refused, _of_step),
    (RuleBroken, _of_rule),
    (ModelError, _of_model),
    (ProtectedError, _of_protected),
    (IntegrityError, _of_integrity),
    (DatabaseError, _of_database),
)
