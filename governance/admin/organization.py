"""The one row of the organisation: its time, its networks, how careful it is, and what binds everybody."""

from collections.abc import Mapping
from datetime import date, time
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from gateway.console.base import GovernedModelAdmin, display
from governance.admin.fields import ClockTime, Lines, ListsByName, Ticks
from governance.client_documents import is_host
from governance.house_rules import RuleBroken
from governance.manifest.entries import check_network
from governance.models import Organization, User
from governance.models.base import name_validator
from governance.second_person import check_organization_policies, note_switch
from governance.snapshot import Snapshot
from governance.snapshot_builder import Draft, revised_snapshot
from governance.time_of_day import WEEKDAYS

USUAL_HOURS = "Monday to Friday, 09:00 to 17:00"
AGE_OF_CREDENTIALS = (
    "rotate_after_days",
    "rotation_overlap_hours",
    "rotation_warn_days",
    "ends_overdue",
    "unused_after_days",
    "ends_unused",
)


class Holidays(Lines):
    """2026-12-25 Christmas, one a line, as {"date", "name"}."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(f"{day['date']} {day.get('name', '')}".strip() for day in value)

    def to_python(self, value: Any) -> Any:
        days = {}
        for line in super().to_python(value):
            if isinstance(line, Mapping):
                days[line["date"]] = line.get("name", "")
                continue
            day, _, name = line.partition(" ")
            days[_date(day)] = name.strip()[:200]
        return [{"date": day, "name": days[day]} for day in sorted(days)]


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValidationError(f"{text[:20]} is no date; write e.g. 2026-12-25 Christmas, one a line.") from None


def _check_network(name: str, network: str) -> None:
    name_validator(name)
    try:
        check_network(network)
    except ValueError as error:
        raise ValidationError(f"{error}.") from None


def _check_host(host: str) -> None:
    if not is_host(host):
        raise ValidationError(f"{host[:100]} is no host name; write e.g. claude.ai, one a line.")


class OrganizationForm(forms.ModelForm):  # type: ignore[type-arg]
    """Hours, holidays and networks as people write them."""

    person: ClassVar[User]
    timezone = forms.CharField(help_text="As in America/New_York. Schedules and business hours are read in it.")
    days = Ticks(choices=[(day, day.title()) for day in WEEKDAYS], label="Working days")
    opens = ClockTime(label="From")
    closes = ClockTime(label="To")
    holidays = Holidays(
        required=False, rows=6, help_text="One a line, e.g. 2026-12-25 Christmas. No business hours on them."
    )
    networks = ListsByName(
        check=_check_network, help_text="One a line, e.g. office = 192.0.2.0/24, 2001:db8::/32. Rules read their names."
    )

    client_hosts = Lines(
        required=False,
        check=_check_host,
        label="Hosts of clients that describe themselves",
        help_text="One a line, e.g. claude.ai. A client whose id is an address there is read, and waits for approval.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hours = self.instance.business_hours
        if hours:
            opens, closes = time.fromisoformat(hours["from"]), time.fromisoformat(hours["to"])
            self.initial.update({"days": hours["days"], "opens": opens, "closes": closes})

    def clean_timezone(self) -> str:
        name = str(self.cleaned_data["timezone"])
        if name not in available_timezones():
            raise ValidationError("There is no such time zone; write one as in America/New_York.")
        return name

    def clean_policies(self) -> Any:
        after = self.cleaned_data["policies"]
        try:
            check_organization_policies(self.instance, after, acting=self.person)
        except RuleBroken as rule:
            raise ValidationError(str(rule)) from None
        return after

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        days, opens, closes = cleaned.get("days"), cleaned.get("opens"), cleaned.get("closes")
        said = [bool(days), opens is not None, closes is not None]
        if any(said) and not all(said):
            raise ValidationError("Business hours need their days and both times, or none of them.")
        if opens is not None and opens == closes:
            raise ValidationError("The business hours would end when they begin.")
        return cleaned

    def _post_clean(self) -> None:
        if "opens" in self.cleaned_data:
            self.instance.business_hours = self._hours()
        super()._post_clean()  # type: ignore[misc]

    def _hours(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if cleaned.get("opens") is None or cleaned.get("closes") is None:
            return {}
        days = [day for day in WEEKDAYS if day in cleaned["days"]]
        return {"days": days, "from": f"{cleaned['opens']:%H:%M}", "to": f"{cleaned['closes']:%H:%M}"}


@admin.register(Organization)
class OrganizationAdmin(GovernedModelAdmin):
    form = OrganizationForm
    fresh_login_for = "governance.change_organization"
    changes_reach = True
    list_display = ("name", "timezone", "hours", "policy_names")
    autocomplete_fields = ("policies",)
    fieldsets = (
        (None, {"fields": ("name", "timezone")}),
        (
            "Business hours",
            {
                "fields": ("days", "opens", "closes", "holidays"),
                "description": f"What rules read as time.businessHours. Empty: {USUAL_HOURS}.",
            },
        ),
        ("Networks", {"fields": ("networks",)}),
        ("Care", {"fields": ("requires_review", "agents_may_ask")}),
        (
            "Age of credentials",
            {
                "fields": AGE_OF_CREDENTIALS,
                "description": "Of keys, client secrets and public keys of agents, and of the secrets of connectors.",
            },
        ),
        ("OAuth clients", {"fields": ("client_hosts", "clients_may_register")}),
        ("Rules", {"fields": ("policies",), "description": "Bind every call of every agent."}),
    )
    fieldsets_to_look_at = (
        (None, {"fields": ("name", "timezone", "hours", "holiday_names", "network_names")}),
        ("Care", {"fields": ("requires_review", "agents_may_ask")}),
        ("Age of credentials", {"fields": AGE_OF_CREDENTIALS}),
        ("OAuth clients", {"fields": ("client_host_names", "clients_may_register")}),
        ("Rules", {"fields": ("policies",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        """Those who only look see what is stored: the form's own fields exist for those who may change it."""
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return self.fieldsets
        return self.fieldsets_to_look_at

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        """Only an owner says whether changes are reviewed: who makes rules must not free herself of it."""
        careful = () if request.user.is_superuser else ("requires_review",)
        return (
            *super().get_readonly_fields(request, obj),
            "hours",
            "holiday_names",
            "network_names",
            "client_host_names",
            *careful,
        )

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        was_required = bool(form.initial.get("requires_review", obj.requires_review))
        super().save_model(request, obj, form, change)
        record = self.by(request)["record"]
        note_switch(was_required=was_required, is_required=obj.requires_review, record=record)

    def proposed(self, form: OrganizationForm, snapshot: Snapshot) -> Snapshot | None:
        return revised_snapshot(snapshot, Draft(organization_policies=form.cleaned_data["policies"]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(super().has_add_permission(request)) and not Organization.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False

    @display(description="Business hours")
    def hours(self, organization: Organization) -> str:
        hours = organization.business_hours
        return f"{', '.join(hours['days'])} {hours['from']}–{hours['to']}" if hours else USUAL_HOURS

    @display(description="Holidays")
    def holiday_names(self, organization: Organization) -> str:
        return ", ".join(f"{day['date']} {day.get('name', '')}".strip() for day in organization.holidays)

    @display(description="Networks")
    def network_names(self, organization: Organization) -> str:
        return "; ".join(f"{name}: {', '.join(parts)}" for name, parts in organization.networks.items())

    @display(description="Hosts of clients that describe themselves")
    def client_host_names(self, organization: Organization) -> str:
        return ", ".join(organization.client_hosts)

    @display(description="Rules")
    def policy_names(self, organization: Organization) -> str:
        return ", ".join(policy.name for policy in organization.policies.all())
