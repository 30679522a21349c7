"""The rules of a policy as a part of its form: one small form a rule, checked against the tools it is about."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.urls import reverse_lazy
from django.utils.safestring import SafeString

from gateway.console.base import MultiLineText
from governance.admin.approver_fields import HOW, PREFIX, WHOM, ApproverForm, initial_of, team_choices
from governance.admin.fields import Lines, Ticks, check_label
from governance.admin.known_tools import LONGEST_PATTERN, KnownTool, known_tools, selected_by_rule, told
from governance.conditions import check_against
from governance.data_classes import finding_names
from governance.inspection.tokens import MOST_SHOWN
from governance.manifest.rule_entries import FINDINGS, stored_approvers
from governance.models import Rule, Tool
from governance.policies import COPIED
from governance.rule_checks import Severity, check_alone
from governance.rule_texts import RuleText

MOST_RULES = 100
MOST_SCHEMAS = 100
"""Of different tools that one condition is held against; each takes some milliseconds."""
MATCHING = reverse_lazy("admin:governance_policy_matching")
EFFECTS = (
    ("", "Choose …"),
    ("deny", "Deny: the call is refused"),
    ("ask", "Ask: a human decides each call"),
    ("permit", "Permit: says that the call is fine"),
    ("mask", "Mask: hides what was found"),
    ("flag", "Flag: marks the call for review"),
    ("restore", "Put back: tokens become real values again"),
)
EXAMPLES = (
    "args.amount > 100",
    "!time.businessHours",
    "tool.risk == 'high'",
    "!('support' in person.teams)",
    "agent.name == 'triage-bot'",
)
FINDING_NAMES = {
    "anomaly": "Something unusual for the agent",
    "injection": "Injected instructions",
    "payment_card": "Payment cards",
    "personal_data": "Personal data",
    "secret": "Secrets",
    "suspected_injection": "What may be injected instructions",
    "untrusted_destination": "Destinations from untrusted text",
    "untrusted_link": "Links to new hosts",
}
GENERAL_FINDINGS = [(name, FINDING_NAMES.get(name, name)) for name in FINDINGS]
USUALLY: Final[tuple[Any, ...]] = (None, "", [], False, 0, "0", 1, "1", Rule.OnFailure.CLOSED)
FORM_FIELDS = {"when": "condition", "fields": "masked"}
"""Where the form calls a member of a rule otherwise than the manifest."""

Entry = dict[str, Any]
"""A rule as the columns of Rule, in plain values that compare."""


def check_pattern(pattern: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise ValidationError(f"A pattern may have at most {LONGEST_PATTERN} characters.")


def _check_path(path: str) -> None:
    if any(sign.isspace() for sign in path) or len(path) > LONGEST_PATTERN:
        raise ValidationError(f"{path[:64]} is no path; write e.g. *.iban.")


class UsualChoice(forms.ChoiceField):
    """What a form leaves out is as usual, and says nothing."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data) and super().has_changed(initial, data)


class RuleForm(ApproverForm):
    effect = forms.ChoiceField(choices=EFFECTS, label="What happens")
    on = forms.ChoiceField(choices=Rule.Side.choices, label="Looks at", initial=Rule.Side.ARGUMENTS)
    tools = Lines(label="For tools called", check=check_pattern, initial=["*"], rows=2)
    condition = forms.CharField(
        required=False,
        max_length=4096,
        label="Only when",
        widget=MultiLineText(attrs={"rows": 2, "spellcheck": "false"}),
    )
    reason = forms.CharField(
        required=False, max_length=500, label="Why", help_text="The agent and its people read this sentence."
    )
    access = forms.ChoiceField(choices=Rule.Access.choices, required=False, label="Only for")
    risks = Ticks(choices=Tool.Risk.choices, label="Only for tools of this risk", help_text="None ticked means any.")
    connectors = Lines(
        required=False,
        check=check_pattern,
        rows=2,
        label="Only for these systems",
        help_text="Names or patterns, one a line. Empty means any.",
    )
    data_classes = Lines(
        required=False,
        check=check_label,
        rows=2,
        label="Only for tools with this data",
        help_text="Data classes, one a line: any of them. Empty means any.",
    )
    findings = Ticks(choices=GENERAL_FINDINGS, label="Only if this was found")
    on_failure = UsualChoice(
        choices=Rule.OnFailure.choices,
        required=False,
        label="What could not be looked at",
        help_text="Too large, too deep, or a detector does not answer. It is on record either way.",
    )
    masked = Lines(
        required=False,
        check=_check_path,
        rows=2,
        label="Hide these parts of the result",
        help_text="Of a rule that masks: paths, one a line, e.g. *.iban.",
    )
    reversible = forms.BooleanField(
        required=False,
        label="Mask by tokens",
        help_text="Of a rule that masks what is found in results. Another rule can have real values put back.",
    )
    keep_last = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MOST_SHOWN,
        label="Letters of the end that tokens show",
        help_text="Never more than a third of a value.",
    )
    DELETE = forms.BooleanField(required=False, label="Take this rule out")

    known: list[KnownTool]
    is_checked = True

    @property
    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in ("effect", "on", "tools", "condition", "reason")]

    @property
    def groups(self) -> list[tuple[str, list[forms.BoundField], bool]]:
        """Title, fields, and whether any says something."""
        parts = (
            ("Which tools, more exactly", ("connectors", "data_classes", "risks", "access")),
            ("What is found, what is hidden", ("findings", "on_failure", "masked", "reversible", "keep_last")),
            ("Who decides", [f"{PREFIX}{key}" for key in WHOM]),
            ("How they decide", [f"{PREFIX}{key}" for key in HOW]),
        )
        shown = [(title, [self[name] for name in names]) for title, names in parts]
        return [(title, fields, any(map(_says_something, fields))) for title, fields in shown]

    def clean_condition(self) -> str:
        return str(self.cleaned_data["condition"]).strip()

    def clean(self) -> Entry:
        cleaned = super().clean() or self.cleaned_data
        cleaned["approvers"] = self.said_of_approvers()
        if cleaned["approvers"] and cleaned.get("effect") != "ask":
            self.add_error("approver_team", "Only a rule that asks has people who decide.")
        elif not self.errors:
            self._check(self.text())
        return cleaned

    def _check(self, rule: RuleText) -> None:
        for fault in check_alone(rule):
            if fault.severity is Severity.REFUSE:
                self.add_error(FORM_FIELDS.get(fault.field, fault.field), _sentence(fault.message))
        if rule.when and not self.errors:
            self._check_against_tools(rule.when, selected_by_rule(rule, self.known))

    def _check_against_tools(self, condition: str, matched: list[KnownTool]) -> None:
        """An error only if the condition makes sense for none of them.

        Tools unknown, or so many of different kinds that checking would keep the form waiting, are left unchecked.
        """
        schemas = _different_schemas(matched)
        self.is_checked = 0 < len(schemas) <= MOST_SCHEMAS
        if not self.is_checked:
            return
        problems = {problem.tool: problem.message for problem in check_against(condition, schemas=schemas)}
        if len(problems) == len(schemas):
            tool, message = next(iter(problems.items()))
            self.add_error("condition", f"This can never match. {tool}: {message}")

    @property
    def tools_text(self) -> str:
        return str(self.fields["tools"].prepare_value(self["tools"].value()) or "")

    @property
    def matches(self) -> str:
        globs = tuple(line.strip() for line in self.tools_text.splitlines() if line.strip())
        return told(selected_by_rule(RuleText("flag", tools=globs), self.known))

    def text(self) -> RuleText:
        entry = {**self.entry(), "when": self.cleaned_data["condition"]}
        columns = (name for name in (*COPIED, "when") if name not in ("condition", "is_checked"))
        return RuleText(**{name: _frozen(entry[name]) for name in columns})

    def entry(self) -> Entry:
        cleaned = self.cleaned_data
        return {
            **{name: cleaned[name] for name in ("effect", "tools", "access", "on", "condition", "approvers", "reason")},
            **{name: sorted(cleaned[name]) for name in ("connectors", "data_classes", "findings")},
            "risks": [risk for risk in Tool.Risk.values if risk in cleaned["risks"]],
            "on_failure": cleaned["on_failure"] or Rule.OnFailure.CLOSED,
            "fields": sorted(cleaned["masked"]),
            "reversible": cleaned["reversible"],
            "keep_last": cleaned["keep_last"] or 0,
            "is_checked": self.is_checked,
        }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _says_something(field: forms.BoundField) -> bool:
    """Beyond what is usual."""
    return bool(field.errors) or field.value() not in USUALLY


def _different_schemas(tools: list[KnownTool]) -> dict[str, dict[str, Any]]:
    """One tool for each input schema there is among them."""
    told_apart = {orjson.dumps(tool.schema, option=orjson.OPT_SORT_KEYS): tool for tool in tools if tool.schema}
    return {f"{tool.connector}/{tool.name}": tool.schema for tool in told_apart.values()}


def entry_of(rule: Rule) -> Entry:
    entry = {column: getattr(rule, column) for column in COPIED}
    return {**entry, "approvers": stored_approvers(rule.approvers) or {}}


def _initial(entry: Mapping[str, Any]) -> Entry:
    return {**entry, "masked": entry["fields"], **initial_of(entry["approvers"])}


class RuleFormSet(forms.BaseFormSet):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = known_tools()
        self.teams = team_choices()
        self.own_findings = list(finding_names().items())
        for form in self.forms:
            self._equip(form)

    @property
    def empty_form(self) -> RuleForm:
        form: RuleForm = super().empty_form
        self._equip(form)
        return form

    def _equip(self, form: RuleForm) -> None:
        """With what is read once for all rules."""
        form.known = self.known
        form.offer_teams(self.teams)
        form.fields["findings"].choices = [*GENERAL_FINDINGS, *self.own_findings]  # type: ignore[attr-defined]

    def kept(self) -> Iterator[RuleForm]:
        """Without those taken out and those never filled in."""
        for form in self.forms:
            if not form.data.get(form.add_prefix("DELETE")) and (form.has_changed() or not form.empty_permitted):
                yield form


RuleForms: Any = forms.formset_factory(
    RuleForm, formset=RuleFormSet, extra=0, max_num=MOST_RULES, absolute_max=MOST_RULES
)


class RulesWidget(forms.Widget):
    def value_from_datadict(self, data: Any, files: Any, name: str) -> RuleFormSet:
        is_longer = data.get("_preview") == "add-rule"
        forms_typed: RuleFormSet = RuleForms(_with_one_more(data, name) if is_longer else data, prefix=name)
        return forms_typed

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        forms_shown = value if isinstance(value, RuleFormSet) else _unbound(value or [], name)
        context = {"formset": forms_shown, "matching": MATCHING, "examples": EXAMPLES}
        return render_to_string("admin/edit_rules.html", context)


def _with_one_more(data: Any, name: str) -> Any:
    """For browsers without scripts: the form comes back with another empty rule."""
    total = data.get(f"{name}-TOTAL_FORMS", "")
    if not (total.isascii() and total.isdigit()):
        return data
    longer = data.copy()
    for field, value in {"on": Rule.Side.ARGUMENTS.value, "tools": "*", "approver_count": "1"}.items():
        longer[f"{name}-{total}-{field}"] = value
    longer[f"{name}-TOTAL_FORMS"] = str(int(total) + 1)
    return longer


def _unbound(entries: list[Entry], name: str) -> RuleFormSet:
    forms_shown: RuleFormSet = RuleForms(prefix=name, initial=[_initial(entry) for entry in entries])
    return forms_shown


class RulesField(forms.Field):
    """A list of entries, in order."""

    widget = RulesWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)

    def clean(self, value: RuleFormSet) -> list[Entry]:
        if not value.management_form.is_valid():
            raise ValidationError("The rules did not arrive whole. Load the page again.")
        kept = list(value.kept())
        validity = [form.is_valid() for form in kept]
        if not all(validity):
            raise ValidationError("Look at the rules below: one of them cannot be used as it is.")
        return [form.entry() for form in kept]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return True
