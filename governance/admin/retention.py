"""How long evidence is kept, what is held, and who was erased."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from gateway.console.base import GovernedModelAdmin, ReadOnlyModelAdmin, Switch, display
from governance.facts import Fact
from governance.legal_holds import one_at_a_time
from governance.models import Bundle, Erasure, LegalHold, RetentionClass
from governance.retention import bundles_elsewhere, give_bundles, taken_elsewhere


class RetentionForm(forms.ModelForm):  # type: ignore[type-arg]
    bundles = forms.ModelMultipleChoiceField(
        Bundle.objects.all(), required=False, help_text="Their calls are kept so. A bundle is in one class."
    )

    class Meta:
        model = RetentionClass
        fields = ("name", "payload_days", "header_days", "is_default")
        widgets = {"is_default": Switch}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding and "bundles" in self.fields:
            self.fields["bundles"].initial = list(self.instance.bundles.values_list("pk", flat=True))

    def clean_bundles(self) -> Any:
        chosen = self.cleaned_data["bundles"]
        if taken := bundles_elsewhere(self.instance, chosen):
            raise ValidationError(taken_elsewhere(taken))
        return chosen


@admin.register(RetentionClass)
class RetentionClassAdmin(GovernedModelAdmin):
    """Shorter days let evidence go with the next night, so only owners change them."""

    form = RetentionForm
    fixed_fields = ("name",)
    fresh_login_for = "governance.change_retentionclass"
    empty_hint = "While there is none, arguments and results are kept for 400 days and records of calls for ever."
    list_display = ("name", "payloads", "records", "is_default")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "is_default", "bundles")}),
        (
            "Days until it goes",
            {
                "fields": ("payload_days", "header_days"),
                "description": "0 keeps it for ever. What is older goes with the next night, for good.",
            },
        ),
    )
    fields_to_look_at = ("name", "payload_days", "header_days", "is_default")

    def get_fieldsets(self, request: HttpRequest, obj: RetentionClass | None = None) -> Any:
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return self.fieldsets
        return ((None, {"fields": self.fields_to_look_at}),)

    def save_model(self, request: HttpRequest, obj: RetentionClass, form: Any, change: bool) -> None:
        """What stayed for the days of before is looked at again."""
        obj.pruned_to = 0
        super().save_model(request, obj, form, change)
        give_bundles(obj, form.cleaned_data["bundles"])

    @display(description="Arguments and results")
    def payloads(self, row: RetentionClass) -> str:
        return _days(row.payload_days)

    @display(description="Records of calls")
    def records(self, row: RetentionClass) -> str:
        return _days(row.header_days)


class LegalHoldForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = LegalHold
        fields = ("person", "agent", "first_day", "last_day", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and not any(cleaned.get(name) for name in ("person", "agent", "first_day", "last_day")):
            raise ValidationError("Name a person, an agent or a time.")
        return cleaned


class HoldState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in-force", "In force"), ("lifted", "Lifted")]

    def queryset(self, request: HttpRequest, rows: QuerySet[LegalHold]) -> QuerySet[LegalHold]:
        return rows.filter(lifted_at__isnull=self.value() == "in-force") if self.value() else rows


@admin.register(LegalHold)
class LegalHoldAdmin(GovernedModelAdmin):
    """Set here, lifted by action; one that was set is history and is not edited."""

    form = LegalHoldForm
    empty_hint = "Nothing is held. A hold keeps evidence of a person, an agent or a time from retention and erasure."
    list_display = ("target", "state", "reason", "set_at", "set_by", "lifted_at", "lifted_by", "lifting")
    list_filter = (HoldState,)
    list_select_related = ("person", "agent")
    search_fields = ("reason", "person__email", "agent__name", "set_by")
    autocomplete_fields = ("person", "agent")
    add_fieldsets = (
        ("What to keep", {"fields": ("person", "agent", "first_day", "last_day")}),
        ("Why", {"fields": ("reason",)}),
    )
    fields = ("target", "state", "reason", "set_at", "set_by", "lifted_at", "lifted_by")

    def get_fieldsets(self, request: HttpRequest, obj: LegalHold | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: LegalHold | None = None) -> tuple[str, ...]:
        return self.fields if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: LegalHold | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: LegalHold | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: LegalHold, form: Any, change: bool) -> None:
        acts = self.performed(request)
        obj.set_by, obj.set_at = acts["by"], acts["now"]
        one_at_a_time()
        super().save_model(request, obj, form, change)
        acts["record"](Fact("hold.set", obj.subject, {"hold": str(obj.pk), "target": obj.target, "reason": obj.reason}))

    @display(description="What is kept")
    def target(self, row: LegalHold) -> str:
        return row.target

    @display(description="State", label={"in force": "danger", "lifted": "success"})
    def state(self, row: LegalHold) -> str:
        return "lifted" if row.lifted_at else "in force"

    @display(description="Lift")
    def lifting(self, row: LegalHold) -> str:
        if row.lifted_at:
            return ""
        look = "text-primary-600 whitespace-nowrap"
        return format_html('<a class="{}" href="{}">Lift it</a>', look, reverse("lift_hold", args=[row.pk]))


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyModelAdmin):
    empty_hint = "Nobody was erased. An owner does it on the page of the person."
    list_display = ("email", "at", "by", "keys", "payloads", "reason")
    search_fields = ("email", "by", "reason")
    fields = ("email", "subject", "at", "by", "reason", "keys", "payloads")


def _days(days: int) -> str:
    return f"{days} days" if days else "for ever"
