"""Who must agree, as fields of a form: what `approvers` of a rule or reaction say, in plain words."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from gateway.console.base import CheckboxList
from governance.admin.fields import Lines, Ticks
from governance.approval_terms import MOST_HUMANS, TermsError, parse_terms, terms_as_json
from governance.models import Team

PREFIX = "approver_"
DUTY_NAMES = (("approver", "Approvers"), ("security", "Security"), ("it-admin", "IT admins"))
USUAL = {"pending": "15m", "use_within": "5m", "longest_grant": "0", "step_up": "0", "escalate_after": ""}
WHOM = ("team", "on_call", "people", "duties", "manager", "resource_owner", "count", "denials")
HOW = (
    *("reason", "ticket", "pending", "use_within", "longest_grant", "step_up"),
    *("escalate_after", "escalate_to", "in_chat"),
)


def team_choices() -> list[tuple[str, str]]:
    return [(team.name, str(team)) for team in Team.objects.all()]


def _check_address(line: str) -> None:
    try:
        validate_email(line)
    except ValidationError:
        raise ValidationError(f"{line[:64]} is no e-mail address.") from None


class Teams(forms.MultipleChoiceField):
    """`choices` are given by whoever made the form, who reads them once for all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=CheckboxList, **options)


def _duration(label: str, key: str, text: str) -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=10,
        label=label,
        help_text=text,
        widget=forms.TextInput(attrs={"placeholder": USUAL[key], "size": 8}),
    )


def _number(label: str, text: str, **options: Any) -> forms.IntegerField:
    return forms.IntegerField(
        required=False, min_value=1, max_value=MOST_HUMANS, label=label, help_text=text, **options
    )


class ApproverForm(forms.Form):
    """Empty fields say what is usual."""

    approver_team = Teams(label="People of these teams", help_text="And of the teams below them.")
    approver_on_call = Teams(label="Whoever is on call for")
    approver_people = Lines(
        required=False, check=_check_address, rows=2, label="These people", help_text="E-mail addresses, one a line."
    )
    approver_duties = Ticks(choices=DUTY_NAMES, label="Everybody with the duty")
    approver_manager = forms.BooleanField(required=False, label="The manager of the agent's owner")
    approver_resource_owner = forms.BooleanField(required=False, label="The owner of the system")
    approver_count = _number("How many of them", "Different humans that must agree.", initial=1)
    approver_denials = _number("How many may end it", "As many denials refuse the call; usually 1.")
    approver_reason = forms.BooleanField(required=False, label="They must give a reason")
    approver_ticket = forms.CharField(
        required=False,
        max_length=200,
        label="They must name a ticket",
        help_text="A regular expression for its number, e.g. INC[0-9]+.",
    )
    approver_pending = _duration("How long it is asked for", "pending", "E.g. 30m or 2h; then it is refused.")
    approver_use_within = _duration("Then the call must come within", "use_within", "After the last yes.")
    approver_longest_grant = _duration(
        "Longest approval of a pattern", "longest_grant", "0: each call is asked for anew."
    )
    approver_step_up = _duration("Signed in at most this long ago", "step_up", "0: any session will do.")
    approver_escalate_after = _duration("If nobody answers, after", "escalate_after", "Empty: never.")
    approver_escalate_to = Teams(label="Then ask these teams, too")
    approver_in_chat = forms.BooleanField(required=False, label="May be answered in the chat itself")

    def offer_teams(self, choices: Iterable[tuple[str, str]]) -> None:
        offered = list(choices)
        for name in ("approver_team", "approver_on_call", "approver_escalate_to"):
            self.fields[name].choices = offered  # type: ignore[attr-defined]

    def said_of_approvers(self) -> dict[str, Any]:
        """As a manifest writes it; marks the field that will not do."""
        said = _said({key: self.cleaned_data.get(f"{PREFIX}{key}") for key in (*WHOM, *HOW)})
        try:
            return terms_as_json(parse_terms(said))
        except TermsError as error:
            self.add_error(_field_of(error.field), str(error))
            return {}


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in values.items() if value not in (None, "", [], False)}
    if "team" in said:
        said["teams"] = said.pop("team")
    if "reason" in said:
        said["reason"] = "required"
    after, to = said.pop("escalate_after", ""), said.pop("escalate_to", [])
    if after or to:
        said["escalate"] = {**({"after": after} if after else {}), **({"to": to} if to else {})}
    return said


def _field_of(key: str) -> str:
    known = {"teams": "team", "escalate": "escalate_after", "escalate.after": "escalate_after"}
    name = known.get(key, key.replace(".", "_"))
    return f"{PREFIX}{name}"


def initial_of(approvers: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round; nothing of what cannot be read."""
    try:
        shown = terms_as_json(parse_terms(approvers))
    except TermsError:
        return {}
    escalate = shown.pop("escalate", {})
    teams = [shown.pop("team")] if "team" in shown else shown.pop("teams", [])
    found = {**shown, "team": teams, "reason": shown.get("reason") == "required", "count": shown.get("count", 1)}
    found |= {f"escalate_{key}": value for key, value in escalate.items()}
    return {f"{PREFIX}{key}": value for key, value in found.items()}
