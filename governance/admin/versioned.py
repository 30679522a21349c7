"""What forms share whose content is in frozen versions: saving other content publishes the next one."""

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model, QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway.console.base import GovernedModelAdmin, ReadOnlyInline, ReadOnlyModelAdmin, Switch, display, visible
from governance.admin.known_tools import matching
from governance.admin.version_changes import listed
from governance.facts import Recorder
from governance.lifecycle import (
    Content,
    Refused,
    Standing,
    draft_of,
    noun_of,
    open_version,
    publish_at_once,
    review_is_required,
    save_draft,
    standing,
)
from governance.models.versions import State
from governance.publishing import MOST_TOLD, Gate, gate_of, publish
from governance.snapshot import Snapshot
from governance.snapshot_builder import Draft, revised_snapshot

STATE_COLOURS = {"published": "success", "superseded": "info", "draft": "warning", "review": "warning"}
OVERTAKEN = "Somebody else published version {} meanwhile. Load the page again and look at what it says now."
EDITED = "Somebody else changed the draft v{} meanwhile. Load the page again and look at what it says now."


class VersionedForm(forms.ModelForm):  # type: ignore[type-arg]
    """Something with the content of its draft, else of what is in force. Saving other content publishes it, or keeps it
    as the draft: where changes are reviewed always.

    `content_field` is there for whoever may publish; `in_force_field` says whether anything is to be in force at all.
    """

    content_field: ClassVar[str]
    in_force_field: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    """Relations of a version that its content is in."""
    gate = Gate()
    """What checks and tests say of what is saved."""

    as_draft = forms.BooleanField(
        required=False,
        label="Keep it as a draft",
        widget=Switch,
        help_text="Nothing changes before it is published on its own page.",
    )
    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)
    seen_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_new = self.instance._state.adding
        self.standing = Standing(needs_review=review_is_required()) if is_new else standing(self.instance, *self.parts)
        self.start = self.standing.start
        if self.start is not None:
            numbers = {"seen": self.standing.newest, "seen_revision": self.start.revision}
            is_wanted = self.standing.is_in_force or self.standing.draft is not None
            self.initial.update({**self.fields_of(self.start), **numbers, self.in_force_field: is_wanted})
        self._ask_for_review()

    def _ask_for_review(self) -> None:
        if "as_draft" in self.fields and self.standing.needs_review:
            field = self.fields["as_draft"]
            field.disabled, field.initial = True, True
            field.help_text = "Somebody else reviews it on its own page before anything changes."
        elif self.standing.draft is not None:
            self.initial["as_draft"] = True

    def fields_of(self, version: Any) -> dict[str, Any]:
        """The version's content as the form's fields."""
        raise AssertionError("each form knows its own")

    def content(self) -> Content:
        """Of the valid form: unsaved rows."""
        raise AssertionError("each form knows its own")

    def differs_from(self, version: Any) -> bool:
        raise AssertionError("each form knows its own")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.start is not None and "seen" in cleaned:
            check_seen(self.instance, seen=cleaned["seen"], revision=cleaned.get("seen_revision"))
        return cleaned

    def _post_clean(self) -> None:
        """What stands against publishing is told before anything is saved."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        if self.publishes or self.drafts:
            self.gate = gate_of(self.instance, self.content())
        if self.publishes:
            for text in self.gate.refusals:
                self.add_error(None, text)
        other = open_version(self.instance) if self.drafts and self.start is not None else None
        if other is not None and other.state != State.DRAFT:
            state = other.get_state_display().lower()
            self.add_error(None, f"Version {other.number} is {state}. It has to go ahead or be discarded first.")

    @property
    def _wants(self) -> bool:
        return self.content_field in self.cleaned_data and bool(self.cleaned_data[self.in_force_field])

    @property
    def drafts(self) -> bool:
        """Is there anything new to keep as a draft?"""
        is_wanted = self._wants and bool(self.cleaned_data.get("as_draft"))
        return is_wanted and (self.start is None or self.differs_from(self.start))

    @property
    def publishes(self) -> bool:
        """Is there anything new to put into force?"""
        if not self._wants or self.cleaned_data.get("as_draft"):
            return False
        return not self.standing.is_in_force or self.standing.draft is not None or self.differs_from(self.start)

    @property
    def withdraws(self) -> bool:
        return self.content_field in self.cleaned_data and not self.cleaned_data[self.in_force_field]

    def put_into_force(self, *, by: str, record: Recorder) -> Any:
        """The draft that was edited, or a version that was none."""
        content = self.content()
        if self.standing.draft is None:
            return publish_at_once(self.instance, content, by=by, record=record)
        draft = save_draft(self.instance, content, by=by, record=record)
        publish(draft, seen=draft.revision, acknowledged=True, by=by, record=record)
        return draft


def check_seen(row: Any, *, seen: int | None, revision: int | None = None) -> None:
    """Raises ValidationError if there is a newer version, or draft, than the one the person saw.

    Until the transaction ends nobody else publishes; a preview is no transaction and locks nothing.
    """
    if connection.in_atomic_block:
        type(row)._default_manager.select_for_update().get(pk=row.pk)
    newest = row.versions.order_by("-number").first()
    if newest and newest.number != seen:
        raise ValidationError(OVERTAKEN.format(newest.number))
    draft = draft_of(row)
    if draft is not None and draft.revision != revision:
        raise ValidationError(EDITED.format(draft.number))


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

    def proposed(self, form: Any, snapshot: Snapshot) -> Snapshot | None:
        """A draft is told of too: as if it were published."""
        row = form.instance
        if row._state.adding or not (form.publishes or form.drafts or form.withdraws):
            return snapshot
        return revised_snapshot(snapshot, self.as_if_in_force(form, row))

    def as_if_in_force(self, form: Any, row: Any) -> Draft:
        """What the form says; nothing where it withdraws."""
        raise AssertionError("each kind knows its own")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.drafts:
            draft = save_draft(obj, form.content(), **self.by(request))
            request.only_drafts = True  # type: ignore[attr-defined]
            link = reverse(f"{noun_of(obj)}_version_review", args=[draft.pk])
            text = 'The draft v{} is kept; nothing has changed yet. <a href="{}">Go on with it</a>'
            self.message_user(request, format_html(text, draft.number, link), messages.SUCCESS)
        elif form.publishes:
            self.tell_published(request, obj, form.put_into_force(**self.by(request)))
        elif form.withdraws:
            self.tell_withdrawn(request, obj)
        for text in (*form.gate.refusals, *form.gate.warnings)[:MOST_TOLD]:
            self.message_user(request, visible(text), messages.WARNING)

    def tell_published(self, request: HttpRequest, row: Any, version: Any) -> None:
        raise AssertionError("each kind has its own words")

    def tell_withdrawn(self, request: HttpRequest, row: Any) -> None:
        """Withdraws it, if it is in force, and says so."""
        raise AssertionError("each kind has its own words")

    def _tell_what_took_effect(self, request: HttpRequest, epoch: int) -> None:
        if not getattr(request, "only_drafts", False):
            super()._tell_what_took_effect(request, epoch)

    def _governed(self, view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """A step that cannot be taken any more saves nothing of the form."""
        try:
            return super()._governed(view, request, *args, **kwargs)
        except Refused as reason:
            messages.error(request, str(reason))
            return redirect(request.get_full_path())


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
    readonly_fields = ("page", "compared")

    @display(description="Page")
    def page(self, version: Any) -> SafeString:
        link = reverse(f"{noun_of(version)}_version_review", args=[version.pk])
        return format_html('<a href="{}">Changes, review and trial</a>', link)

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def state_shown(self, version: Any) -> tuple[str, str]:
        return version.state, version.get_state_display()

    @display(description="Against the version before")
    def compared(self, version: Any) -> SafeString | str:
        versions = getattr(version, self.of).versions
        before = versions.filter(number__lt=version.number).order_by("-number").first()
        return listed(self.changes(before, version)) if before else "This is the first version."
