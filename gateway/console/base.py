"""What all admin screens share: governed writes, read-only tables, lists as files, histories."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.apps import apps
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import Model, UUIDField
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from gateway.console import exports, history
from gateway.console.acting import By, Performed, busy_page, performed_by, person_of
from gateway.console.columns import Column, as_seen, name_of
from gateway.console.deleting import Deleting
from gateway.console.impact import Impact
from gateway.console.impact_panel import PREVIEW
from gateway.console.keyset import KeysetChangeList
from gateway.console.last_seen import last_seen
from gateway.console.skin import (
    AutocompleteSelectFilter,
    CheckboxList,
    ClockInput,
    ExactTextFilter,
    InfinitePaginator,
    LineOfText,
    MultiLineText,
    ReadOnlyInline,
    Select,
    Switch,
    WholeNumber,
    WriteOnlyText,
    choose_by_search,
    copyable,
    display,
    moment,
)
from gateway.console.step_up import needs_fresh_login
from gateway.console.wording import named
from gateway.hostile_text import block, pretty_json, visible
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.fence.moved import Moved
from governance.models.base import Governed

__all__ = (
    "AutocompleteSelectFilter",
    "By",
    "CheckboxList",
    "ClockInput",
    "ExactTextFilter",
    "GovernedModelAdmin",
    "InfinitePaginator",
    "KeysetChangeList",
    "LineOfText",
    "MultiLineText",
    "Performed",
    "ReadOnlyInline",
    "ReadOnlyModelAdmin",
    "Select",
    "Switch",
    "WholeNumber",
    "WriteOnlyText",
    "block",
    "choose_by_search",
    "copyable",
    "display",
    "last_seen",
    "moment",
    "name_of",
    "named",
    "needs_fresh_login",
    "person_of",
    "pretty_json",
    "visible",
)


class GovernedModelAdmin(Deleting):
    """Every POST is one transaction in the name of the person at the keyboard; a GET only reads.

    `fixed_fields` are given once: evidence names rows by them, so nobody changes them afterwards.
    `fresh_login_for` is the permission that saving the form takes, where duties.py wants a fresh sign-in for it.
    """

    fixed_fields: ClassVar[tuple[str, ...]] = ()
    fresh_login_for: ClassVar[str] = ""
    empty_hint: ClassVar[str] = ""
    """What an empty list tells somebody who sees it for the first time."""
    export_columns: ClassVar[tuple[str, ...]] = ()
    actions_selection_counter = True
    list_per_page = 50
    warn_unsaved_form = True

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("gatehouse/console.css", "gatehouse/forms.css")}
        js = ("gatehouse/console.js", "gatehouse/forms.js")

    def get_list_display(self, request: HttpRequest) -> tuple[Column, ...]:
        columns = tuple(as_seen(self.model, column) for column in super().get_list_display(request))
        return (*columns, "copy_id") if isinstance(self.opts.pk, UUIDField) else columns

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
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", self.admin_site.admin_view(self.export_view), name=name), *super().get_urls()]

    def permission_to_save(self, request: HttpRequest) -> str:
        return self.fresh_login_for

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        show = partial(self._changeform, request, object_id, form_url, extra_context)
        return self._needs_fresh_login(request, show) or show()

    def _needs_fresh_login(self, request: HttpRequest, show: Callable[[], HttpResponse]) -> HttpResponse | None:
        """Asked when the form is opened, so that few find out when they save. A preview saves nothing."""
        permission = self.permission_to_save(request)
        only_looks = request.method != "POST" and not request.user.has_perm(permission)
        if only_looks or PREVIEW in request.POST:
            return None

        def as_typed() -> HttpResponse:
            typed: Any = request.POST.copy()
            typed[PREVIEW] = "1"
            request.POST = typed
            return show()

        return needs_fresh_login(request, permission, as_typed=as_typed)

    def _changeform(
        self, request: HttpRequest, object_id: str | None, form_url: str, extra_context: Any
    ) -> HttpResponse:
        if request.method == "POST":
            request.impact = self.impact_of_saving(request, object_id)  # type: ignore[attr-defined]
        context = {"impact": getattr(request, "impact", None), "model_admin": self, **(extra_context or {})}
        return self._governed(super().changeform_view, request, object_id, form_url, context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is not None and self.has_delete_permission(request, row):
            if refused := self.refused_to_delete(request, row):
                return refused
            request.impact = self.impact_of_deleting(row)  # type: ignore[attr-defined]
        effect = self.effect_of_deleting(request, [row]) if row is not None else ""
        context = {"impact": getattr(request, "impact", None), "effect": effect, **(extra_context or {})}
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
            list(messages.get_messages(request))  # of what was rolled back
            return busy_page(request)
        self._tell_what_took_effect(request, moved.epoch())
        return answer

    def _tell_what_took_effect(self, request: HttpRequest, epoch: int) -> None:
        impact: Impact | None = getattr(request, "impact", None)
        if not epoch:
            return
        effect = "." if impact is None or impact.problem else f": {impact.summary or 'no agent gains or loses a tool'}."
        level = messages.WARNING if impact and impact.is_dangerous else messages.SUCCESS
        self.message_user(request, f"In force since epoch {epoch:,}{effect}", level)

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

    def by(self, request: HttpRequest) -> By:
        """For verbs called inside a POST: `pin(definition, **self.by(request))`."""
        act = performed_by(request)
        return By(by=act["by"], record=act["record"])

    def performed(self, request: HttpRequest) -> Performed:
        return performed_by(request)


def sealed_columns() -> frozenset[str]:
    """Of all models, because a lookup passes through relations."""
    return frozenset({"password"}).union(*(getattr(model, "SEALED_COLUMNS", ()) for model in apps.get_models()))


class ReadOnlyModelAdmin(GovernedModelAdmin):
    """A table to look at: whatever the permissions say, nothing here is added, changed or deleted by form."""

    def acts_on(self, row: Any) -> tuple[str, ...]:
        """The names of the actions that its own page offers; where the list has them, one click less."""
        return ()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        found = self.get_actions(request)
        names = [name for name in self.acts_on(row) if name in found] if row is not None else []
        acts = [(name, found[name][2].replace(" selected", "")) for name in names]
        shown: HttpResponse = super().change_view(request, object_id, form_url, {"acts": acts, **(extra_context or {})})
        return shown

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
