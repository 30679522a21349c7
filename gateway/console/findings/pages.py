"""One finding of the inbox: where it was seen, and what somebody says of it. How often each rule was wrong."""

from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from audit.false_alarms import rates
from audit.models import FindingGroup, Sighting
from gateway import triage
from gateway.actions import act
from gateway.console.pages import ConsolePage, GovernedPage
from governance.house_rules import RuleBroken
from governance.pattern_exceptions import is_exceptable

VIEW: Final = "audit.view_findinggroup"
SIGHTINGS_SHOWN: Final = 50
TONES: Final = {FindingGroup.TRUE: "bad", FindingGroup.FALSE: "good", triage.OPEN: "warn"}


class VerdictForm(forms.Form):
    verdict = forms.ChoiceField(choices=list(triage.VERDICTS.items()), required=False)
    note = forms.CharField(
        max_length=triage.NOTE_LIMIT,
        required=False,
        label="Why",
        help_text="The evidence keeps it, for ever. Do not repeat the value.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )


class FindingPage(GovernedPage):
    permission = VIEW
    title = "One finding"
    template_name = "console/findings/finding.html"
    http_method_names = ("get", "post", "head", "options")

    @cached_property
    def row(self) -> FindingGroup:
        return get_object_or_404(FindingGroup, pk=self.kwargs["finding_id"])

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=VerdictForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if refusal := self.refuse_unless(triage.PERMISSION):
            return refusal
        form = VerdictForm(request.POST)
        if form.is_valid():
            try:
                said = act(
                    lambda record, now: triage.judge(
                        self.row.pk, **form.cleaned_data, by=self.by, record=record, now=now
                    ),
                    by=self.by,
                )
            except RuleBroken as problem:
                form.add_error(problem.field or None, str(problem))
            else:
                messages.success(request, f"On record: {triage.VERDICTS[said.verdict]}.")
                return redirect("finding", finding_id=self.row.pk)
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def exception_form(self) -> str:
        """Where this may be allowed for a time, filled in; empty for what always counts, and for who may not."""
        if not self.may("governance.add_patternexception") or not is_exceptable(self.row.rule):
            return ""
        told = triage.pattern_of(self.row)
        told["tool"] = told["tool"].pk if told["tool"] else ""
        told = {name: value for name, value in told.items() if value}
        return f"{reverse('admin:governance_patternexception_add')}?{urlencode(told)}"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        row = self.row
        return {
            "row": row,
            "state": triage.VERDICTS.get(row.verdict, row.verdict),
            "tone": TONES.get(row.verdict, "none"),
            "sightings": Sighting.objects.filter(group=row.pk).order_by("-leaf")[:SIGHTINGS_SHOWN],
            "most": SIGHTINGS_SHOWN,
            "rate": next(rates(row.rule), None),
            "may_judge": self.may(triage.PERMISSION),
            "except_it": self.exception_form(),
            "sees_events": self.may("audit.view_eventrow"),
            "form": VerdictForm(initial={"verdict": row.verdict, "note": row.note}),
            **super().get_context_data(**kwargs),
        }


class FindingRates(ConsolePage):
    permission = VIEW
    title = "False alarms"
    template_name = "console/findings/rates.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"rates": list(rates()), **super().get_context_data(**kwargs)}
