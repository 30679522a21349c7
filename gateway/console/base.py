"""What all admin screens share: governed writes, read-only tables, actions with a preview.

The only place that knows the skin (django-unfold), so that it can be replaced.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, TypedDict, TypeVar, cast

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, TextFilter
from unfold.decorators import display as unfold_display
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from gateway.console import exports, history
from gateway.console.hostile_text import block, pretty_json, visible
from gateway.console.impact import Impact, Proposal, impact_of
from gateway.console.keyset import KeysetChangeList
from gateway.console.last_seen import last_seen
from gateway.console.step_up import needs_fresh_login
from gateway.recorder import recorder
from governance.facts import Fact, Recorder
from governance.fence.actor import governed_change
from governance.fence.moved import Moved
from governance.models.base import Governed
from governance.snapshot import Snapshot

__all__ = (
    "AutocompleteSelectFilter",
    "By",
    "CheckboxList",
    "ClockInput",
    "ExactTextFilter",
    "GovernedModelAdmin",
    "InfinitePaginator",
    "KeysetChangeList",
    "MultiLineText",
    "Performed",
    "ReadOnlyInline",
    "ReadOnlyModelAdmin",
    "Select",
    "Switch",
    "WriteOnlyText",
    "block",
    "choose_by_search",
    "copyable",
    "display",
    "last_seen",
    "moment",
    "needs_fresh_login",
    "person_of",
    "pretty_json",
    "visible",
)

CheckboxList = UnfoldAdminCheckboxSelectMultipleWidget
ClockInput = UnfoldAdminSingleTimeWidget
MultiLineText = UnfoldAdminTextareaWidget
Select = UnfoldAdminSelectWidget
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


def choose_by_search(field: Any, relation: Any) -> None:
    """Lets a form's own field look its rows up as `autocomplete_fields` do: `relation` is a many-to-many to them."""
    field.widget = AutocompleteSelectMultiple(relation, admin.site)
    field.widget.choices = field.choices


def copyable(text: str, *, shown: str = "") -> SafeString:
    """A value with a button that copies all of it."""
    return format_html(
        '<span class="gh-id"><code title="{0}">{1}</code><button type="button" class="gh-id-copy" data-copy'
        ' data-copy-text="{0}" aria-label="Copy {0}">Copy</button></span>',
        text,
        shown or text,
    )


class GovernedModelAdmin(ModelAdmin):  # type: ignore[misc]
    """Every POST is one transaction in the name of the person at the keyboard; a GET only reads.

    `parts` are models that live and die with a row: deleting it needs no permission of its own for them.
    `fixed_fields` are given once: evidence names rows by them, so nobody changes them afterwards.
    `fresh_login_for` is the permission that saving the form takes, where duties.py wants a fresh sign-in for it.
    """

    parts: ClassVar[tuple[type[Model], ...]] = ()
    fixed_fields: ClassVar[tuple[str, ...]] = ()
    changes_reach: ClassVar[bool] = False
    fresh_login_for: ClassVar[str] = ""
    export_columns: ClassVar[tuple[str, ...]] = ()
    actions_selection_counter = True
    list_per_page = 50
    warn_unsaved_form = True

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("gatehouse/console.css", "gatehouse/forms.css")}
        js = ("gatehouse/console.js", "gatehouse/forms.js")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        columns = tuple(super().get_list_display(request))
        return (*columns, "copy_id") if issubclass(self.model, Governed) else columns

    @display(description="Id")
    def copy_id(self, row: Model) -> SafeString:
        return copyable(str(row.pk), shown=f"{str(row.pk)[:8]}…")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *(self.fixed_fields if obj else ()))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A filter in the address on what is never shown (`password__startswith=`) would tell it bit by bit."""
        is_sealed = not sealed_columns().isdisjoint(lookup.split(LOOKUP_SEP))
        return not is_sealed and bool(super().lookup_allowed(lookup, value, request))

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("export/", self.admin_site.admin_view(self.export_view), name=f"{name}_export"),
            path("impact/", self.admin_site.admin_view(self.impact_view), name=f"{name}_impact_of_new"),
            path("<path:object_id>/impact/", self.admin_site.admin_view(self.impact_view), name=f"{name}_impact"),
            *super().get_urls(),
        ]

    def permission_to_save(self, request: HttpRequest) -> str:
        return self.fresh_login_for

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if request.method == "POST":
            stale = needs_fresh_login(request, self.permission_to_save(request))
            if stale:
                return stale
            request.impact = self._impact(request, object_id)  # type: ignore[attr-defined]
        context = {"impact": getattr(request, "impact", None), "model_admin": self, **(extra_context or {})}
        return self._governed(super().changeform_view, request, object_id, form_url, context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is not None and self.changes_reach and self.has_delete_permission(request, row):
            request.impact = impact_of(lambda snapshot: self.proposed_without(row, snapshot))  # type: ignore[attr-defined]
        context = {"impact": getattr(request, "impact", None), **(extra_context or {})}
        return self._governed(super().delete_view, request, object_id, context)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._governed(super().changelist_view, request, *args, **kwargs)

    def _governed(
        self, view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        moved = Moved()
        try:
            with governed_change(by=person_of(request)):
                moved.begin()
                answer = view(request, *args, **kwargs)
                moved.end()
        except OperationalError:
            return self._busy(request)
        self._tell_what_took_effect(request, moved.epoch())
        return answer

    def _tell_what_took_effect(self, request: HttpRequest, epoch: int) -> None:
        impact: Impact | None = getattr(request, "impact", None)
        if not epoch:
            return
        effect = "." if impact is None else f": {impact.summary or 'no agent gains or loses a tool'}."
        level = messages.WARNING if impact and impact.is_dangerous else messages.SUCCESS
        self.message_user(request, f"In force since epoch {epoch:,}{effect}", level)

    # What a change would do, before it is made

    def proposed(self, form: Any, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot as it would be with this valid form saved; None when that is no matter of reach."""
        return None

    def proposed_without(self, row: Any, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot as it would be with this row deleted."""
        return None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change=change, **options)
        return _never_saved(form) if "_preview" in request.POST else form

    def impact_view(self, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        """The panel below the form, asked for anew while somebody types. Changes nothing."""
        if request.method != "POST" or not self.changes_reach:
            raise PermissionDenied
        return TemplateResponse(request, "admin/impact.html", {"impact": self._impact(request, object_id)})

    def _impact(self, request: HttpRequest, object_id: str | None) -> Impact | None:
        if not self.changes_reach:
            return None
        row = self.get_object(request, unquote(object_id)) if object_id else None
        if not (self.has_change_permission(request, row) if row else self.has_add_permission(request)):
            raise PermissionDenied
        form = self.get_form(request, row, change=row is not None)(request.POST, request.FILES, instance=row)
        form.full_clean()
        if form.errors:
            return Impact(problem="Fill in the form first; then you see here who gains or loses what.")
        return impact_of(lambda snapshot: self.proposed(form, snapshot))

    # Taking a list along

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_view_permission(request))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The list with its filters as CSV; a POST, because that it was taken is recorded."""
        if request.method != "POST" or not self.has_export_permission(request):
            raise PermissionDenied
        shown = self.get_changelist_instance(request)
        name = f"{self.opts.app_label}.{self.opts.model_name}"
        with governed_change(by=person_of(request)):
            filters = request.META["QUERY_STRING"][:1000]
            self.by(request)["record"](Fact("list.exported", f"list:{name}", {"filters": filters}))
        columns = [column for column in self.export_columns or self.list_display if column not in sealed_columns()]
        return exports.as_csv(request, self, shown.queryset, columns=columns, filename=name)

    def history_of(self, row: Any) -> list[Any]:
        """The rows whose changes are this row's history."""
        return [row]

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if not isinstance(row, Governed) or not self.has_view_permission(request, row):
            raise PermissionDenied
        return history.page(request, self, row)

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
        self,
        request: HttpRequest,
        chosen: QuerySet[Row],
        *,
        action: str,
        verb: str,
        effect: str,
        proposal: Proposal | None = None,
    ) -> HttpResponse:
        """The page between choosing an action and doing it: how many, which, and what will happen.

        `proposal` is the snapshot as it would be; then the page also says who gains or loses what.
        """
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
            "impact": _when_rendered(proposal) if proposal and rows else None,
            "count": len(rows),
            "rows": rows[:100],
            "action": action,
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "selected": [row.pk for row in rows],
        }
        return TemplateResponse(request, "admin/preview_action.html", context)

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Links between rows are no things of their own to somebody who deletes one."""
        found, counts, lacking, protected = super().get_deleted_objects(objs, request)
        links = [model._meta for model in apps.get_models(include_auto_created=True) if model._meta.auto_created]
        titles = tuple(f"{capfirst(link.verbose_name)}: " for link in links)
        counts = {
            name: count for name, count in counts.items() if name not in {link.verbose_name_plural for link in links}
        }
        return (
            _without(found, titles),
            counts,
            lacking - {str(part._meta.verbose_name) for part in self.parts},
            protected,
        )


def _when_rendered(proposal: Proposal) -> Callable[[], Impact | None]:
    """Worked out once, by the template: by then the POST's transaction is over and holds up nobody."""
    return cache(lambda: impact_of(proposal))


def _without(tree: list[Any], beginnings: tuple[str, ...]) -> list[Any]:
    """The nested list without the texts that begin so."""
    return [
        _without(item, beginnings) if isinstance(item, list) else item
        for item in tree
        if isinstance(item, list) or not str(item).startswith(beginnings)
    ]


def _never_saved(form: type[Any]) -> type[Any]:
    """Checked as ever, and shown again whatever comes of it: the answer to the Preview button."""

    class Previewed(form):  # type: ignore[misc]
        def is_valid(self) -> bool:
            super().is_valid()
            return False

    return Previewed


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
