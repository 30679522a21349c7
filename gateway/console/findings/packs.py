"""The detection rules that this release ships: what each looks for, whether it is on, and what a release changed."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from audit.false_alarms import rates
from gateway import packs
from gateway.actions import act
from gateway.console.pages import GovernedPage
from governance.detection_rules import REASON_LIMIT, known_rules, switch_off, switch_on
from governance.facts import Recorder
from governance.house_rules import RuleBroken
from governance.models import DetectionOff

CHANGE: Final = "governance.change_detectionoff"
KINDS: Final = {
    "secret": "Secrets",
    "card": "Payment cards",
    "personal": "Personal data",
    "injection": "Injected orders",
    "unicode": "Hidden text",
    "definition": "Definitions of tools",
}


class SwitchForm(forms.Form):
    rule = forms.CharField(
        max_length=100, label="Detection rule", widget=forms.TextInput(attrs={"list": "detection-rules"})
    )
    to = forms.ChoiceField(choices=[("off", "Off"), ("on", "On")], label="Switch it")
    reason = forms.CharField(
        max_length=REASON_LIMIT, required=False, label="Why", help_text="To switch it off; the evidence keeps it."
    )


class DetectionRules(GovernedPage):
    permission = "governance.view_detectionoff"
    title = "Detection rules"
    template_name = "console/findings/packs.html"
    http_method_names = ("get", "post", "head", "options")

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=SwitchForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if refusal := self.refuse_unless(CHANGE):
            return refusal
        form = SwitchForm(request.POST)
        if form.is_valid():
            try:
                known = known_rules()
                act(lambda record, now: self._switch(form.cleaned_data, known, record, now), by=self.by)
            except RuleBroken as problem:
                form.add_error(problem.field or None, str(problem))
            else:
                messages.success(request, f"{form.cleaned_data['rule']} is {form.cleaned_data['to']}.")
                return redirect("detection_rules")
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def _switch(self, asked: dict[str, Any], known: Collection[str], record: Recorder, now: datetime) -> None:
        if asked["to"] == "on":
            return switch_on(asked["rule"], by=self.by, record=record, now=now)
        switch_off(
            asked["rule"],
            known=known,
            reason=asked["reason"],
            is_owner=self.person.is_superuser,
            by=self.by,
            record=record,
            now=now,
        )
        return None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        pack = packs.shipped()
        return {
            "pack": pack,
            "groups": list(_groups(pack)),
            "changes": packs.changes(),
            "may_switch": self.may(CHANGE),
            "form": SwitchForm(),
            **super().get_context_data(**kwargs),
        }


def _groups(pack: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    off = {row.rule: row for row in DetectionOff.objects.all()}
    wrong = {rate.rule: rate for rate in rates()}
    for kind, title in KINDS.items():
        lines = [
            {
                "rule": rule,
                "off": off.get(rule.rule),
                "severity": rule.severity.name.lower(),
                "rate": wrong.get(rule.rule),
            }
            for rule in pack.rules
            if rule.kind == kind
        ]
        yield title, lines
