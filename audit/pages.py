"""Reading tables that somebody may have damaged: by key, page by page, row or unreadable."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.db.models import QuerySet

PAGE = 900  # SQLite before 3.32 takes 999 parameters
UNREADABLE = (DatabaseError, ValueError, TypeError, OverflowError)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The key of a row that the database or its driver cannot hand over."""

    key: Any


def pages(rows: QuerySet[Any], key: str, *columns: str) -> Iterator[list[Row | Unreadable]]:
    """All rows in the order of `key`, which comes first in each. No transaction stays open between pages."""
    rest = rows
    while page := _page(rest.order_by(key), key, columns, PAGE):
        yield page
        last = page[-1]
        rest = rows.filter(**{f"{key}__gt": last.key if isinstance(last, Unreadable) else last[0]})


def each(rows: QuerySet[Any], key: str, *columns: str) -> Iterator[Row | Unreadable]:
    for page in pages(rows, key, *columns):
        yield from page


def by_id(rows: QuerySet[Any], ids: Sequence[UUID], *columns: str) -> dict[UUID, Row | Unreadable]:
    """The rows of these ids, without those that are not there."""
    try:
        return {row[0]: row for row in rows.filter(id__in=ids).values_list("id", *columns)}
    except UNREADABLE:
        if len(ids) == 1:
            return {ids[0]: Unreadable(ids[0])}
    half = len(ids) // 2
    return by_id(rows, ids[:half], *columns) | by_id(rows, ids[half:], *columns)


def _page(rows: QuerySet[Any], key: str, columns: Sequence[str], limit: int) -> list[Row | Unreadable]:
    """Up to `limit` rows, halved until the unreadable one stands alone."""
    try:
        return list(rows.values_list(key, *columns)[:limit])
    except UNREADABLE:
        if limit > 1:
            return _page(rows, key, columns, limit // 2)
    return [Unreadable(found) for found in rows.values_list(key, flat=True)[:1]]
