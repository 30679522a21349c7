"""Identity providers that keep people here: their connections, whom they brought, and what their groups give."""

from typing import Any, ClassVar, cast

import orjson
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway.console.base import (
    GovernedModelAdmin,
    InfinitePaginator,
    ReadOnlyModelAdmin,
    Switch,
    block,
    display,
    moment,
    named,
    pretty_json,
    visible,
)
from governance.admin.fields import Lines, Ticks
from governance.directories import checked_networks
from governance.directory_gifts import reshaped
from governance.directory_pulls import pull_faults
from governance.group_mappings import check_teams, proposed
from governance.house_rules import RuleBroken
from governance.models import Directory, DirectoryMessage, DirectoryUser, GroupMapping, User


def acting(request: HttpRequest) -> User:
    return cast(User, request.user)


def link(address: str, text: str) -> SafeString:
    return format_html('<a class="underline" href="{}">{}</a>', address, text)


class DirectoryForm(forms.ModelForm):  # type: ignore[type-arg]
    networks = Lines(
        required=False,
        label="Networks it may come from",
        help_text="One a line, e.g. 203.0.113.0/24. Without any it may come from anywhere.",
    )

    person: ClassVar[User]

    class Meta:
        widgets = {
            "is_enabled": Switch,
            "ends_without_groups": Switch,
            "agents_to_manager": Switch,
            "pull_applies": Switch,
            "manages_agents": Switch,
        }

    def clean_networks(self) -> list[str]:
        try:
            return checked_networks(self.cleaned_data["networks"])
        except RuleBroken as rule:
            raise ValidationError(str(rule)) from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        said = {name: cleaned.get(name, getattr(self.instance, name)) for name in ("pull_url", "pull_secret")}
        changed = not {"pull_url", "pull_secret"}.isdisjoint(self.changed_data)
        for field, message in pull_faults(said["pull_url"], said["pull_secret"], person=self.person, changed=changed):
            self.add_error(field if field in self.fields else None, message)
        return cleaned


@admin.register(Directory)
class DirectoryAdmin(GovernedModelAdmin):
    """Never deleted: people and evidence hang on it. It is switched off."""

    form = DirectoryForm
    fixed_fields = ("name",)
    empty_hint = "Connect your identity provider (Okta, Entra ID, …): who leaves there is then ended here, at once."
    list_display = ("name", "title", "is_enabled", "people", "waiting", "seen")
    list_filter = ("is_enabled",)
    search_fields = ("name", "title")
    readonly_fields = ("page",)
    fieldsets = (
        (None, {"fields": ("name", "title", "is_enabled", "page")}),
        ("Where it comes from", {"fields": ("networks",)}),
        (
            "The brake",
            {
                "fields": ("brake_number", "brake_share"),
                "description": "When more people than both allow would lose something within ten minutes, "
                "the rest waits until somebody agrees.",
            },
        ),
        ("Who leaves", {"fields": ("ends_without_groups", "agents_to_manager")}),
        ("Agents", {"fields": ("manages_agents",)}),
        (
            "Its own list",
            {
                "fields": ("pull_url", "pull_secret", "pull_minutes", "pull_applies"),
                "description": "If it serves SCIM, what it says there is compared with what is here; "
                "messages may get lost, and somebody may change things here by hand.",
            },
        ),
    )

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

    def get_queryset(self, request: HttpRequest) -> QuerySet[Directory]:
        people = Count("users", filter=Q(users__deleted_at=None), distinct=True)
        held = Count("losses", filter=Q(losses__state="held"), distinct=True)
        return super().get_queryset(request).annotate(people_total=people, held_total=held)  # type: ignore[no-any-return]

    def has_delete_permission(self, request: HttpRequest, obj: Directory | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Directory, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = self.by(request)["by"]
        super().save_model(request, obj, form, change)

    @display(description="People")
    def people(self, directory: Directory) -> int:
        return int(directory.people_total)  # type: ignore[attr-defined]

    @display(description="Waits for you")
    def waiting(self, directory: Directory) -> SafeString | str:
        held = int(directory.held_total)  # type: ignore[attr-defined]
        return (
            link(reverse("directory_losses", args=[directory.pk]), "1 person" if held == 1 else f"{held:,} people")
            if held
            else "nobody"
        )

    @display(description="Last message")
    def seen(self, directory: Directory) -> str:
        return f"{moment(directory.last_seen_at)} UTC" if directory.last_seen_at else "never"

    @display(description="Tokens, address and set-up")
    def page(self, directory: Directory) -> SafeString | str:
        if directory._state.adding:
            return "Save it first; then you get its address and make its token."
        return link(reverse("directory", args=[directory.pk]), "Open its page")


class WaitingFilter(admin.SimpleListFilter):
    title = "what waits"
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("problem", "Something to look at"), ("nobody", "Nobody here yet"))

    def queryset(self, request: HttpRequest, rows: QuerySet[DirectoryUser]) -> QuerySet[DirectoryUser]:
        if self.value() == "problem":
            return rows.exclude(problem="")
        return rows.filter(person=None) if self.value() == "nobody" else rows


@admin.register(DirectoryUser)
class DirectoryUserAdmin(ReadOnlyModelAdmin):
    list_display = ("user", "directory", "active", "person", "problem_shown", "adoption")
    list_filter = (WaitingFilter, "directory", "active")
    list_select_related = ("directory", "person")
    search_fields = ("user_name", "external_id", "email")
    ordering = ("-id",)
    fields = (
        "user", "directory", "external_id", "email", "active", "person", "problem_shown", "adoption", "changed_at",
        "said",
    )  # fmt: skip
    readonly_fields = ("user", "problem_shown", "adoption", "said")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DirectoryUser]:
        return super().get_queryset(request).filter(deleted_at=None)  # type: ignore[no-any-return]

    @display(description="User", ordering="user_name")
    def user(self, row: DirectoryUser) -> str:
        return visible(row.user_name)

    @display(description="To look at")
    def problem_shown(self, row: DirectoryUser) -> str:
        return row.problem

    @display(description="Who she is here")
    def adoption(self, row: DirectoryUser) -> SafeString | str:
        if row.person_id or not row.email:
            return ""
        return link(reverse("adopt_directory_user", args=[row.pk]), "Is she here already?")

    @display(description="What the directory says")
    def said(self, row: DirectoryUser) -> SafeString | str:
        return pretty_json(_as_bytes(row.body))


@admin.register(DirectoryMessage)
class DirectoryMessageAdmin(ReadOnlyModelAdmin):
    """Passwords are never in it."""

    list_display = ("time", "directory", "method", "where", "status", "did")
    list_filter = ("directory", "method", "status")
    list_select_related = ("directory",)
    ordering = ("-id",)
    sortable_by = ()
    paginator = InfinitePaginator
    show_full_result_count = False
    fields = (
        "time",
        "directory",
        "method",
        "where",
        "status",
        "why",
        "did",
        "sent",
        "request_id",
        "source_ip",
        "token_hint",
    )
    readonly_fields = ("time", "where", "why", "did", "sent")

    @display(description="Time (UTC)")
    def time(self, row: DirectoryMessage) -> str:
        return moment(row.at)

    @display(description="Asked")
    def where(self, row: DirectoryMessage) -> str:
        return visible(row.path)

    @display(description="Refused because")
    def why(self, row: DirectoryMessage) -> str:
        return visible(row.problem)

    @display(description="What it changed")
    def did(self, row: DirectoryMessage) -> SafeString | str:
        return block("\n".join(visible(_change(change)) for change in row.changes)) if row.changes else ""

    @display(description="What it said")
    def sent(self, row: DirectoryMessage) -> SafeString | str:
        return pretty_json(_as_bytes(row.body)) if row.body is not None else ""


class MappingForm(forms.ModelForm):  # type: ignore[type-arg]
    person: ClassVar[User]
    duties = Ticks(choices=User.Duty.choices, help_text="In force once a second human has agreed; one is an owner.")

    class Meta:
        widgets = {"is_enabled": Switch, "admin_access": Switch}

    def clean_group_name(self) -> str:
        return str(self.cleaned_data["group_name"]).strip()

    def clean_teams(self) -> Any:
        after = self.cleaned_data["teams"]
        try:
            check_teams(self.instance, after, acting=self.person)
        except RuleBroken as rule:
            raise ValidationError(str(rule)) from None
        return after


@admin.register(GroupMapping)
class GroupMappingAdmin(GovernedModelAdmin):
    """What is saved takes effect on all who are in the group, in the same transaction."""

    form = MappingForm
    fixed_fields = ("directory", "group_name")
    empty_hint = "Groups give nothing until you say here what being in one gives."
    list_display = ("group_name_shown", "source", "gives", "is_enabled", "agreed")
    list_filter = ("directory", "is_enabled")
    list_select_related = ("directory", "approved_by")
    search_fields = ("group_name",)
    autocomplete_fields = ("teams",)
    readonly_fields = ("agreed",)
    fieldsets = (
        (
            None,
            {
                "fields": ("directory", "group_name", "is_enabled"),
                "description": "Without a directory it is about the groups that single sign-on names.",
            },
        ),
        ("What it gives", {"fields": ("teams", "duties", "admin_access", "agreed")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[GroupMapping]:
        return super().get_queryset(request).prefetch_related("teams")  # type: ignore[no-any-return]

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

    def save_model(self, request: HttpRequest, obj: GroupMapping, form: Any, change: bool) -> None:
        """Its group is known before what it gives is written; `save_related` ends what begins here."""
        proposed(obj, form.changed_data, acting=acting(request))
        effect = reshaped(obj)
        effect.__enter__()
        request.effect_of_mapping = effect  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        request.effect_of_mapping.__exit__(None, None, None)  # type: ignore[attr-defined]

    def delete_model(self, request: HttpRequest, obj: GroupMapping) -> None:
        with reshaped(obj):
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[GroupMapping]) -> None:
        for mapping in queryset:
            self.delete_model(request, mapping)

    @display(description="Group", ordering="group_name")
    def group_name_shown(self, mapping: GroupMapping) -> str:
        return visible(mapping.group_name)

    @display(description="Of")
    def source(self, mapping: GroupMapping) -> str:
        return str(mapping.directory or "single sign-on")

    @display(description="Gives")
    def gives(self, mapping: GroupMapping) -> str:
        teams = named("the team", [team.name for team in mapping.teams.all()])
        rights = named("the duty", mapping.duties)
        return "; ".join(each for each in (teams, rights, "the admin" if mapping.admin_access else "") if each)

    @display(description="Second person")
    def agreed(self, mapping: GroupMapping) -> SafeString | str:
        if mapping._state.adding or not mapping.raises_rights:
            return "not needed for teams"
        if mapping.approved_by is not None:
            return f"{mapping.approved_by} agreed"
        return link(reverse("approve_group_mapping", args=[mapping.pk]), "waits for somebody to agree")


def _as_bytes(value: Any) -> bytes:
    return orjson.dumps(value, default=str)


def _change(change: dict[str, Any]) -> str:
    """One line: what, and of whom or which, as people write it."""
    told = {key.replace("_", " "): value for key, value in change.items() if key != "what" and value not in ("", [])}
    about = "; ".join(f"{key}: {_words(value, pairs=key == 'group')}" for key, value in told.items())
    return f"{change.get('what', '')} ({about})" if about else str(change.get("what", ""))


def _words(value: Any, *, pairs: bool = False) -> str:
    """With `pairs` a list is what something was, and what it is now."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each, pairs=True)}" for name, each in value.items())
    if isinstance(value, list):
        return (" → " if pairs else ", ").join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value in (None, "") else str(value)
