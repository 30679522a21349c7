"""Where checkpoints are kept beyond our reach: set up, watched, tried now."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from gateway.console.base import GovernedModelAdmin, Switch, display, moment, visible
from governance.anchors import ask_to_keep, faults
from governance.models import Anchor


class AnchorForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        widgets = {"is_enabled": Switch}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = self.instance.kind if self.instance.pk and "kind" not in cleaned else cleaned.get("kind")
        for field, message in faults({**cleaned, "kind": kind}):
            self.add_error(field if field in self.fields else None, message)
        return cleaned


@admin.register(Anchor)
class AnchorAdmin(GovernedModelAdmin):
    form = AnchorForm
    fixed_fields = ("name", "kind")
    actions = ("keep",)
    empty_hint = (
        "Without an anchor, whoever holds the database and the signing key could write the whole log anew. A bucket "
        "with Object Lock in somebody else's account, or a timestamp authority, makes that impossible to hide."
    )
    list_display = ("name", "kind", "state", "kept_up_to", "kept", "failures", "last_error", "is_enabled")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "title")
    readonly_fields = ("state", "kept_up_to", "kept", "failures", "last_error")
    fieldsets = (
        (None, {"fields": ("name", "title", "kind", "url", "is_enabled")}),
        ("Bucket", {"fields": ("bucket", "region", "prefix", "retention_days", "secret")}),
        ("Timestamp authority", {"fields": ("trust",)}),
        ("How often", {"fields": ("every_minutes", "every_leaves")}),
        ("How it goes", {"fields": ("state", "kept_up_to", "kept", "failures", "last_error")}),
    )

    def has_keep_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.keep_anchor")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        if db_field.name == "url":
            kwargs["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @display(
        description="State",
        label={"kept": "success", "waiting": "info", "failing": "danger", "database is older": "danger", "off": "info"},
    )
    def state(self, anchor: Anchor) -> str:
        if not anchor.is_enabled:
            return "off"
        if anchor.ahead_size:
            return "database is older"
        return "failing" if anchor.failures else "kept" if anchor.kept_at else "waiting"

    @display(description="Kept up to")
    def kept_up_to(self, anchor: Anchor) -> str:
        return f"{anchor.kept_size:,} events" if anchor.kept_at else ""

    @display(description="Last kept (UTC)")
    def kept(self, anchor: Anchor) -> SafeString | str:
        return moment(anchor.kept_at) if anchor.kept_at else ""

    @display(description="Last error")
    def last_error(self, anchor: Anchor) -> str:
        return visible(anchor.error)

    @admin.action(description="Keep the newest checkpoint there now…", permissions=["keep"])
    def keep(self, request: HttpRequest, anchors: QuerySet[Anchor]) -> HttpResponse | None:
        if not self.confirmed(request):
            effect = "The worker keeps the newest checkpoint there. This list tells within a minute how it went."
            return self.preview(request, anchors, action="keep", verb="Keep now", effect=effect)
        acts = self.performed(request)
        count = ask_to_keep(anchors, record=acts["record"], now=acts["now"])
        self.message_user(request, f"{count} anchors are asked within half a minute.", messages.SUCCESS)
        return None
