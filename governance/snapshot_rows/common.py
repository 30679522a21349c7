"""What all rows of a snapshot are read with."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet

Ids = frozenset[str] | None
"""Of the rows to read; None for all."""
PAST_KEPT = timedelta(days=1)
"""Shifts and grants that ended earlier interest nobody who decides."""


def key(value: UUID | None) -> str:
    """Empty for none."""
    return value.hex if value is not None else ""


def keys(rows: Iterable[Model]) -> frozenset[str]:
    return frozenset(row.pk.hex for row in rows)


def containers_of(model: type[Model], column: str, ids: Iterable[str]) -> frozenset[str]:
    """What the rows with these ids belong to; nothing for rows that are gone."""
    return frozenset(key(i) for i in among(model._default_manager.all(), "id", ids).values_list(column, flat=True))


def among(rows: QuerySet[Any], column: str, only: Iterable[str] | None) -> QuerySet[Any]:
    return rows if only is None else rows.filter(**{f"{column}__in": [UUID(i) for i in only]})
