"""What all admin screens share: governed writes, read-only tables, actions with a preview.

The only place that knows the skin (django-unfold), so that it can be replaced.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, TypedDict, TypeVar, cast

from django.apps import apps
from django.contrib import messages
from django.contrib.admin import helpers
from django.db import OperationalError
from django.db.models import Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
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

MOST_ROWS_AT_ONCE = 500

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
    `fixed_fields` are given once: evidence names rows by them, so nobody changes them afterwards.
    """

    parts: ClassVar[tuple[type[Model], ...]] = ()
    fixed_fields: ClassVar[tuple[str, ...]] = ()
    actions_selection_counter = True
    list_per_page = 50
    warn_unsaved_form = True

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *(self.fixed_fields if obj else ()))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A filter in the address on what is never shown (`password__startswith=`) would tell it bit by bit."""
        is_sealed = not sealed_columns().isdisjoint(lookup.split(LOOKUP_SEP))
        return not is_sealed and bool(super().lookup_allowed(lookup, value, request))

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

    def response_action(self, request: HttpRequest, queryset: QuerySet[Row]) -> HttpResponse | None:
        """What was confirmed is done to the rows of the preview, not to all that match by now."""
        if self.confirmed(request) or request.POST.get("post"):
            queryset = queryset.filter(pk__in=request.POST.getlist(helpers.ACTION_CHECKBOX_NAME))
        return cast(HttpResponse | None, super().response_action(request, queryset))

    def preview(
        self, request: HttpRequest, chosen: QuerySet[Row], *, action: str, verb: str, effect: str
    ) -> HttpResponse:
        """The page between choosing an action and doing it: how many, which, and what will happen."""
        rows = list(chosen[: MOST_ROWS_AT_ONCE + 1])
        if len(rows) > MOST_ROWS_AT_ONCE:
            text = f"Nothing was done: choose at most {MOST_ROWS_AT_ONCE} rows at once, for instance by a filter."
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb} {_counted(chosen.model, len(rows))}?",
            "opts": self.opts,
            "media": self.media,
            "verb": verb,
            "effect": effect,
            "count": len(rows),
            "rows": rows[:100],
            "action": action,
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "selected": [row.pk for row in rows],
        }
        return TemplateResponse(request, "admin/preview_action.html", context)

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        found, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return found, counts, lacking - {str(part._meta.verbose_name) for part in self.parts}, protected


def sealed_columns() -> frozenset[str]:
    """Of all models, because a lookup passes through relations."""
    return frozenset({"password"}).union(*(getattr(model, "SEALED_COLUMNS", ()) for model in apps.get_models()))


def _counted(model: type[Model], count: int) -> str:
    options = model._meta
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
