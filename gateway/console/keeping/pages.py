"""What cannot be taken back: a person is erased, a legal hold is lifted. Both say what follows first."""

from abc import ABC, abstractmethod
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from gateway.actions import act
from gateway.console.pages import GovernedPage
from gateway.erasing import REASON_LIMIT, erase_person, plan_erasure
from gateway.keeping import lift
from governance.house_rules import RuleBroken
from governance.models import LegalHold, User


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=REASON_LIMIT, help_text="The evidence keeps it, for ever.")


class _WithReason(GovernedPage, ABC):
    http_method_names = ("get", "post", "head", "options")

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=ReasonForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = ReasonForm(request.POST)
        if form.is_valid():
            try:
                return self.do(form.cleaned_data["reason"])
            except RuleBroken as problem:
                form.add_error(None, str(problem))
        return self.render_to_response(self.get_context_data(form=form), status=400)

    @abstractmethod
    def do(self, reason: str) -> HttpResponseBase:
        """Does it, and leads on. Raises RuleBroken."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"form": ReasonForm(), **kwargs})


class ErasePerson(_WithReason):
    """With what goes, what stays, and what forbids it."""

    permission = "governance.erase_user"
    title = "Erase a person"
    template_name = "console/keeping/erase.html"

    @property
    def whom(self) -> User:
        return get_object_or_404(User, pk=self.kwargs["person_id"])

    def do(self, reason: str) -> HttpResponseBase:
        done = erase_person(self.whom, reason=reason, by=self.by)
        text = f"Erased: {done.keys} keys of {done.email} are destroyed. Nobody can open what lay under them."
        messages.success(self.request, text)
        return redirect("admin:governance_erasure_changelist")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(whom=self.whom, plan=plan_erasure(self.whom), **kwargs)


class LiftHold(_WithReason):
    permission = "governance.change_legalhold"
    title = "Lift a legal hold"
    template_name = "console/keeping/lift.html"

    @property
    def hold(self) -> LegalHold:
        return get_object_or_404(LegalHold, pk=self.kwargs["hold_id"])

    def do(self, reason: str) -> HttpResponseBase:
        is_new = act(lambda record, now: lift(self.hold, reason=reason, by=self.by, record=record, now=now), by=self.by)
        messages.success(self.request, "Lifted." if is_new else "It was lifted before.")
        return redirect("admin:governance_legalhold_changelist")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(hold=self.hold, **kwargs)
