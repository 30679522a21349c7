"""Canaries: planted here, taken out here, never edited."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from gateway.console.base import GovernedModelAdmin, display
from governance.canaries import canary_faults, plant
from governance.models import Canary


class CanaryForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Canary
        fields = ("name", "kind", "place", "planted_in")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for field, message in canary_faults(cleaned.get("kind", ""), cleaned.get("place", "")):
            self.add_error(field, f"{message[:1].upper()}{message[1:]}.")
        return cleaned


@admin.register(Canary)
class CanaryAdmin(GovernedModelAdmin):
    form = CanaryForm
    empty_hint = "A canary is a key, an address or a link that nobody has any use for. Where it turns up, it was taken."
    list_display = ("name", "kind", "planted_in", "created_at", "created_by", "state")
    list_filter = ("kind",)
    search_fields = ("name", "planted_in")
    fieldsets = ((None, {"fields": ("name", "kind", "place", "planted_in")}),)
    fields_to_look_at = ("name", "kind", "place", "planted_in", "created_at", "created_by", "state")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Canary]:
        """The sealed material is not even read."""
        return super().get_queryset(request).defer("wrapped_key", "ciphertext")  # type: ignore[no-any-return]

    def get_fieldsets(self, request: HttpRequest, obj: Canary | None = None) -> Any:
        return ((None, {"fields": self.fields_to_look_at}),) if obj else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Canary | None = None) -> tuple[str, ...]:
        return self.fields_to_look_at if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Canary | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Canary, form: Any, change: bool) -> None:
        plant(obj, **self.performed(request))

    @display(description="Value")
    def state(self, row: Canary) -> Any:
        if row.shown_at:
            return "shown once, planted"
        return format_html('<a href="{}">Show it once</a>', reverse("show_canary", args=[row.pk]))
