from collections.abc import Sequence
from datetime import time
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from gateway.console.base import AutocompleteSelectFilter, GovernedModelAdmin, display, visible
from governance import snapshot as compiled
from governance.admin.fields import ClockTime, Ticks
from governance.models import Role
from governance.proposals import with_role
from governance.snapshot import Snapshot
from governance.time_of_day import WEEKDAYS

HOLDERS = {"agents": "name", "teams": "name", "people": "email"}
"""Relation -> the column that names its rows."""
SHOWN = 3


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]
    """The weekly schedule as days and two times instead of JSON."""

    days = Ticks(choices=[(day, day.title()) for day in WEEKDAYS], help_text="None ticked means every day.")
    opens = ClockTime(label="From")
    closes = ClockTime(label="To")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        schedule = self.instance.schedule
        if schedule:
            self.initial["days"] = schedule.get("days", [])
            self.initial["opens"] = time.fromisoformat(schedule["from"])
            self.initial["closes"] = time.fromisoformat(schedule["to"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        opens, closes, days = cleaned.get("opens"), cleaned.get("closes"), cleaned.get("days") or []
        if (opens is None) != (closes is None) or (days and opens is None):
            raise ValidationError("A weekly schedule needs both times.")
        if opens is not None and opens == closes:
            raise ValidationError("The schedule would end when it begins.")
        return cleaned

    def save(self, commit: bool = True) -> Any:
        if "opens" in self.cleaned_data:
            self.instance.schedule = self.schedule()
        return super().save(commit)

    def schedule(self) -> dict[str, Any]:
        opens, closes = self.cleaned_data["opens"], self.cleaned_data["closes"]
        if opens is None:
            return {}
        days = [day for day in WEEKDAYS if day in self.cleaned_data["days"]]
        window = {"from": f"{opens:%H:%M}", "to": f"{closes:%H:%M}"}
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
                "fields": ("days", "opens", "closes"),
                "description": "In the organization's time zone. It may pass midnight.",
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
        return (*self.fieldsets[:-1], ("Weekly schedule", {"fields": ("hours",)}))

    def get_readonly_fields(self, request: HttpRequest, obj: Role | None = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "hours")

    def proposed(self, form: RoleForm, snapshot: Snapshot) -> Snapshot | None:
        cleaned = form.cleaned_data
        role = compiled.Role(
            form.instance.pk.hex,
            cleaned.get("name") or form.instance.name,
            frozenset(bundle.pk.hex for bundle in cleaned["bundles"]),
            cleaned["starts_at"],
            cleaned["ends_at"],
            form.schedule(),
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
        return f"{days} {role.schedule['from']}–{role.schedule['to']}"


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
