"""The rules of a policy as a part of its form: one small form a rule, checked against the tools it is about."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.urls import reverse_lazy
from django.utils.safestring import SafeString

from gateway.console.base import MultiLineText
from governance.admin.fields import Lines, Ticks
from governance.admin.known_tools import LONGEST_PATTERN, KnownTool, known_tools, matched_by_rule, told
from governance.conditions import ConditionError, check_against, is_never_true
from governance.manifest.schema import FINDINGS
from governance.models import Rule, Team

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
)
EXAMPLES = (
    "args.amount > 100",
    "!time.businessHours",
    "tool.risk == 'high'",
    "!('support' in person.teams)",
    "agent.name == 'triage-bot'",
)
NOBODY = "Nobody named"
FINDING_NAMES = {"injection": "Injected instructions", "personal_data": "Personal data", "secret": "Secrets"}

Entry = dict[str, Any]
"""A rule as the columns of Rule, in plain values that compare."""


def check_pattern(pattern: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise ValidationError(f"A pattern may have at most {LONGEST_PATTERN} characters.")


class RuleForm(forms.Form):
    effect = forms.ChoiceField(choices=EFFECTS, label="What happens")
    on = forms.ChoiceField(choices=Rule.Side.choices, label="Looks at", initial=Rule.Side.ARGUMENTS)
    tools = Lines(label="For tools called", check=check_pattern, initial=["*"], rows=2)
    condition = forms.CharField(
        required=False,
        max_length=4096,
        label="Only when",
        widget=MultiLineText(attrs={"rows": 2, "spellcheck": "false"}),
    )
    findings = Ticks(choices=[(name, FINDING_NAMES[name]) for name in FINDINGS], label="Only if this was found")
    approver_team = forms.ModelChoiceField(
        Team.objects.all(), to_field_name="name", required=False, label="Who decides", empty_label=NOBODY
    )
    approver_count = forms.IntegerField(required=False, min_value=1, max_value=20, initial=1, label="How many of them")
    reason = forms.CharField(
        required=False, max_length=500, label="Why", help_text="The agent and its people read this sentence."
    )
    DELETE = forms.BooleanField(required=False, label="Take this rule out")

    known: list[KnownTool]
    is_checked = True

    def clean_condition(self) -> str:
        source = str(self.cleaned_data["condition"]).strip()
        try:
            if source and is_never_true(source):
                raise ValidationError("This is never true, so the rule would do nothing.")
        except ConditionError as error:
            raise ValidationError(str(error)) from None
        return source

    def clean(self) -> Entry:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("approver_team") and cleaned.get("effect") != "ask":
            self.add_error("approver_team", "Only a rule that asks has people who decide.")
        if cleaned.get("condition") and cleaned.get("tools"):
            self._check_against_tools(cleaned["condition"], matched_by_rule(cleaned["tools"], self.known))
        return cleaned

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
        return told(
            matched_by_rule([line.strip() for line in self.tools_text.splitlines() if line.strip()], self.known)
        )

    def entry(self) -> Entry:
        cleaned = self.cleaned_data
        team = cleaned["approver_team"]
        return {
            "effect": cleaned["effect"],
            "tools": cleaned["tools"],
            "on": cleaned["on"],
            "condition": cleaned["condition"],
            "findings": sorted(cleaned["findings"]),
            "approvers": {"team": team.name, "count": cleaned["approver_count"] or 1} if team else {},
            "reason": cleaned["reason"],
            "is_checked": self.is_checked,
        }


def _different_schemas(tools: list[KnownTool]) -> dict[str, dict[str, Any]]:
    """One tool for each input schema there is among them."""
    told_apart = {orjson.dumps(tool.schema, option=orjson.OPT_SORT_KEYS): tool for tool in tools if tool.schema}
    return {f"{tool.connector}/{tool.name}": tool.schema for tool in told_apart.values()}


def entry_of(rule: Rule) -> Entry:
    columns = ("effect", "tools", "on", "condition", "findings", "approvers", "reason", "is_checked")
    return {column: getattr(rule, column) for column in columns}


def _initial(entry: Mapping[str, Any]) -> Entry:
    approvers = entry["approvers"]
    return {**entry, "approver_team": approvers.get("team"), "approver_count": approvers.get("count", 1)}


class RuleFormSet(forms.BaseFormSet):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = known_tools()
        self.teams = [("", NOBODY), *((team.name, str(team)) for team in Team.objects.all())]
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
        form.fields["approver_team"].choices = self.teams  # type: ignore[attr-defined]

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
