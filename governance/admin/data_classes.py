"""Data classes: what an organisation looks for in content, beside what everybody does."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from gateway.console.base import GovernedModelAdmin, MultiLineText, Switch, display
from governance.admin.fields import Lines
from governance.admin.row_fields import Row, RowsField
from governance.data_classes import stays_because
from governance.inspection.class_description import LONGEST_TEST, MOST_CONTEXT, MOST_PATTERNS, MOST_WORDS
from governance.inspection.findings import DATA_CLASS
from governance.models import DataClass


class CaseRow(Row):
    text = forms.CharField(
        max_length=LONGEST_TEST, label="In this text", widget=MultiLineText(attrs={"rows": 2, "spellcheck": "false"})
    )
    found = forms.BooleanField(required=False, initial=True, label="It is found", widget=Switch)

    def entry(self) -> dict[str, Any]:
        return {"text": self.cleaned_data["text"], "found": self.cleaned_data["found"]}


class DataClassForm(forms.ModelForm):  # type: ignore[type-arg]
    patterns = Lines(
        required=False,
        label="Patterns",
        help_text=f"RE2, one a line, at most {MOST_PATTERNS}; each repetition has an end: [0-9]{{6,8}}. A group "
        "(?P<value>...) is what is meant, where only a part of the match is.",
    )
    words = Lines(
        required=False,
        rows=6,
        label="Words",
        help_text=f"One entry a line, at most {MOST_WORDS:,}. Whole words, whatever their case: Project Falcon is also "
        "project-falcon.",
    )
    validator = forms.ChoiceField(
        choices=(("", "No checksum"), *DataClass.VALIDATORS), required=False, label="Checksum of the value"
    )
    context = Lines(
        required=False,
        label="Only near one of these words",
        help_text=f"One a line, at most {MOST_CONTEXT}: within 120 characters, or in the name of the field. Empty: "
        "anywhere.",
    )
    tests = RowsField(CaseRow, one="test", label="Tests", help_text="All must pass before it can be saved.")

    class Meta:
        model = DataClass
        fields = ("name", "title", "severity", "patterns", "words", "validator", "context", "tests")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("tests") is None and "tests" not in self.errors:
            cleaned["tests"] = self.instance.tests
        return cleaned


@admin.register(DataClass)
class DataClassAdmin(GovernedModelAdmin):
    """One that stops finding what it found loosens every rule that names it: who changes it signs in again."""

    form = DataClassForm
    fixed_fields = ("name",)
    fresh_login_for = "governance.change_dataclass"
    empty_hint = "Secrets, personal data and injected instructions are known already. Describe here what only you have."
    list_display = ("name", "title", "severity", "finds", "in_rules", "number")
    list_filter = ("severity",)
    search_fields = ("name", "title")
    fieldsets = (
        (None, {"fields": ("name", "title", "severity")}),
        ("What is looked for", {"fields": ("patterns", "words", "validator", "context")}),
        ("Tests", {"fields": ("tests",)}),
    )
    fields_to_look_at: ClassVar = ("name", "title", "severity", "patterns", "words", "validator", "context", "number")

    def get_fieldsets(self, request: HttpRequest, obj: DataClass | None = None) -> Any:
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return self.fieldsets
        return ((None, {"fields": self.fields_to_look_at}),)

    def get_readonly_fields(self, request: HttpRequest, obj: DataClass | None = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "number")

    def stays_because(self, row: DataClass) -> str:
        return stays_because(row)

    @display(description="Looks for")
    def finds(self, row: DataClass) -> str:
        counts = ((len(row.patterns), "pattern"), (len(row.words), "word"))
        return ", ".join(f"{count:,} {what}{'s' * (count != 1)}" for count, what in counts if count)

    @display(description="Rules name it")
    def in_rules(self, row: DataClass) -> str:
        return f"{DATA_CLASS}{row.name}"
