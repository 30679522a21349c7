from collections.abc import Sequence
from datetime import time
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from gateway.console.base import AutocompleteSelectFilter, GovernedModelAdmin, MultiLineText, Switch, display, visible
from governance import snapshot as compiled
from governance.admin.fields import ClockTime, Lines, Ticks
from governance.admin.row_fields import Row, RowsField
from governance.admin.rule_forms import check_pattern
from governance.conditions import ConditionError, compile_condition
from governance.models import Role
from governance.proposals import with_role
from governance.rule_checks import Severity, check_scopes
from governance.rule_texts import Scope
from governance.rule_world import read_world
from governance.snapshot import Snapshot
from governance.snapshot_rows.common import keys
from governance.snapshot_rows.who import role_of_row
from governance.time_of_day import WEEKDAYS

HOLDERS = {"agents": "name", "teams": "name", "people": "email"}
"""Relation -> the column that names its rows."""
SHOWN = 3


class ScopeRow(Row):
    tools = Lines(label="For tools called", check=check_pattern, rows=2, help_text="Names or patterns, one a line.")
    when = forms.CharField(
        max_length=4096,
        label="Only calls where",
        help_text="E.g. args.amount < 500, or args.repo in person.attributes.repos.",
        widget=MultiLineText(attrs={"rows": 2, "spellcheck": "false"}),
    )
    text = forms.CharField(
        required=False, max_length=200, label="What agents are told", help_text="E.g. only project SUP."
    )

    def clean_when(self) -> str:
        source = str(self.cleaned_data["when"]).strip()
        try:
            compile_condition(source)
        except ConditionError as error:
            raise ValidationError(str(error)) from None
        return source

    def entry(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("tools", "when", "text")}


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]
    """The weekly schedule as days and two times, data scopes as rows."""

    days = Ticks(choices=[(day, day.title()) for day in WEEKDAYS], help_text="None ticked means every day.")
    opens = ClockTime(label="From")
    closes = ClockTime(label="To")
    not_on_holidays = forms.BooleanField(
        required=False, label="Not on holidays", widget=Switch, help_text="Those of the organization."
    )
    scopes = RowsField(ScopeRow, one="data scope", label="Data scopes")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        schedule = self.instance.schedule
        if schedule:
            self.initial["days"] = schedule.get("days", [])
            self.initial["opens"] = time.fromisoformat(schedule["from"])
            self.initial["closes"] = time.fromisoformat(schedule["to"])
            self.initial["not_on_holidays"] = schedule.get("holidays", True) is False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        opens, closes, days = cleaned.get("opens"), cleaned.get("closes"), cleaned.get("days") or []
        if (opens is None) != (closes is None) or (days and opens is None):
            raise ValidationError("A weekly schedule needs both times.")
        if opens is not None and opens == closes:
            raise ValidationError("The schedule would end when it begins.")
        if cleaned.get("scopes") is None and "scopes" not in self.errors:
            cleaned["scopes"] = self.instance.scopes
        if not self.errors and "bundles" in cleaned:
            self._check_scopes(cleaned["scopes"], [bundle.name for bundle in cleaned["bundles"]])
        return cleaned

    def _check_scopes(self, entries: list[dict[str, Any]], bundles: list[str]) -> None:
        scopes = [Scope(tuple(entry["tools"]), entry["when"]) for entry in entries]
        for fault in check_scopes(scopes, bundles=bundles, world=read_world()) if scopes else ():
            if fault.severity is Severity.REFUSE:
                self.add_error("scopes", f"Data scope {fault.position}: {fault.message}")

    def save(self, commit: bool = True) -> Any:
        if "opens" in self.cleaned_data:
            self.instance.schedule = self.schedule()
        return super().save(commit)

    def schedule(self) -> dict[str, Any]:
        opens, closes = self.cleaned_data["opens"], self.cleaned_data["closes"]
        if opens is None:
            return {}
        days = [day for day in WEEKDAYS if day in self.cleaned_data["days"]]
        holidays = {"holidays": False} if self.cleaned_data.get("not_on_holidays") else {}
        window = {"from": f"{opens:%H:%M}", "to": f"{closes:%H:%M}", **holidays}
        return {"days": days, **window} if days else window


@admin.register(Role)
class RoleAdmin(GovernedModelAdmin):
    """Who gets what, and when: the form says at once whom that moves."""

    form = RoleForm
    changes_reach = True
    fixed_fields = ("name",)
    empty_hint = "A role gives bundles to agents, always or at certain times."
    list_display = ("name", "title", "bundle_names", "agent_names", "holders", "starts_at", "ends_at", "hours")
    list_filter = (
        ("bundles", AutocompleteSelectFilter),
        ("agents", AutocompleteSelectFilter),
        ("teams", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("name", "title", "bundles__name", "agents__name")
    autocomplete_fields = ("bundles", "agents", "teams", "people")
    fieldsets = (
        (None, {"fields": ("name", "title")}),
        ("What", {"fields": ("bundles",), "description": "Every tool of these bundles, under their rules."}),
        (
            "Who",
            {
                "fields": ("agents", "teams", "people"),
                "description": "Agents here get the bundles. Teams and people count when an agent acts on "
                "behalf of somebody: then only what both hold can be called.",
            },
        ),
        ("When", {"fields": ("starts_at", "ends_at"), "description": "Empty means always."}),
        (
            "Weekly schedule",
            {
                "fields": ("days", "opens", "closes", "not_on_holidays"),
                "description": "In the organization's time zone. It may pass midnight.",
            },
        ),
        (
            "Data scopes",
            {
                "fields": ("scopes",),
                "description": "Limits on the arguments of the tools this role gives. Each must hold; one that cannot "
                "be decided refuses the call.",
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Role]:
        rows = super().get_queryset(request).prefetch_related("bundles", *map(_first_few, HOLDERS))
        return rows.annotate(**{f"{name}_count": _counted(name) for name in HOLDERS})  # type: ignore[no-any-return]

    def get_fieldsets(self, request: HttpRequest, obj: Role | None = None) -> Any:
        """Those who only look see the stored schedule: the form's own fields exist for those who may change it."""
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return self.fieldsets
        return (
            *self.fieldsets[:-2],
            ("Weekly schedule", {"fields": ("hours",)}),
            ("Data scopes", {"fields": ("scopes_shown",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Role | None = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "hours", "scopes_shown")

    def proposed(self, form: RoleForm, snapshot: Snapshot) -> Snapshot | None:
        cleaned, row = form.cleaned_data, form.instance
        row.schedule = form.schedule()
        role = role_of_row(
            row,
            bundle_ids=keys(cleaned["bundles"]),
            team_ids=keys(cleaned["teams"]),
            person_ids=keys(cleaned["people"]),
        )
        return with_role(snapshot, role, holders={agent.pk.hex for agent in cleaned["agents"]})

    def proposed_without(self, rows: Sequence[Role], snapshot: Snapshot) -> Snapshot | None:
        for row in rows:
            gone = compiled.Role(row.pk.hex, row.name, frozenset(), None, None, {})
            snapshot = with_role(snapshot, gone, holders=())
        return snapshot

    @display(description="Bundles", label=True)
    def bundle_names(self, role: Role) -> list[str]:
        return [bundle.name for bundle in role.bundles.all()]

    @display(description="Agents")
    def agent_names(self, role: Role) -> str:
        return _told(role, "agents")

    @display(description="Teams and people")
    def holders(self, role: Role) -> str:
        return ", ".join(filter(None, (_told(role, "teams"), _told(role, "people"))))

    @display(description="Schedule")
    def hours(self, role: Role) -> str:
        if not role.schedule:
            return "always"
        days = ", ".join(role.schedule.get("days") or ["every day"])
        holidays = "" if role.schedule.get("holidays", True) else ", not on holidays"
        return f"{days} {role.schedule['from']}–{role.schedule['to']}{holidays}"

    @display(description="Data scopes")
    def scopes_shown(self, role: Role) -> str:
        return "; ".join(f"{', '.join(scope['tools'])}: {scope['text'] or scope['when']}" for scope in role.scopes)


def _first_few(relation: str) -> Prefetch:  # type: ignore[type-arg]
    """A role may hold thousands, of which a list shows three."""
    model: Any = Role._meta.get_field(relation).related_model
    return Prefetch(relation, model.objects.order_by(HOLDERS[relation])[:SHOWN], to_attr=f"first_{relation}")


def _counted(relation: str) -> Coalesce:
    links = getattr(Role, relation).through.objects.filter(role=OuterRef("pk")).order_by()
    return Coalesce(Subquery(links.values("role").annotate(count=Count("pk")).values("count")), 0)


def _told(role: Role, relation: str) -> str:
    first, count = getattr(role, f"first_{relation}"), getattr(role, f"{relation}_count")
    more = f" and {count - len(first)} more" if count > len(first) else ""
    return visible(", ".join(getattr(holder, HOLDERS[relation]) for holder in first)) + more
