"""What forms share whose content is in frozen versions: saving other content publishes the next one."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model, QuerySet, prefetch_related_objects
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from gateway.console.base import GovernedModelAdmin, ReadOnlyInline, ReadOnlyModelAdmin, display
from governance.admin.known_tools import matching
from governance.admin.version_changes import listed

STATE_COLOURS = {"published": "success", "superseded": "info"}
OVERTAKEN = "Somebody else published version {} meanwhile. Load the page again and look at what it says now."


def check_seen(row: Any, *, seen: int | None) -> None:
    """Raises ValidationError if there is a newer version than the one the person saw.

    Until the transaction ends nobody else publishes; a preview is no transaction and locks nothing.
    """
    if connection.in_atomic_block:
        type(row)._default_manager.select_for_update().get(pk=row.pk)
    newest = row.versions.order_by("-number").first()
    if newest and newest.number != seen:
        raise ValidationError(OVERTAKEN.format(newest.number))


class VersionedList(ChangeList):
    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        return rows.prefetch_related(*self.model_admin.shown_from)  # type: ignore[attr-defined]


class VersionedAdmin(GovernedModelAdmin):
    """`fresh_login_for` is also the permission to publish; without it `fields_to_look_at` are shown.

    `shown` are the columns worked out from what is in force; `shown_from` is what they read of each row.
    """

    changes_reach = True
    fixed_fields = ("name",)
    fields_to_look_at: ClassVar[tuple[Any, ...]] = ()
    shown: ClassVar[tuple[str, ...]] = ()
    shown_from: ClassVar[tuple[Any, ...]] = ()

    def get_urls(self) -> list[URLPattern]:
        hint = self.admin_site.admin_view(matching)
        return [path("matching/", hint, name=f"governance_{self.opts.model_name}_matching"), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return VersionedList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Who may publish sees a form of the newest version instead."""
        row = super().get_object(request, object_id, from_field)
        if row is not None and not self._may_publish(request, row):
            prefetch_related_objects([row], *self.shown_from)
        return row

    def _may_publish(self, request: HttpRequest, row: Any) -> bool:
        may_save = self.has_change_permission(request, row) if row else self.has_add_permission(request)
        return may_save and request.user.has_perm(self.fresh_login_for)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if self._may_publish(request, obj) else self.fields_to_look_at

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *self.shown)

    def history_of(self, row: Any) -> list[Model]:
        return [row, *row.versions.all()]


class VersionInline(ReadOnlyInline):
    """`fk_name` is the relation to what they are versions of, by which they name themselves."""

    verbose_name_plural = "versions"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related(self.fk_name)  # type: ignore[no-any-return]


class VersionAdmin(ReadOnlyModelAdmin):
    """`of` is the relation to what it is a version of; `changes` says what the later of two versions changed."""

    of: ClassVar[str]
    changes: Callable[[Any, Any], list[tuple[str, str]]]
    list_filter_submit = True
    readonly_fields = ("compared",)

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def state_shown(self, version: Any) -> tuple[str, str]:
        return version.state, version.get_state_display()

    @display(description="Against the version before")
    def compared(self, version: Any) -> SafeString | str:
        versions = getattr(version, self.of).versions
        before = versions.filter(number__lt=version.number).order_by("-number").first()
        return listed(self.changes(before, version)) if before else "This is the first version."
