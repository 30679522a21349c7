"""What humans except from inspection for a time."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from gateway.console.base import GovernedModelAdmin, display, needs_fresh_login, visible
from governance.house_rules import RuleBroken
from governance.models import PatternException
from governance.pattern_exceptions import approve, check, end, in_force, set_exception

APPROVE = "governance.approve_patternexception"


class ExceptionForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = PatternException
        fields = ("name", "rule", "fingerprint", "path", "tool", "connector", "bundle", "ends_at", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        row = PatternException(**{name: cleaned.get(name) for name in self._meta.fields or ()})
        try:
            check(row, now=timezone.now())
        except RuleBroken as problem:
            raise ValidationError({problem.field: str(problem)} if problem.field else str(problem)) from None
        return cleaned


class ExceptionState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in-force", "In force"), ("waiting", "Waits for a second person"), ("over", "Over")]

    def queryset(self, request: HttpRequest, rows: QuerySet[PatternException]) -> QuerySet[PatternException]:
        now = timezone.now()
        match self.value():
            case "in-force":
                return rows.filter(in_force(now))
            case "waiting":
                return rows.filter(ended_at=None, awaits_second=True, ends_at__gt=now)
            case "over":
                return rows.exclude(ended_at=None, ends_at__gt=now)
        return rows


@admin.register(PatternException)
class PatternExceptionAdmin(GovernedModelAdmin):
    """Set here, agreed to and ended by action; one that was set is history and is not edited."""

    form = ExceptionForm
    fresh_login_for = "governance.add_patternexception"
    empty_hint = "Nothing is excepted. A finding's page leads here, where its value or place is allowed for a time."
    list_display = ("name", "rule", "what", "where", "state", "ends_at", "reason_shown", "created_by", "approved_by")
    list_filter = (ExceptionState, "rule")
    list_select_related = ("tool__connector", "connector", "bundle")
    search_fields = ("name", "rule", "fingerprint", "reason", "created_by")
    autocomplete_fields = ("tool", "connector", "bundle")
    actions = ("agree", "end")
    add_fieldsets = (
        (
            "What counts for no rule",
            {
                "fields": ("name", "rule", "fingerprint", "path"),
                "description": "It stays on record, marked. Values of the vault and canaries cannot be excepted.",
            },
        ),
        ("Here", {"fields": ("tool", "connector", "bundle")}),
        ("Until, and why", {"fields": ("ends_at", "reason")}),
    )
    fields = (
        "name", "rule", "fingerprint", "path_shown", "where", "state", "ends_at", "reason_shown", "created_at",
        "created_by", "approved_at", "approved_by", "ended_at", "ended_by",
    )  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: PatternException | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: PatternException | None = None) -> tuple[str, ...]:
        return self.fields if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: PatternException | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: PatternException | None = None) -> bool:
        return False

    def has_agree_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(APPROVE)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.change_patternexception")

    def save_model(self, request: HttpRequest, obj: PatternException, form: Any, change: bool) -> None:
        set_exception(obj, acting=request.user, **self.performed(request))  # type: ignore[arg-type]
        if obj.awaits_second:
            self.message_user(request, "It waits until a second person agrees to it.", messages.WARNING)

    @display(description="Value or place")
    def what(self, row: PatternException) -> str:
        parts = (f"value {row.fingerprint[:8]}…" if row.fingerprint else "", f"at {row.path}" if row.path else "")
        return visible(" ".join(filter(None, parts)))

    @display(description="Place")
    def path_shown(self, row: PatternException) -> str:
        return visible(row.path) or "everywhere"

    @display(description="At")
    def where(self, row: PatternException) -> str:
        return visible(row.target)

    @display(description="Why")
    def reason_shown(self, row: PatternException) -> str:
        return visible(row.reason)

    @display(description="State", label={"in force": "warning", "waits": "info", "ended": "success", "over": "success"})
    def state(self, row: PatternException) -> str:
        if row.ended_at:
            return "ended"
        if row.ends_at <= timezone.now():
            return "over"
        return "waits" if row.awaits_second else "in force"

    @admin.action(description="Agree to selected exceptions…", permissions=["agree"])
    def agree(self, request: HttpRequest, rows: QuerySet[PatternException]) -> HttpResponse | None:
        rows = rows.filter(awaits_second=True, ended_at=None)

        def preview() -> HttpResponse:
            effect = "What they name counts for no rule at once, until they end. It stays on record."
            return self.preview(request, rows, action="agree", verb="Agree to", effect=effect)

        if again := needs_fresh_login(request, APPROVE, as_typed=preview):
            return again
        if not self.confirmed(request):
            return preview()
        for row in rows:
            try:
                approve(row, acting=request.user, **self.performed(request))  # type: ignore[arg-type]
            except RuleBroken as refusal:
                self.message_user(request, f"{row.name}: {refusal}", messages.WARNING)
            else:
                self.message_user(request, f"{row.name} is in force.", messages.SUCCESS)
        return None

    @admin.action(description="End selected exceptions", permissions=["end"])
    def end(self, request: HttpRequest, rows: QuerySet[PatternException]) -> HttpResponse | None:
        rows = rows.filter(ended_at=None, ends_at__gt=timezone.now())
        if not self.confirmed(request):
            effect = "What they named counts again at once."
            return self.preview(request, rows, action="end", verb="End", effect=effect)
        ended = sum(end(row, **self.performed(request)) for row in rows)
        self.message_user(request, f"{ended} exceptions ended.", messages.SUCCESS)
        return None
