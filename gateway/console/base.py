"""What all admin screens share: governed writes, read-only tables, actions with a preview.

The only place that knows the skin (django-unfold), so that it can be replaced.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, TypedDict, TypeVar, cast

from django.contrib import messages
from django.contrib.admin import helpers
from django.db import OperationalError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import TextFilter
from unfold.decorators import display as unfold_display
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSingleTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from gateway.console.hostile_text import block, pretty_json, visible
from gateway.recorder import recorder
from governance.facts import Recorder
from governance.fence.actor import governed_change

__all__ = (
    "By",
    "CheckboxList",
    "ClockInput",
    "ExactTextFilter",
    "GovernedModelAdmin",
    "InfinitePaginator",
    "MultiLineText",
    "Performed",
    "ReadOnlyInline",
    "ReadOnlyModelAdmin",
    "Switch",
    "WriteOnlyText",
    "block",
    "display",
    "moment",
    "person_of",
    "pretty_json",
    "visible",
)

CheckboxList = UnfoldAdminCheckboxSelectMultipleWidget
ClockInput = UnfoldAdminSingleTimeWidget
MultiLineText = UnfoldAdminTextareaWidget
Switch = UnfoldBooleanSwitchWidget
WriteOnlyText = UnfoldAdminPasswordWidget

Row = TypeVar("Row", bound=Model)
Column = TypeVar("Column", bound=Callable[..., Any])


class By(TypedDict):
    """What the verbs of governance want to know of an act."""

    by: str
    record: Recorder


class Performed(By):
    now: datetime


def person_of(request: HttpRequest) -> str:
    """The acting human as evidence names her."""
    return f"person:{request.user.email}"  # type: ignore[union-attr]


def display(*, description: str, label: Any = None, ordering: str | None = None) -> Callable[[Column], Column]:
    """A computed column; `label` maps its values to colours, or is True for plain badges."""
    return cast(Callable[[Column], Column], unfold_display(description=description, label=label, ordering=ordering))


def moment(at: datetime) -> SafeString:
    """To the second and in UTC, as it stands in logs elsewhere."""
    return format_html('<time class="whitespace-nowrap">{}</time>', f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}")


class GovernedModelAdmin(ModelAdmin):  # type: ignore[misc]
    """Every POST is one transaction in the name of the person at the keyboard; a GET only reads.

    `parts` are models that live and die with a row: deleting it needs no permission of its own for them.
    """

    parts: ClassVar[tuple[type[Model], ...]] = ()
    actions_selection_counter = True
    list_per_page = 50
    warn_unsaved_form = True

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._governed(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._governed(super().delete_view, request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._governed(super().changelist_view, request, *args, **kwargs)

    def _governed(
        self, view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        try:
            with governed_change(by=person_of(request)):
                return view(request, *args, **kwargs)
        except OperationalError:
            return self._busy(request)

    def _busy(self, request: HttpRequest) -> HttpResponse:
        """The fence or the write lock was held too long and all was rolled back, so success messages are too."""
        list(messages.get_messages(request))
        context = {**self.admin_site.each_context(request), "title": "Nothing was saved"}
        return TemplateResponse(request, "admin/busy.html", context, status=503)

    def by(self, request: HttpRequest) -> By:
        """For verbs called inside a POST: `pin(definition, **self.by(request))`."""
        return By(by=person_of(request), record=recorder(by=person_of(request), now=datetime.now(UTC)))

    def performed(self, request: HttpRequest) -> Performed:
        now = datetime.now(UTC)
        return Performed(by=person_of(request), record=recorder(by=person_of(request), now=now), now=now)

    def confirmed(self, request: HttpRequest) -> bool:
        return request.POST.get("confirmed") == "yes"

    def preview(
        self, request: HttpRequest, rows: QuerySet[Row], *, action: str, verb: str, effect: str
    ) -> TemplateResponse:
        """The page between choosing an action and doing it: how many, which, and what will happen."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb} {_counted(rows)}?",
            "opts": self.opts,
            "media": self.media,
            "verb": verb,
            "effect": effect,
            "count": rows.count(),
            "rows": rows[:100],
            "action": action,
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "selected": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/preview_action.html", context)

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        found, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return found, counts, lacking - {str(part._meta.verbose_name) for part in self.parts}, protected


def _counted(rows: QuerySet[Row]) -> str:
    options, count = rows.model._meta, rows.count()
    return f"{count} {options.verbose_name if count == 1 else options.verbose_name_plural}"


class ReadOnlyModelAdmin(GovernedModelAdmin):
    """A table to look at: whatever the permissions say, nothing here is added, changed or deleted by form."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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
