"""Rate limits."""

import re
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError

from gateway.console.base import GovernedModelAdmin, display
from governance.admin.fields import Lines
from governance.admin.known_tools import LONGEST_PATTERN
from governance.manifest.rule_entries import LABEL_PATTERN
from governance.models import RateLimit

AMOUNTS = ("max_requests", "max_bytes", "max_running")


def check_pattern(pattern: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise ValidationError(f"A pattern may have at most {LONGEST_PATTERN} characters.")


def check_label(label: str) -> None:
    if not re.fullmatch(LABEL_PATTERN, label):
        raise ValidationError("A label has 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit.")


class RateLimitForm(forms.ModelForm):  # type: ignore[type-arg]
    tools = Lines(
        initial=["*"],
        check=check_pattern,
        help_text="Patterns, one a line: ticket_*, helpdesk/*, resource:*, prompt:*. A * alone means all.",
    )
    labels = Lines(
        required=False,
        check=check_label,
        label="Only runs that have met",
        help_text="One a line: flagged, untrusted, secret, personal_data, or a data class. It then counts and binds"
        " only calls of runs that have met any of these: a lower rate for them. Empty: all calls. A run that is held"
        " needs none: each of its calls waits for a human.",
    )

    class Meta:
        labels: ClassVar[dict[str, str]] = {
            "per": "Counted for",
            "window_seconds": "Window (seconds)",
            "max_requests": "Requests",
            "max_bytes": "Bytes",
            "max_running": "Calls at once",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and not any(cleaned.get(name) for name in AMOUNTS):
            raise ValidationError("Limit at least one: requests, bytes, or calls at once.")
        return cleaned


@admin.register(RateLimit)
class RateLimitAdmin(GovernedModelAdmin):
    """Limits hold in all gateway processes together."""

    form = RateLimitForm
    fixed_fields = ("name",)
    empty_hint = "Nothing is limited. A limit bounds how much an agent, a team or everybody may use of some tools."
    list_display = (
        "name",
        "per",
        "tools_shown",
        "runs",
        "window",
        "max_requests",
        "max_bytes",
        "max_running",
        "is_enabled",
    )
    list_filter = ("per", "is_enabled")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "is_enabled")}),
        (
            "What is counted",
            {
                "fields": ("tools", "per", "labels"),
                "description": "Each agent, team or tool has the whole limit for itself. A call counts for every limit"
                " it comes under.",
            },
        ),
        (
            "How much",
            {
                "fields": ("window_seconds", "max_requests", "max_bytes", "max_running"),
                "description": "Requests and bytes, of arguments and results, count within the window. Leave empty"
                " what is not limited.",
            },
        ),
    )

    @display(description="Tools")
    def tools_shown(self, limit: RateLimit) -> str:
        return ", ".join(limit.tools)

    @display(description="Runs that have met")
    def runs(self, limit: RateLimit) -> str:
        return ", ".join(limit.labels)

    @display(description="Window", ordering="window_seconds")
    def window(self, limit: RateLimit) -> str:
        return f"{limit.window_seconds} s"
