"""Breaking the glass, and looking at it afterwards: access without approval, short, loud, reviewed by somebody else."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from gateway import granting
from gateway.console.pages import GovernedPage
from gateway.console.proof import authentication_of
from gateway.console.step_up import sign_in_again
from gateway.hostile_text import visible
from governance.approval_rows import NotEligible, StepUpNeeded
from governance.grants import LONGEST_BREAK_GLASS, CannotGrant, in_force, unreviewed
from governance.models import Agent, Bundle, Grant

SHOWN = 20
LONGEST = int(LONGEST_BREAK_GLASS.total_seconds()) // 60


class BreakGlassForm(forms.Form):
    agent = forms.CharField(
        required=False,
        max_length=63,
        label="For which agent",
        help_text="Its name. Leave it empty to use it yourself, with your own clients.",
    )
    bundle = forms.ModelChoiceField(
        Bundle.objects.order_by("name"),
        to_field_name="name",
        empty_label="Choose one",
        label="Which bundle",
        help_text="All its tools, for as long as it lasts.",
    )
    minutes = forms.IntegerField(
        min_value=1, max_value=LONGEST, initial=30, label="For how many minutes", help_text=f"At most {LONGEST}."
    )
    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="What is at stake, and why approval cannot be waited for. Whoever reviews it reads this.",
    )

    def clean_agent(self) -> Agent | None:
        name = self.cleaned_data["agent"]
        agent = Agent.objects.filter(name=name, status=Agent.Status.LIVE).first()
        if name and agent is None:
            raise ValidationError("There is no live agent of this name.")
        return agent


class ReviewForm(forms.Form):
    note = forms.CharField(
        max_length=500,
        label="What you found",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Was it needed, was it used for that, and does anything follow from it?",
    )


class BreakGlass(GovernedPage):
    """A GET shows what will happen; the POST does it, and leads back here, where it can be ended early."""

    permission = "governance.break_glass_grant"
    title = "Break-glass"
    template_name = "console/breaking/break_glass.html"

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=BreakGlassForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = BreakGlassForm(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=400)
        try:
            grant = granting.break_glass(self.person, authentication=authentication_of(request), **form.cleaned_data)
        except StepUpNeeded:
            return sign_in_again(request, as_typed=self.as_typed)
        except NotEligible as reason:
            form.add_error(None, str(reason))
        except CannotGrant as reason:
            form.add_error(reason.field if reason.field in form.fields else None, str(reason))
        else:
            messages.warning(request, f"It is in force until {grant.ends_at:%H:%M:%S} UTC. Security has been told.")
            return redirect("break_glass")
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        taken = unreviewed().order_by("-created_at")
        return {
            "form": BreakGlassForm(),
            "longest": LONGEST,
            "mine": taken.filter(in_force(datetime.now(UTC)), created_by=self.by)[:SHOWN],
            "has_second_factor": authentication_of(self.request).has_second_factor,
            **super().get_context_data(**kwargs),
        }


class EndBreakGlass(GovernedPage):
    """Early, by who took it; anybody else's does not exist here."""

    permission = "governance.break_glass_grant"
    http_method_names = ("post", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        grant = get_object_or_404(unreviewed().filter(created_by=self.by), pk=self.kwargs["grant_id"])
        ended = granting.revoke_grant(grant, by=self.person)
        messages.success(request, "It is ended." if ended else "It was over already.")
        return redirect("break_glass")


class ReviewGrant(GovernedPage):
    """What was taken, when and why, and what was done with it, for somebody else to judge."""

    permission = "governance.review_grant"
    title = "Review a break-glass"
    template_name = "console/breaking/review.html"

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=ReviewForm(self.request.POST)))

    @property
    def grant(self) -> Grant:
        glass = Grant.objects.filter(kind=Grant.Kind.BREAK_GLASS).select_related("agent", "person", "bundle")
        return get_object_or_404(glass, pk=self.kwargs["grant_id"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = ReviewForm(request.POST)
        if form.is_valid():
            try:
                is_done = granting.review_grant(self.grant, by=self.person, note=form.cleaned_data["note"])
            except (NotEligible, CannotGrant) as reason:
                form.add_error(None, str(reason))
            else:
                messages.success(request, "Reviewed." if is_done else "Somebody else reviewed it just before.")
                return HttpResponseRedirect(f"{reverse('admin:governance_grant_changelist')}?state=unreviewed")
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        grant = self.grant
        return {
            "form": ReviewForm(),
            "grant": grant,
            "subject": visible(grant.agent.name if grant.agent else str(grant.person)),
            **super().get_context_data(**kwargs),
        }
