"""Others whose signed word counts here."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError

from gateway.console.base import GovernedModelAdmin, MultiLineText, Switch, display
from governance.admin.fields import Lines, Ticks
from governance.issuers import Wanted, issuer_faults
from governance.jwk_sets import UnusableKeys, read_key_set
from governance.models import TrustedIssuer
from governance.models.issuers import ALGORITHMS

SAID = (
    *("kind", "issuer", "jwks_url", "jwks", "algorithms", "audiences", "grants_access", "ends_access"),
    *("directory", "poll_url", "poll_secret"),
)


class KeySet(forms.CharField):
    """A JSON Web Key Set as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=MultiLineText(attrs={"rows": 6}), required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        return json.dumps(value, indent=2) if value and isinstance(value, dict) else value or ""

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != (initial or {}))
        except ValidationError:
            return True

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        if not isinstance(value, str) or not value.strip():
            return {}
        try:
            return read_key_set(value)
        except UnusableKeys as reason:
            raise ValidationError(f"{_sentence(str(reason))}") from None


class IssuerForm(forms.ModelForm):  # type: ignore[type-arg]
    jwks = KeySet(
        label="Its keys", help_text="A JSON Web Key Set, where it publishes none that Gatehouse can reach. Else empty."
    )
    algorithms = Ticks(
        choices=[(name, name) for name in ALGORITHMS],
        initial=list(ALGORITHMS),
        label="Signatures",
        help_text="At least one, of those that it signs with.",
    )
    audiences = Lines(required=False, help_text="Accepted as meant for us, besides our own addresses. One a line.")

    class Meta:
        model = TrustedIssuer
        fields = (*("name", "title", *SAID, "longest_seconds", "is_single_use", "is_enabled"),)
        widgets = dict.fromkeys(("is_enabled", "is_single_use", "grants_access", "ends_access"), Switch)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        said = {name: cleaned.get(name, getattr(self.instance, name)) for name in SAID}
        if not self.errors:
            for field, message in issuer_faults(Wanted(**said)):
                self.add_error(field if field in self.fields else None, _sentence(message))
        return cleaned


@admin.register(TrustedIssuer)
class TrustedIssuerAdmin(GovernedModelAdmin):
    form = IssuerForm
    fixed_fields = ("name", "kind", "issuer")
    fresh_login_for = "governance.change_trustedissuer"
    empty_hint = (
        "Nobody else's word counts yet. An identity provider can let people's clients in and end access; a platform "
        "such as GitHub Actions or Kubernetes can speak for its workloads, so that they need no stored key."
    )
    list_display = ("name", "kind", "issuer", "keys_from", "grants_access", "ends_access", "is_enabled")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "title", "issuer")
    fieldsets = (
        (None, {"fields": ("name", "title", "kind", "issuer", "is_enabled")}),
        (
            "What proves its word",
            {
                "fields": ("jwks_url", "jwks", "algorithms"),
                "description": "Leave both empty to take its keys from where its own metadata says.",
            },
        ),
        ("What its word is good for", {"fields": ("grants_access", "ends_access", "directory")}),
        ("Its security events", {"fields": ("poll_url", "poll_secret")}),
        ("Bounds", {"fields": ("audiences", "longest_seconds", "is_single_use")}),
    )

    @display(description="Keys from")
    def keys_from(self, issuer: TrustedIssuer) -> str:
        return "written here" if issuer.jwks else issuer.jwks_url or "its metadata"


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}."
