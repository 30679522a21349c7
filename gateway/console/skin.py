"""The admin's skin, django-unfold. Beside this file only site.py imports it, so that it can be replaced."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, TextFilter
from unfold.decorators import display as unfold_display
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

__all__ = (
    "AutocompleteSelectFilter",
    "CheckboxList",
    "ClockInput",
    "ExactTextFilter",
    "InfinitePaginator",
    "LineOfText",
    "ModelAdmin",
    "MultiLineText",
    "ReadOnlyInline",
    "Select",
    "Switch",
    "WholeNumber",
    "WriteOnlyText",
    "choose_by_search",
    "copyable",
    "display",
    "moment",
)

CheckboxList = UnfoldAdminCheckboxSelectMultipleWidget
ClockInput = UnfoldAdminSingleTimeWidget
LineOfText = UnfoldAdminTextInputWidget
MultiLineText = UnfoldAdminTextareaWidget
Select = UnfoldAdminSelectWidget
Switch = UnfoldBooleanSwitchWidget
WholeNumber = UnfoldAdminIntegerFieldWidget
WriteOnlyText = UnfoldAdminPasswordWidget

Row = TypeVar("Row", bound=Model)
Column = TypeVar("Column", bound=Callable[..., Any])


def display(*, description: str, label: Any = None, ordering: str | None = None) -> Callable[[Column], Column]:
    """A computed column; `label` maps its values to colours, or is True for plain badges."""
    return cast(Callable[[Column], Column], unfold_display(description=description, label=label, ordering=ordering))


def moment(at: datetime) -> SafeString:
    """To the second and in UTC, as it stands in logs elsewhere."""
    return format_html('<time class="whitespace-nowrap">{}</time>', f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}")


def copyable(text: str, *, shown: str = "") -> SafeString:
    """A value with a button that copies all of it."""
    return format_html(
        '<span class="gh-id"><code title="{0}">{1}</code><button type="button" class="gh-id-copy" data-copy'
        ' data-copy-text="{0}" aria-label="Copy {0}">Copy</button></span>',
        text,
        shown or text,
    )


def choose_by_search(field: Any, relation: Any) -> None:
    """Lets a form's own field look its rows up as `autocomplete_fields` do: `relation` is a many-to-many to them."""
    field.widget = AutocompleteSelectMultiple(relation, admin.site)
    field.widget.choices = field.choices


class ReadOnlyInline(TabularInline):  # type: ignore[misc]
    extra = 0
    can_delete = False
    show_change_link = True
    per_page = 20

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ExactTextFilter(TextFilter):  # type: ignore[misc]
    """A column compared as a whole, so that its index serves."""

    @classmethod
    def on(cls, column: str, title: str) -> type["ExactTextFilter"]:
        return type(f"{column.title()}Filter", (cls,), {"parameter_name": column, "title": title})

    def queryset(self, request: HttpRequest, rows: QuerySet[Row]) -> QuerySet[Row]:
        return rows.filter(**{self.parameter_name: self.value()}) if self.value() else rows
