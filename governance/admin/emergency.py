"""Freezes."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from gateway.console.base import GovernedModelAdmin, Switch, display, person_of
from governance.facts import Fact
from governance.freezes import NOT_HERS, in_force, lift_one, may_lift
from governance.models import Freeze
from governance.proposals import with_freezes
from governance.snapshot import Snapshot
from governance.snapshot_rows.bounds import freeze_of


class FreezeForm(forms.ModelForm):  # type: ignore[type-arg]
    everything = forms.BooleanField(required=False, widget=Switch, help_text="Stops every call of every agent.")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        chosen = [name for name in ("everything", "agent", "connector", "tool") if cleaned.get(name)]
        if len(chosen) != 1:
            raise ValidationError("Choose exactly one: everything, an agent, a connector, or a tool.")
        if cleaned.get("ends_at") and cleaned["ends_at"] <= timezone.now():
            self.add_error("ends_at", "This is in the past; leave it empty to freeze until it is lifted.")
        return cleaned


class FreezeState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in-force", "In force"), ("over", "Over")]

    def queryset(self, request: HttpRequest, freezes: QuerySet[Freeze]) -> QuerySet[Freeze]:
        if not self.value():
            return freezes
        is_in_force = in_force(timezone.now())
        return freezes.filter(is_in_force) if self.value() == "in-force" else freezes.exclude(is_in_force)


@admin.register(Freeze)
class FreezeAdmin(GovernedModelAdmin):
    """Set here, lifted by action; a freeze that was set is history and is not edited."""

    form = FreezeForm
    changes_reach = True
    empty_hint = "Nothing is frozen, and nothing ever was. A freeze stops calls at once, until it ends or is lifted."
    list_display = ("target", "state", "reason", "created_at", "created_by", "ends_at", "lifted_at", "lifted_by")
    list_filter = (FreezeState,)
    list_select_related = ("agent", "connector", "tool__connector")
    search_fields = ("reason", "agent__name", "connector__name", "tool__name", "created_by")
    autocomplete_fields = ("agent", "connector", "tool")
    actions = ("lift",)
    add_fieldsets = (
        (
            "What to stop",
            {
                "fields": ("everything", "agent", "connector", "tool"),
                "description": "Takes effect when you save: no further call starts.",
            },
        ),
        ("Why, and how long", {"fields": ("reason", "ends_at")}),
    )
    fields = ("target", "state", "reason", "created_at", "created_by", "ends_at", "lifted_at", "lifted_by")

    def get_fieldsets(self, request: HttpRequest, obj: Freeze | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Freeze | None = None) -> tuple[str, ...]:
        return self.fields if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Freeze | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Freeze | None = None) -> bool:
        return False

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.change_freeze")

    def proposed(self, form: FreezeForm, snapshot: Snapshot) -> Snapshot | None:
        return with_freezes(snapshot, (*snapshot.freezes, freeze_of(form.instance)))

    def save_model(self, request: HttpRequest, obj: Freeze, form: Any, change: bool) -> None:
        obj.created_by = person_of(request)
        super().save_model(request, obj, form, change)
        details = {"freeze": str(obj.pk), "ends_at": obj.ends_at, "reason": obj.reason}
        self.by(request)["record"](Fact("freeze.set", obj.target, details))

    @display(description="Target")
    def target(self, freeze: Freeze) -> str:
        return freeze.target

    @display(description="State", label={"in force": "danger", "lifted": "success", "ended": "info"})
    def state(self, freeze: Freeze) -> str:
        if freeze.lifted_at:
            return "lifted"
        return "ended" if freeze.ends_at and freeze.ends_at <= timezone.now() else "in force"

    @admin.action(description="Lift selected freezes", permissions=["lift"])
    def lift(self, request: HttpRequest, freezes: QuerySet[Freeze]) -> HttpResponse | None:
        freezes = freezes.filter(lifted_at=None)
        if not all(may_lift(request.user, freeze) for freeze in freezes):
            self.message_user(request, NOT_HERS, messages.ERROR)
            return None
        if not self.confirmed(request):
            effect = "What they stopped can be called again at once, as far as roles and rules allow."
            others = Freeze.objects.filter(lifted_at=None).exclude(pk__in=freezes.values("pk"))
            staying = [freeze_of(freeze) for freeze in others]
            return self.preview(
                request,
                freezes,
                action="lift",
                verb="Lift",
                effect=effect,
                proposal=lambda snapshot: with_freezes(snapshot, staying),
            )
        lifted = [freeze for freeze in freezes if lift_one(freeze, **self.performed(request))]
        self.message_user(request, f"{len(lifted)} freezes lifted.", messages.SUCCESS)
        return None
