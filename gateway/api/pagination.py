"""Pages by key: a page is a range of an index, however far down the list; nothing is counted."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.problems import FieldError, Problem

T = TypeVar("T")


class KeysetPagination(BasePagination):  # type: ignore[misc]
    """In the order of the view's `order`, whose columns together are unique; `-` before one means descending."""

    def paginate_queryset(self, rows: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        order, limit = view.order, view.asked["limit"]
        cursor = view.asked.get("cursor")
        if cursor:
            rows = rows.filter(_beyond(order, _decode(cursor, rows.model, order)))
        page = list(rows.order_by(*order)[: limit + 1])
        self._next = _link(request, _encode(page[limit - 1], order)) if len(page) > limit else None
        return page[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self._next})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri", "description": "The next page; null on the last one."}
        return {"type": "object", "required": ["results", "next"], "properties": {"results": schema, "next": link}}


def page_of(
    found: Iterable[T], *, key: Callable[[T], tuple[str, ...]], request: Request, asked: Mapping[str, Any]
) -> tuple[list[T], str | None]:
    """A page of what is no table, and the link to the next. `found` is in the order of `key`, which is unique."""
    limit, cursor = asked["limit"], asked.get("cursor")
    after = tuple(_texts(cursor)) if cursor else ()
    page = list(islice((each for each in found if key(each) > after), limit + 1))
    return page[:limit], _link(request, _encoded(key(page[limit - 1]))) if len(page) > limit else None


def _link(request: Request, cursor: str) -> str:
    query = {name: value for name, value in request.query_params.items() if name != "cursor"}
    return f"{settings.PUBLIC_URL}{request.path}?{urlencode({**query, 'cursor': cursor})}"


def _encode(row: Model, order: tuple[str, ...]) -> str:
    return _encoded([str(getattr(row, column.removeprefix("-"))) for column in order])


def _encoded(key: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def _decode(cursor: str, model: type[Model], order: tuple[str, ...]) -> list[Any]:
    """Whatever comes in is compared with columns, so it must be values of theirs."""
    try:
        columns = (model._meta.get_field(column.removeprefix("-")) for column in order)
        return [_value(column, text) for column, text in zip(columns, _texts(cursor), strict=True)]
    except (ValueError, TypeError, OverflowError, ValidationError):
        raise _not_ours() from None


def _texts(cursor: str) -> list[str]:
    try:
        key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        raise _not_ours() from None
    if not isinstance(key, list) or not all(map(_is_text, key)):
        raise _not_ours()
    return key


def _not_ours() -> Problem:
    message = "Take it from `next` of a page, unchanged."
    return Problem("invalid_parameter", f"cursor: {message}", errors=[FieldError("cursor", "invalid", message)])


def _is_text(part: Any) -> bool:
    return isinstance(part, str) and "\0" not in part


def _value(column: Any, text: str) -> Any:
    """In UTC, because a database cannot hold every time that a time zone can write."""
    value = column.to_python(text)
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _beyond(order: tuple[str, ...], key: list[Any]) -> Q:
    """After the row of this key: greater in one column, equal in those before it."""
    beyond, equal = Q(), Q()
    for column, value in zip(order, key, strict=True):
        name = column.removeprefix("-")
        comparison = "lt" if column.startswith("-") else "gt"
        beyond |= equal & Q(**{f"{name}__{comparison}": value})
        equal &= Q(**{name: value})
    return beyond
