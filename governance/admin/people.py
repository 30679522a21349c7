from collections.abc import Sequence
from typing import Any, ClassVar, cast

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from gateway.console.base import (
    AutocompleteSelectFilter,
    GovernedModelAdmin,
    ReadOnlyModelAdmin,
    display,
    named,
    visible,
)
from governance.admin.fields import VARIABLE, ListsByName, Ticks
from governance.duties import may_sign_in_as
from governance.house_rules import RuleBroken
from governance.models import OnCallShift, PersonalToken, Team, User
from governance.people import (
    check_break_glass,
    check_last_owner,
    check_teams,
    fields_locked_for,
    may_change_person,
    may_delete_team,
    team_fields_locked_for,
)
from governance.personal_tokens import revoke_token
from governance.proposals import with_person
from governance.second_person import check_team_policies, may_let_team_go
from governance.snapshot import Snapshot
from governance.snapshot_builder import Draft, as_if_saved, person_as_if_saved, revised_snapshot

LONGEST_VALUE = 200


def acting(request: HttpRequest) -> User:
    return cast(User, request.user)


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]
    person: ClassVar[User]
    duties = Ticks(choices=User.Duty.choices, help_text="What she may do in the admin. Duties can be combined.")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).strip().lower()

    def clean_teams(self) -> Any:
        after = self.cleaned_data["teams"]
        try:
            check_teams(self.instance, after, acting=self.person)
        except RuleBroken as rule:
            raise ValidationError(str(rule)) from None
        return after

    def clean_same_as(self) -> User | None:
        main: User | None = self.cleaned_data["same_as"]
        if main is not None and main.pk == self.instance.pk:
            raise ValidationError("Choose her main account; this is this one.")
        if main is not None and main.same_as is not None:
            raise ValidationError(f"{main} is no main account. Choose {main.same_as}.")
        if main is not None and self.instance.other_accounts.exists():
            raise ValidationError("Other accounts name this one as their main account. Change those first.")
        return main

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        is_owner = cleaned.get("is_superuser", self.instance.is_superuser)
        if "is_staff" in cleaned and (is_owner or cleaned.get("duties")):
            cleaned["is_staff"] = True
        try:
            check_last_owner(self.instance, stays_owner=is_owner and cleaned.get("is_active", True))
            if cleaned.get("break_glass", self.instance.break_glass):
                factor = has_second_factor(self.instance)
                check_break_glass(self.instance, stays_owner=is_owner, has_second_factor=factor)
        except RuleBroken as rule:
            raise ValidationError(str(rule)) from None
        return cleaned


def has_second_factor(person: User) -> bool:
    """Recovery codes are none by themselves. The library is asked by name: it is not this room's."""
    factors = apps.get_model("mfa", "Authenticator")._default_manager.filter(user_id=person.pk)
    return bool(factors.filter(type__in=("totp", "webauthn")).exists())


@admin.register(User)
class PersonAdmin(GovernedModelAdmin):
    """People are not deleted: evidence names them. They are deactivated, or offboarded."""

    form = PersonForm
    changes_reach = True
    list_display = ("email", "name", "active", "duty_names", "team_names", "agent_count", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", ("teams", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("email", "name")
    autocomplete_fields = ("manager", "teams", "same_as")
    readonly_fields = ("last_login", "created_at", "one_time_login", "single_sign_on", "offboarding", "erasing")
    fieldsets = (
        (None, {"fields": ("email", "name", "manager", "teams", "same_as")}),
        (
            "Access",
            {
                "fields": ("is_active", "is_staff", "is_superuser", "duties", "break_glass"),
                "description": "Without “active” nothing of hers works: not the admin, not her agents. "
                "Only an owner can change the other switches.",
            },
        ),
        (
            "Sign-in",
            {"fields": ("last_login", "created_at", "one_time_login", "single_sign_on", "offboarding", "erasing")},
        ),
    )
    add_fieldsets: ClassVar[Any] = fieldsets[:2]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("teams").annotate(agent_total=Count("agents"))  # type: ignore[no-any-return]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "is_superuser":
            field.label = "Owner"
            field.help_text = "May do everything, including making other owners."
        if db_field.name == "is_staff":
            field.help_text = "Owners and people with a duty always may."
        return field

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, *fields_locked_for(acting(request), is_new=obj is None))

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        is_open = obj is None or may_change_person(acting(request), obj)
        return is_open and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def permission_to_save(self, request: HttpRequest) -> str:
        """Only in an owner's form are the switches that raise rights."""
        return "governance.make_owner" if acting(request).is_owner else ""

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change and request.user.has_perm("governance.invite_user") and may_sign_in_as(acting(request), obj):
            text = '{} cannot sign in yet. <a class="underline" href="{}">Make a link</a> and send it to her.'
            link = reverse("make_one_time_login", args=[obj.pk])
            self.message_user(request, format_html(text, visible(obj.email), link), messages.INFO)

    def proposed(self, form: PersonForm, snapshot: Snapshot) -> Snapshot | None:
        person = form.instance
        if person.pk.hex not in snapshot.people:
            return snapshot
        teams = form.cleaned_data["teams"] if "teams" in form.cleaned_data else person.teams.all()
        return with_person(snapshot, person_as_if_saved(person, teams))

    @display(description="Active", label={"active": "success", "off": "danger"}, ordering="is_active")
    def active(self, person: User) -> str:
        return "active" if person.is_active else "off"

    @display(description="Duties", label=True)
    def duty_names(self, person: User) -> list[str]:
        return (["owner"] if person.is_superuser else []) + [duty.replace("-", " ") for duty in person.duties]

    @display(description="Teams")
    def team_names(self, person: User) -> str:
        return ", ".join(str(team) for team in person.teams.all())

    @display(description="Agents", ordering="agent_total")
    def agent_count(self, person: Any) -> int:
        return int(person.agent_total)

    @display(description="One-time login")
    def one_time_login(self, person: User) -> str:
        link = reverse("make_one_time_login", args=[person.pk])
        return format_html('<a class="text-primary-600 underline" href="{}">Make a link</a>', link)

    @display(description="Single sign-on")
    def single_sign_on(self, person: User) -> str:
        count = person.staff_identities.filter(ended_at=None).count()
        link = f"{reverse('admin:governance_staffidentity_changelist')}?person__id__exact={person.pk}"
        text = f"{count} live account{'' if count == 1 else 's'}" if count else "Not connected"
        return format_html('<a class="text-primary-600 underline" href="{}">{}</a>', link, text)

    @display(description="Leaving")
    def offboarding(self, person: User) -> str:
        link = reverse("offboard_person", args=[person.pk])
        return format_html('<a class="text-primary-600 underline" href="{}">Offboard this person</a>', link)

    @display(description="Being forgotten")
    def erasing(self, person: User) -> str:
        link = reverse("erase_person", args=[person.pk])
        return format_html('<a class="text-primary-600 underline" href="{}">Erase what was recorded for her</a>', link)


def _check_attribute(name: str, value: str) -> None:
    if not VARIABLE.fullmatch(name) or len(value) > LONGEST_VALUE:
        raise ValidationError("Names are letters, digits and _; values have at most 200 characters.")


class TeamForm(forms.ModelForm):  # type: ignore[type-arg]
    attributes = ListsByName(
        check=_check_attribute,
        help_text="What conditions read as person.attributes, e.g. repos = web, api. One name a line.",
    )
    person: ClassVar[User]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        team = self.instance
        policies = cleaned.get("policies", () if team._state.adding else team.policies.all())
        try:
            check_team_policies(team, policies, cleaned.get("parent", team.parent), acting=self.person)
        except RuleBroken as rule:
            self.add_error("policies" if "policies" in self.fields else None, str(rule))
        return cleaned


@admin.register(Team)
class TeamAdmin(GovernedModelAdmin):
    """Who is in a team is IT's, which rules bind it is security's."""

    form = TeamForm
    changes_reach = True
    fixed_fields = ("name",)
    empty_hint = "Teams carry rules and roles for everybody in them."
    list_display = ("name", "title", "parent", "policy_names", "member_count")
    list_filter = (("parent", AutocompleteSelectFilter), ("policies", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("name", "title")
    autocomplete_fields = ("parent", "policies")
    fieldsets = (
        (None, {"fields": ("name", "title", "parent")}),
        (
            "Rules",
            {
                "fields": ("policies", "attributes"),
                "description": "Bind every member, and the members of teams below.",
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        rows = super().get_queryset(request).select_related("parent").prefetch_related("policies")
        return rows.annotate(member_total=Count("members"))  # type: ignore[no-any-return]

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Team | None = None) -> tuple[str, ...]:
        locked = team_fields_locked_for(acting(request), is_new=obj is None)
        return (*super().get_readonly_fields(request, obj), *locked)

    def has_delete_permission(self, request: HttpRequest, obj: Team | None = None) -> bool:
        person = acting(request)
        is_free = obj is None or (may_delete_team(person, obj) and may_let_team_go(obj, acting=person))
        return bool(super().has_delete_permission(request, obj)) and is_free

    def stays_because(self, row: Team) -> str:
        if teams := named("the team", row.children.values_list("name", flat=True)):
            return f"Below it stands {teams}. Move that elsewhere first."
        return ""

    def proposed_without(self, rows: Sequence[Team], snapshot: Snapshot) -> Snapshot | None:
        """Its members stay, free of its rules and of those above it."""
        gone = {row.pk.hex: as_if_saved(Team(pk=row.pk, name=row.name), policies=[]) for row in rows}
        return revised_snapshot(snapshot, Draft(teams=gone))

    def proposed(self, form: Any, snapshot: Snapshot) -> Snapshot | None:
        team = form.instance
        if team._state.adding:
            return snapshot
        policies = form.cleaned_data["policies"] if "policies" in form.cleaned_data else team.policies.all()
        return revised_snapshot(snapshot, Draft(teams={team.pk.hex: as_if_saved(team, policies=policies)}))

    @display(description="Rules")
    def policy_names(self, team: Team) -> str:
        return ", ".join(policy.name for policy in team.policies.all())

    @display(description="Members", ordering="member_total")
    def member_count(self, team: Any) -> int:
        return int(team.member_total)


class ShiftForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        starts_at, ends_at = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("ends_at", "The shift would end before it starts.")
        return cleaned


@admin.register(OnCallShift)
class ShiftAdmin(GovernedModelAdmin):
    """Who answers for a team at a time, where a rule asks whoever is on call."""

    form = ShiftForm
    empty_hint = "Shifts say who is on call for a team. Rules that ask can ask them."
    list_display = ("team", "person_email", "starts_at", "ends_at", "state")
    list_filter = (("team", AutocompleteSelectFilter), ("person", AutocompleteSelectFilter))
    list_filter_submit = True
    list_select_related = ("team", "person")
    search_fields = ("team__name", "person__email")
    autocomplete_fields = ("team", "person")
    fields = ("team", "person", "starts_at", "ends_at")

    @display(description="Person", ordering="person")
    def person_email(self, shift: OnCallShift) -> str:
        return visible(shift.person.email)

    @display(description="State", label={"on call": "success", "later": "info"})
    def state(self, shift: OnCallShift) -> str:
        now = timezone.now()
        if shift.ends_at <= now:
            return "over"
        return "later" if shift.starts_at > now else "on call"


@admin.register(PersonalToken)
class PersonalTokenAdmin(ReadOnlyModelAdmin):
    """Made and named by their people; here they are seen and ended."""

    empty_hint = "People make tokens for their scripts on “My page”; here they are seen and ended."
    list_display = ("token", "name", "person_email", "state", "scope_names", "created_at", "expires_at", "last_used_at")
    list_filter = (("person", AutocompleteSelectFilter),)
    list_filter_submit = True
    list_select_related = ("person",)
    search_fields = ("hint", "name", "person__email")
    fields = (
        "hint", "name", "person", "state", "scope_names", "created_at", "created_by", "expires_at", "last_used_at",
        "revoked_at", "revoked_by",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.change_personaltoken")

    @display(description="Token", ordering="hint")
    def token(self, token: PersonalToken) -> str:
        return f"{token.hint}…"

    @display(description="Person", ordering="person")
    def person_email(self, token: PersonalToken) -> str:
        return visible(token.person.email)

    @display(description="State", label={"live": "success", "expired": "warning", "revoked": "danger"})
    def state(self, token: PersonalToken) -> str:
        if token.revoked_at:
            return "revoked"
        return "expired" if token.expires_at and token.expires_at <= timezone.now() else "live"

    @display(description="May be used for")
    def scope_names(self, token: PersonalToken) -> str:
        return ", ".join(token.scopes)

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[PersonalToken]) -> HttpResponse | None:
        tokens = tokens.filter(revoked_at=None)
        if not self.confirmed(request):
            effect = "Scripts that use them are refused from this moment. It cannot be undone."
            return self.preview(request, tokens, action="revoke", verb="Revoke", effect=effect)
        ended = sum(revoke_token(token, **self.performed(request)) for token in tokens.select_related("person"))
        self.message_user(request, f"{ended} tokens revoked.", messages.SUCCESS)
        return None
