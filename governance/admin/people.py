from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from gateway.console.base import GovernedModelAdmin, display
from governance.admin.fields import Ticks
from governance.models import Team, User

OWNERS_ONLY = ("is_staff", "is_superuser", "duties")


def _binding_policies(teams: Iterable[Team]) -> set[UUID]:
    """Of these teams and all above them."""
    path: set[UUID] = set()
    step = {team.pk for team in teams}
    while step:
        path |= step
        step = set(Team.objects.filter(children__in=step).values_list("pk", flat=True)) - path
    return set(Team.policies.through.objects.filter(team_id__in=path).values_list("policy_id", flat=True))


def _may_unbind(person: Any) -> bool:
    """Rules are security's: who only sorts people into teams must not free somebody of a rule by it."""
    return bool(person.has_perm("governance.change_policy"))


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]
    person: ClassVar[User]
    duties = Ticks(choices=User.Duty.choices, help_text="What she may do in the admin. Duties can be combined.")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).strip().lower()

    def clean_teams(self) -> Any:
        before, after = self.instance.teams.all(), self.cleaned_data["teams"]
        lost = set() if _may_unbind(self.person) else _binding_policies(before) - _binding_policies(after)
        left = [team.name for team in before if team not in after and _binding_policies([team]) & lost]
        if left:
            raise ValidationError(
                f"Only security or an owner may take somebody out of teams with rules: {', '.join(left)}."
            )
        return after

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        stays_owner = cleaned.get("is_superuser", self.instance.is_superuser) and cleaned.get("is_active", True)
        if not stays_owner and self._is_last_owner():
            raise ValidationError("This is the last active owner. Make another person an owner first.")
        return cleaned

    def _is_last_owner(self) -> bool:
        owners = User.objects.select_for_update().filter(is_superuser=True, is_active=True)
        return [owner.pk for owner in owners] == [self.instance.pk]


@admin.register(User)
class PersonAdmin(GovernedModelAdmin):
    """People are not deleted: evidence names them. They are deactivated, or offboarded."""

    form = PersonForm
    list_display = ("email", "name", "active", "duty_names", "team_names", "agent_count", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "teams")
    search_fields = ("email", "name")
    autocomplete_fields = ("manager", "teams")
    readonly_fields = ("last_login", "created_at", "one_time_login")
    fieldsets = (
        (None, {"fields": ("email", "name", "manager", "teams")}),
        (
            "Access",
            {
                "fields": ("is_active", "is_staff", "is_superuser", "duties"),
                "description": "Without “active” nothing of hers works: not the admin, not her agents. "
                "Only an owner can change the other switches.",
            },
        ),
        ("Sign-in", {"fields": ("last_login", "created_at", "one_time_login")}),
    )
    add_fieldsets: ClassVar[Any] = fieldsets[:2]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("teams").annotate(agent_total=Count("agents"))  # type: ignore[no-any-return]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "is_superuser":
            field.label = "Owner"
            field.help_text = "May do everything, including making other owners."
        return field

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Nobody raises rights but an owner; nobody else renames a person, who would act under another's name."""
        if request.user.is_superuser:
            return self.readonly_fields
        return (*self.readonly_fields, *OWNERS_ONLY, *(("email",) if obj else ()))

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)

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
        return format_html('<a class="text-primary-600 underline" href="{}">Make a link</a> (owners only)', link)


@admin.register(Team)
class TeamAdmin(GovernedModelAdmin):
    """Who is in a team is IT's, which rules bind it is security's."""

    fixed_fields = ("name",)
    list_display = ("name", "title", "parent", "policy_names", "member_count")
    search_fields = ("name", "title")
    autocomplete_fields = ("parent", "policies")
    fieldsets = (
        (None, {"fields": ("name", "title", "parent")}),
        (
            "Rules",
            {"fields": ("policies",), "description": "Bind every member, and the members of teams below."},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        rows = super().get_queryset(request).select_related("parent").prefetch_related("policies")
        return rows.annotate(member_total=Count("members"))  # type: ignore[no-any-return]

    def get_readonly_fields(self, request: HttpRequest, obj: Team | None = None) -> tuple[str, ...]:
        names = () if request.user.has_perm("governance.add_team") else ("name", "title")
        place = ("parent",) if obj else ()
        rules = () if _may_unbind(request.user) else (*place, "policies")
        return (*super().get_readonly_fields(request, obj), *names, *rules)

    def has_delete_permission(self, request: HttpRequest, obj: Team | None = None) -> bool:
        is_free = obj is None or _may_unbind(request.user) or not _binding_policies([obj])
        return bool(super().has_delete_permission(request, obj)) and is_free

    @display(description="Rules")
    def policy_names(self, team: Team) -> str:
        return ", ".join(policy.name for policy in team.policies.all())

    @display(description="Members", ordering="member_total")
    def member_count(self, team: Any) -> int:
        return int(team.member_total)
