"""Pages by key: a page is a range of an index, however far down the list; nothing is counted."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.problems import FieldError, Problem

DEFAULT_LIMIT = 50
MOST = 200


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


def _link(request: Request, cursor: str) -> str:
    query = {name: value for name, value in request.query_params.items() if name != "cursor"}
    return f"{settings.PUBLIC_URL}{request.path}?{urlencode({**query, 'cursor': cursor})}"


def _encode(row: Model, order: tuple[str, ...]) -> str:
    key = [str(getattr(row, column.removeprefix("-"))) for column in order]
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def _decode(cursor: str, model: type[Model], order: tuple[str, ...]) -> list[Any]:
    """Whatever comes in is compared with columns, so it must be values of theirs."""
    try:
        key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(key, list) or len(key) != len(order) or not all(map(_is_text, key)):
            raise ValueError(cursor)
        columns = (model._meta.get_field(column.removeprefix("-")) for column in order)
        return [_value(column, text) for column, text in zip(columns, key, strict=True)]
    except (ValueError, TypeError, OverflowError, binascii.Error, ValidationError):
        message = "Take it from `next` of a page, unchanged."
        raise Problem(
            "invalid_parameter", f"cursor: {message}", errors=[FieldError("cursor", "invalid", message)]
        ) from None


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
