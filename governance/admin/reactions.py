"""What the gateway does by itself when something happens."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from gateway.console.base import GovernedModelAdmin, Switch, display
from governance.admin.approver_fields import HOW, PREFIX, WHOM, ApproverForm, initial_of, team_choices
from governance.admin.fields import Ticks
from governance.admin.rule_forms import FINDING_NAMES, GENERAL_FINDINGS
from governance.data_classes import finding_names
from governance.manifest.rule_entries import reaction_faults
from governance.models import Reaction
from governance.snapshot import Snapshot

ENTRY_FIELDS = {"trigger", "action", "findings", "count", "minutes", "lasting_minutes"}


class ReactionForm(ApproverForm, forms.ModelForm):  # type: ignore[type-arg]
    findings = Ticks(
        choices=GENERAL_FINDINGS,
        label="Of these",
        help_text="Secrets of the vault are looked for in every call; of others what a rule about content looks for.",
    )

    class Meta:
        model = Reaction
        fields = ("name", "title", "trigger", "count", "minutes", "findings", "action", "lasting_minutes", "is_enabled")
        widgets = {"is_enabled": Switch}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offer_teams(team_choices())
        self.fields["findings"].choices = [*GENERAL_FINDINGS, *finding_names().items()]  # type: ignore[attr-defined]
        self.initial = {**initial_of(self.instance.approvers), **self.initial}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        approvers = self.said_of_approvers()
        if cleaned.keys() >= ENTRY_FIELDS and not self.errors:
            faults = reaction_faults(
                cleaned["trigger"],
                action=cleaned["action"],
                has_findings=bool(cleaned["findings"]),
                has_approvers=bool(approvers),
            )
            for key, message in faults:
                field = "approver_team" if key == "approvers" else key
                self.add_error(field, f"{message[:1].upper()}{message[1:]}.")
            self.instance.approvers = approvers
        return cleaned


@admin.register(Reaction)
class ReactionAdmin(GovernedModelAdmin):
    form = ReactionForm
    fixed_fields = ("name",)
    empty_hint = "A reaction freezes an agent, holds a run or takes a tool out of reach, at once and by itself."
    list_display = ("name", "title", "trigger", "action", "lasting", "is_enabled")
    list_filter = ("trigger", "action", "is_enabled")
    search_fields = ("name", "title")
    fieldsets = (
        (None, {"fields": ("name", "title", "is_enabled")}),
        ("When", {"fields": ("trigger", "count", "minutes", "findings")}),
        ("Then", {"fields": ("action", "lasting_minutes")}),
        (
            "Who may let a held run go on",
            {
                "fields": tuple(f"{PREFIX}{key}" for key in (*WHOM, *HOW)),
                "description": "Nobody named: everybody with the duty approver.",
            },
        ),
    )
    fields_to_look_at = ("name", "title", "trigger", "count", "minutes", "found", "action", "lasting", "is_enabled")

    def get_fieldsets(self, request: HttpRequest, obj: Reaction | None = None) -> Any:
        """Those who only look see what is stored: the form's own fields exist for those who may change it."""
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return self.fieldsets
        return ((None, {"fields": self.fields_to_look_at}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Reaction | None = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "found", "lasting")

    def proposed(self, form: Any, snapshot: Snapshot) -> Snapshot | None:
        return snapshot

    @display(description="Findings")
    def found(self, reaction: Reaction) -> str:
        return ", ".join(FINDING_NAMES.get(name, name) for name in reaction.findings)

    @display(description="For")
    def lasting(self, reaction: Reaction) -> str:
        return "until released" if reaction.action == "quarantine_tool" else f"{reaction.lasting_minutes} minutes"
