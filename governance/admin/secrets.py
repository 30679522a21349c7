from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from gateway.console.base import GovernedModelAdmin, ReadOnlyInline, ReadOnlyModelAdmin, WriteOnlyText, display, named
from governance.models import Connector, Secret, SecretVersion
from governance.vault import UnusableSecret, check_presentable, put_secret_value


class SecretForm(forms.ModelForm):  # type: ignore[type-arg]
    """The value goes in and never comes out: no initial, nothing repeated after an error.

    Only a new secret takes its value here, because nobody can use it yet. Later values go through the page that says
    to which systems they will be sent: somebody could have pointed a connector at a listener of hers meanwhile.
    """

    new_value = forms.CharField(
        required=False,
        strip=False,
        max_length=64 * 1024,
        widget=WriteOnlyText(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text="Write-only, and may come later. User and password: write user:password.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            del self.fields["new_value"]

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind, header = cleaned.get("kind", ""), cleaned.get("header_name", "")
        if (kind == Secret.Kind.HEADER) != bool(header) and "header_name" in cleaned:
            self.add_error("header_name", "Name the header for the kind “Header of your choice”, and only for it.")
        elif cleaned.get("new_value"):
            self._check_value(kind, header, cleaned["new_value"])
        elif "kind" in self.changed_data and self._has_value():
            self.add_error("kind", "A secret that has a value keeps its kind. Make a new secret instead.")
        return cleaned

    @sensitive_variables()
    def _check_value(self, kind: str, header: str, value: str) -> None:
        try:
            check_presentable(kind, header, value)
        except UnusableSecret as reason:
            self.add_error("new_value", str(reason))

    def _has_value(self) -> bool:
        return SecretVersion.objects.filter(secret=self.instance.pk, retired_at=None).exists()


class VersionInline(ReadOnlyInline):
    model = SecretVersion
    fields = ("number", "created_at", "retired_at")
    readonly_fields = fields


class ConnectorInline(ReadOnlyInline):
    model = Connector
    fields = ("name", "title")
    readonly_fields = fields
    verbose_name_plural = "used by"


@admin.register(Secret)
class SecretAdmin(GovernedModelAdmin):
    form = SecretForm
    parts = (SecretVersion,)
    empty_hint = "A secret is what the gateway shows to a system, so that no agent needs to know it."
    list_display = ("name", "kind", "value_state", "value_set_at", "used_by", "description")
    list_filter = ("kind",)
    search_fields = ("name", "description")
    inlines = (VersionInline, ConnectorInline)
    change_form_before_template = "console/connecting/before_secret.html"
    fieldsets = (
        (None, {"fields": ("name", "description")}),
        (
            "Value",
            {
                "fields": ("kind", "header_name"),
                "description": "Sealed in the vault; nobody can read it back, and agents never see it.",
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Secret | None = None) -> Any:
        """A new secret may bring its value along."""
        named, (title, value) = super().get_fieldsets(request, obj)
        fields = value["fields"] if obj else (*value["fields"], "new_value")
        return named, (title, {**value, "fields": fields})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Secret]:
        live = SecretVersion.objects.filter(retired_at=None).only("secret", "number", "created_at")
        rows = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("versions", live, "live_versions"), "connectors")  # type: ignore[no-any-return]

    def stays_because(self, row: Secret) -> str:
        if connectors := named("the connector", row.connectors.values_list("name", flat=True)):
            return f"It is what the gateway shows to {connectors}. Choose another secret there first."
        return ""

    @sensitive_variables()
    def save_model(self, request: HttpRequest, obj: Secret, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.cleaned_data.get("new_value"):
            put_secret_value(obj, value=form.cleaned_data["new_value"], **self.performed(request))

    @display(description="Value", label={"set": "success", "missing": "danger"})
    def value_state(self, secret: Any) -> str:
        return "set" if secret.live_versions else "missing"

    @display(description="Since")
    def value_set_at(self, secret: Any) -> Any:
        return next((version.created_at for version in secret.live_versions), None)

    @display(description="Used by")
    def used_by(self, secret: Secret) -> str:
        return ", ".join(connector.name for connector in secret.connectors.all())


@admin.register(SecretVersion)
class SecretVersionAdmin(ReadOnlyModelAdmin):
    """Times only. The sealed material is no column, and is not even read."""

    list_display = ("__str__", "live", "created_at", "retired_at")
    list_filter = ("secret",)
    list_select_related = ("secret",)
    search_fields = ("secret__name",)
    fields = ("secret", "number", "key_id", "created_at", "retired_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SecretVersion]:
        return super().get_queryset(request).defer("wrapped_key", "ciphertext")  # type: ignore[no-any-return]

    @display(description="State", label={"live": "success", "retired": "info"})
    def live(self, version: SecretVersion) -> str:
        return "retired" if version.retired_at else "live"
