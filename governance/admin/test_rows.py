"""The tests of a policy as rows of its form: a call, and what the rules must say of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError

from gateway.console.base import MultiLineText
from governance.admin.fields import Lines
from governance.admin.known_tools import known_tools
from governance.admin.row_fields import Row
from governance.manifest.reader import BadManifest
from governance.manifest.rule_entries import FINDINGS, plain_case, read_case
from governance.rule_tests import TestCaseError, TestResult, run_tests
from governance.rule_texts import RuleText
from governance.rule_world import organization_calendar

EXPECTED = (
    ("permit", "Permit: nothing stands against it"),
    ("ask", "Ask: a human decides"),
    ("deny", "Deny"),
    ("mask", "Mask"),
    ("flag", "Flag"),
)
MAIN = ("name", "tool", "args", "expect", "rule")
MORE = ("connector", "agent", "person", "teams", "time", "network", "labels", "findings")


class TestRow(Row):
    name = forms.CharField(required=False, max_length=200, label="What it shows")
    tool = forms.CharField(max_length=2000, label="When this tool is called")
    args = forms.CharField(
        required=False,
        max_length=20_000,
        label="With these arguments",
        help_text='As JSON, e.g. {"amount": 120}.',
        widget=MultiLineText(attrs={"rows": 2, "spellcheck": "false"}),
    )
    expect = forms.ChoiceField(choices=EXPECTED, initial="permit", label="The rules say")
    rule = forms.IntegerField(
        required=False, min_value=1, label="By rule number", help_text="Empty: whichever rule says it."
    )
    connector = forms.CharField(
        required=False, max_length=63, label="Of the system", help_text="If several have such a tool."
    )
    agent = forms.CharField(required=False, max_length=63, label="By the agent")
    person = forms.EmailField(required=False, label="For the person")
    teams = Lines(required=False, rows=2, label="Who is in these teams", help_text="Names, one a line.")
    time = forms.CharField(
        required=False, max_length=40, label="At", help_text="E.g. 2026-01-31T17:00:00Z. Empty: a Monday at noon."
    )
    network = forms.CharField(
        required=False, max_length=64, label="From", help_text="An address, or the name of one of your networks."
    )
    labels = Lines(
        required=False, rows=2, label="After the run has met", help_text="Data classes or untrusted, one a line."
    )
    findings = Lines(required=False, rows=2, label="If this is found", help_text=f"{', '.join(FINDINGS)}; one a line.")

    result: TestResult | None = None

    @classmethod
    def initial_of(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        args = entry.get("args")
        return {**entry, "args": orjson.dumps(args).decode() if args else ""}

    @property
    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in MAIN]

    @property
    def more(self) -> list[forms.BoundField]:
        return [self[name] for name in MORE]

    @property
    def says_more(self) -> bool:
        return any(field.errors or field.value() for field in self.more)

    def clean_args(self) -> dict[str, Any] | None:
        text = str(self.cleaned_data["args"]).strip()
        try:
            args = orjson.loads(text) if text else None
        except orjson.JSONDecodeError:
            raise ValidationError('This is no JSON; write e.g. {"amount": 120}.') from None
        if args is not None and not isinstance(args, dict):
            raise ValidationError('Arguments have names; write e.g. {"amount": 120}.')
        return args

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                read_case(self._said())
            except BadManifest as bad:
                fault = bad.faults[0]
                field = fault.path.removeprefix("test").strip(".").partition("[")[0]
                self.add_error(field if field in self.fields else None, f"{fault.message[:300]}.")
        return cleaned

    def entry(self) -> dict[str, Any]:
        return plain_case(read_case(self._said()))

    def _said(self) -> dict[str, Any]:
        said = {name: self.cleaned_data.get(name) for name in (*MAIN, *MORE)}
        return {name: value for name, value in said.items() if value not in (None, "", [])}


def results_of(entries: Iterable[Mapping[str, Any]], rules: Sequence[RuleText]) -> list[TestResult]:
    """None where one is no test: publishing says so."""
    tools = [tool.text for tool in known_tools()]
    try:
        return run_tests(rules, entries, tools, calendar=organization_calendar())
    except TestCaseError:
        return []
