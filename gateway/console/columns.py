"""Columns of lists that show text as people and systems wrote it, with its unseen letters seen."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, Model, OuterRef, Subquery, TextField

from gateway.console.skin import display
from gateway.hostile_text import visible

Column = str | Callable[[Any], Any]
"""As `list_display` takes it."""


@cache
def as_seen(model: type[Model], column: Column) -> Column:
    """The same column if it is free text, made visible; every other as it is."""
    try:
        field: Any = model._meta.get_field(column) if isinstance(column, str) else None
    except FieldDoesNotExist:
        return column
    if not isinstance(field, CharField | TextField) or field.choices:
        return column

    @display(description=str(field.verbose_name), ordering=field.name)
    def shown(row: Model) -> str:
        return visible(getattr(row, field.name) or "")

    shown.__name__ = field.name
    return shown


def name_of(model: str, column: str) -> Subquery:
    """The name of a row of another room, of which `column` has the id only; None where it is gone."""
    return Subquery(apps.get_model(model)._default_manager.filter(pk=OuterRef(column)).values("name")[:1])
